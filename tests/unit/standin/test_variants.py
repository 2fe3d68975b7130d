# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manners that a product may have and the documents are silent of, and what the collection makes of each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "standin"))

import standin_builder
from standin_harness import NEW, OLD, Node, Postgres, python_with_psycopg2, until

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.process import is_server
from ansible_collections.rspm.ha.plugins.module_utils._service import host
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState, ProbeTarget, missing_for_health
from tests.standin.standin_plants import PLANTS


@pytest.fixture(name="node")
def fixture_node(tmp_path: Path) -> Iterator[Node]:
    """Yield a node whose database has the old schema."""
    node = Node(tmp_path, OLD)
    node.start().stop()
    node.install(NEW)
    yield node
    if node.process and node.process.poll() is None:
        node.stop()


def asked(node: Node) -> ApiState:
    """Return what the collection sees of a node."""
    return host.load_api(ProbeTarget("http", "127.0.0.1", node.port, "127.0.0.1"))


def test_a_ping_before_the_schema_is_moved_is_no_health(node: Node) -> None:
    node.install(NEW, "pings-early")
    node.launch(MIGRATION_SECONDS="2")
    until(lambda: asked(node).health_code == 200, "it answers")
    early = asked(node)
    assert "migrated from 41" not in node.log and early.starting and not early.healthy(allow_unlicensed=True)
    assert "/__api__/status does not yet" in str(missing_for_health(None, early, NEW, allow_unlicensed=False))
    until(lambda: asked(node).healthy(allow_unlicensed=False), "it is healthy")
    assert "migrated from 41" in node.log and asked(node).version == NEW


def test_the_collection_waits_for_the_schema_behind_a_ping(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.install(NEW, "pings-early")
    target = ProbeTarget("http", "127.0.0.1", node.port, "127.0.0.1")
    monkeypatch.setattr(host, "probe_target", lambda _document: target)

    def runner(*_argv: object, **_more: object) -> CompletedCommand:
        return CompletedCommand(0, "LoadState=loaded\nActiveState=active\nMainPID=1\n", "")

    node.launch(MIGRATION_SECONDS="2")
    found, waited = host.wait_for_health(runner, "node1", NEW, allow_unlicensed=False, timeout=20)
    assert found.version == NEW and waited > 1 and "migrated from 41" in node.log


def test_a_status_behind_a_login_tells_no_version_and_is_healthy(node: Node) -> None:
    node.install(NEW, "closed-status")
    node.launch()
    until(lambda: asked(node).health_code == 200, "it answers")
    found = asked(node)
    assert node.get("/__api__/status").status == 401
    assert found.version == "" and found.healthy(allow_unlicensed=False)
    assert missing_for_health(None, found, NEW, allow_unlicensed=False) is None


def test_systemd_hears_of_the_start_when_the_schema_is_moved(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.install(NEW, "notify")
    unit = (node.tree / "usr/lib/systemd/system/rstudio-pm.service").read_text()
    assert "Type=notify\nTimeoutStartSec=5\n" in unit and "Type=simple" not in unit
    place = f"\0rspm-ha-test-{os.getpid()}"
    monkeypatch.setattr(Node, "environment", {**node.environment, "NOTIFY_SOCKET": place.replace("\0", "@")})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(place)
        listener.settimeout(20)
        node.launch(MIGRATION_SECONDS="1")
        assert listener.recv(100) == b"READY=1" and "migrated from 41" in node.log


def test_a_worker_outlives_a_server_that_is_stopped_alone(node: Node) -> None:
    node.install(NEW, "leaves-worker")
    assert "KillMode=process" in (node.tree / "usr/lib/systemd/system/rstudio-pm.service").read_text()
    node.start()
    assert node.process
    children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children")
    (worker,) = map(int, children.read_text().split())
    try:
        assert node.stop() == 0
        assert Path(f"/proc/{worker}").exists()
        words = Path(f"/proc/{worker}/cmdline").read_text().split("\0")
        words[1] = words[1].replace(str(node.tree), "")
        assert is_server(words[0], words), "the collection would not see it"
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_package_whose_script_moves_the_schema(node: Node) -> None:
    migrate = [*node.command("rstudio-pm", "--migrate"), str(node.config)]
    done = subprocess.run(migrate, capture_output=True, text=True, check=True, env=node.environment)
    assert "schema migrated from 41 to 48" in done.stderr
    node.install(OLD)
    back = [*node.command("rstudio-pm", "--migrate"), str(node.config)]
    assert subprocess.run(back, capture_output=True, check=False, env=node.environment).returncode == 1


def unpacked(folder: Path, variant: str) -> Path:
    """Build a variant and return its scripts' folder."""
    folder.mkdir()
    package, _digest = standin_builder.build(folder, standin_builder.Recipe(NEW, 48, variant), standin_builder.EPOCH)
    subprocess.run(["dpkg-deb", "-R", str(package), str(folder / "tree")], check=True)
    return folder / "tree/DEBIAN"


@pytest.mark.parametrize(
    ("variant", "words", "code"),
    [
        ("default", ["upgrade", OLD], 0),
        ("no-way-back", ["upgrade", OLD], 1),
        ("no-way-back", ["upgrade", "2026.10.0"], 0),
        ("default", ["failed-upgrade", NEW, OLD], 1),
    ],
)
def test_a_package_that_lets_no_older_one_in_its_place(
    tmp_path: Path, variant: str, words: list[str], code: int
) -> None:
    script = unpacked(tmp_path / "built", variant) / "prerm"
    assert subprocess.run(["sh", str(script), *words], capture_output=True, check=False).returncode == code


def test_only_the_variant_migrates_by_its_script(tmp_path: Path) -> None:
    scripts = [
        (unpacked(tmp_path / variant, variant) / "postinst").read_text() for variant in ("default", "migrates-itself")
    ]
    assert ['migrates="yes"' in script for script in scripts] == [False, True]


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[Postgres]:
    """Yield a running PostgreSQL."""
    server = Postgres()
    if server.bin is None or not python_with_psycopg2():
        pytest.skip("needs PostgreSQL's server programs and a Python with psycopg2")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("what", PLANTS)
def test_what_is_planted_is_there_until_it_is_taken_away(server: Postgres, what: str) -> None:
    plant, remove, look = PLANTS[what]
    server.sql("DROP DATABASE IF EXISTS planted WITH (FORCE)")
    server.sql("CREATE DATABASE planted OWNER rstudio_pm")
    server.sql("CREATE TABLE repos (name text); ALTER TABLE repos OWNER TO rstudio_pm", "planted")
    server.sql(plant, "planted")
    assert server.sql(look, "planted")
    server.sql(remove, "planted")
    server.sql(plant, "planted")
    assert server.sql(look, "planted")
