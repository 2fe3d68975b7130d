# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's server and commands on SQLite, as plain processes on the loopback."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "standin"))

from standin_harness import MIDDLE, NEW, OLD, Node, r_package, until, wheel

FAILED, SCHEMA = 1, 3


@pytest.fixture(name="node")
def fixture_node(tmp_path: Path) -> Iterator[Node]:
    """Yield a node that is not running yet."""
    node = Node(tmp_path)
    yield node
    if node.process and node.process.poll() is None:
        node.stop()


def test_health_version_and_repositories(node: Node) -> None:
    node.start()
    assert node.get("/__ping__").status == 200
    assert json.loads(node.get("/__api__/status").body)["version"] == NEW
    found = {(repo["name"], repo["type"]) for repo in json.loads(node.get("/__api__/repos").body)}
    assert found == {("cran", "R"), ("pypi", "Python")}
    assert node.get("/nothing").status == 404
    assert node.get("/__ping__", method="HEAD").body == ""
    assert node.get("/cran/latest/src/contrib/PACKAGES").status == 200
    assert node.stop() == 0
    assert "service is ready" in node.log


def test_the_first_page_shows_the_address_that_was_asked_for(node: Node) -> None:
    node.start()
    assert "https://lb.example/" in node.get("/", X_Forwarded_Proto="https", X_Forwarded_Host="lb.example").body
    assert "https://lb.example/pm/" in node.get("/", X_RSPM_Request="https://lb.example/pm/").body


def test_a_python_package_is_published_and_served(node: Node, tmp_path: Path) -> None:
    node.start()
    path = wheel(tmp_path, "Hello_World", "1.0")
    assert node.get("/pypi/latest/simple/hello-world/").status == 404
    assert node.cli("add", "--repo=pypi", "--path", str(path)).returncode == 0
    page = node.get("/pypi/latest/simple/hello-world/").body
    link, digest = re.findall(r'href="([^"#]+)#sha256=([0-9a-f]{64})"', page)[0]
    body = node.get(f"/pypi/latest/simple/hello-world/{link}").body.encode("latin-1")
    assert hashlib.sha256(body).hexdigest() == digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 'href="hello-world/"' in node.get("/pypi/latest/simple/").body
    assert node.get("/pypi/latest/simple/Hello_World/").location == "/pypi/latest/simple/hello-world/"
    assert node.get("/pypi/latest/simple/hello-world").location == "/pypi/latest/simple/hello-world/"


def test_an_r_package_is_published_and_served(node: Node, tmp_path: Path) -> None:
    node.start()
    path = r_package(tmp_path, "foo", "1.2")
    assert node.cli("add", "--source=local", "--path", str(path)).returncode == 0
    text = node.get("/cran/latest/src/contrib/PACKAGES").body
    assert text == "Package: foo\nVersion: 1.2\nImports: a, b\nLicense: MIT\n"
    packed = node.get("/cran/latest/src/contrib/PACKAGES.gz").body.encode("latin-1")
    assert gzip.decompress(packed).decode() == text
    served = node.get("/cran/latest/src/contrib/foo_1.2.tar.gz").body.encode("latin-1")
    assert served == path.read_bytes()


def test_each_request_opens_the_file_by_its_name(node: Node) -> None:
    """So that what a node sees depends on its mount, as with the product, and on nothing that the process remembers."""
    node.start()
    folder = node.data / "packages/pypi/late"
    assert node.get("/pypi/latest/simple/late/").status == 404
    folder.mkdir()
    (folder / "index.html").write_text("by hand")
    assert node.get("/pypi/latest/simple/late/").body == "by hand"
    (folder / "index.html").unlink()
    assert node.get("/pypi/latest/simple/late/").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/pypi/latest/simple/../../../db/rstudio-pm.db",
        "/pypi/latest/simple/%2e%2e/%2e%2e",
        "/../latest/src/contrib/rstudio-pm.key",
        "/cran/latest/src/contrib/..%2f..%2f..%2frstudio-pm.key",
        "/cran/latest/src/contrib/.hidden",
    ],
)
def test_nothing_outside_the_packages_is_served(node: Node, path: str) -> None:
    node.start()
    assert node.get(path).status == 404


def test_publishing_refuses_what_it_should(node: Node, tmp_path: Path) -> None:
    node.start()
    path = wheel(tmp_path, "a", "1.0")
    add = ("add", "--repo", "pypi", "--path", str(path))
    assert [node.cli(*add).returncode for _turn in range(2)] == [0, 0]
    path.write_bytes(b"other")
    assert "already published in pypi with other content" in node.cli(*add).stderr
    assert "there is no repository x" in node.cli("add", "--repo", "x", "--path", str(path)).stderr
    assert "is named neither" in node.cli("add", "--repo", "pypi", "--path", str(node.config)).stderr
    assert "can't read" in node.cli("add", "--repo", "pypi", "--path", "/none/a-1-py3-none-any.whl").stderr


def test_verify_names_what_is_missing_or_damaged(node: Node, tmp_path: Path) -> None:
    node.start()
    for name in ("a", "b", "c"):
        node.cli("add", "--repo", "pypi", "--path", str(wheel(tmp_path, name, "1.0")))
    assert node.cli("verify").returncode == 0
    (node.data / "packages/pypi/a/a-1.0-py3-none-any.whl").unlink()
    (node.data / "packages/pypi/b/b-1.0-py3-none-any.whl").write_bytes(b"x")
    found = node.cli("verify")
    assert found.returncode == 1
    assert "packages/pypi/a/a-1.0-py3-none-any.whl: No such file" in found.stderr
    assert "packages/pypi/b/b-1.0-py3-none-any.whl: SHA-256 is" in found.stderr
    assert found.stdout.strip() == "3 packages, 2 missing or damaged"


def test_more_repositories(node: Node, tmp_path: Path) -> None:
    node.start()
    assert node.cli("create", "repo", "--name=team", "--type=python").returncode == 0
    assert node.cli("create", "source", "--name=wheels", "--type=local-python").returncode == 0
    assert node.cli("subscribe", "--repo=team", "--source=wheels").returncode == 0
    assert node.cli("subscribe", "--repo=cran", "--source=wheels").returncode == 1
    assert node.cli("create", "repo", "--name=team", "--type=python").returncode == 1
    assert node.cli("add", "--source=wheels", "--path", str(wheel(tmp_path, "a", "1.0"))).returncode == 0
    assert node.get("/team/latest/simple/a/").status == 200


def test_offline_and_online(node: Node) -> None:
    node.start()
    assert node.nodes() == {"one": "online"}
    assert node.cli("offline").returncode == 0
    assert [node.get(path).status for path in ("/", "/__ping__", "/__api__/status", "/x")] == [503] * 4
    assert node.nodes() == {"one": "offline"}
    assert node.cli("cluster", "online", "--nodes=one", "--timeout=10").returncode == 0
    assert node.get("/__ping__").status == 200
    assert "there is no node 'two'" in node.cli("cluster", "offline", "--nodes=two").stderr
    node.stop()
    assert node.nodes() == {"one": "stopped"}
    assert "is stopped" in node.cli("offline").stderr


def test_a_licence_is_demanded_only_where_switched_on(node: Node) -> None:
    node.start()
    assert node.get("/__ping__").status == 200
    node.switch(LICENSE_REQUIRED="1")
    until(lambda: node.get("/__ping__").status == 402, "402 without a licence")
    assert node.get("/").status == 402
    assert node.get("/__api__/status").status == 200
    file = node.root / "var/lib/rstudio-pm/team.lic"
    file.touch(0o644)
    assert node.cli("check-config").returncode == 1
    file.chmod(0o600)
    assert node.cli("check-config").returncode == 0
    until(lambda: node.get("/__ping__").status == 200, "200 with a licence file")


def test_license_manager(node: Node) -> None:
    def manage(*words: str) -> subprocess.CompletedProcess[str]:
        command = node.command("license-manager", *words)
        return subprocess.run(command, capture_output=True, text=True, check=False, env=node.environment)

    assert "Status: Deactivated" in manage("status").stdout
    assert manage("deactivate").returncode == 1
    assert manage("activate", "KEY").returncode == 0
    assert "Status: Activated" in manage("status").stdout
    assert manage("deactivate").returncode == 0
    assert "Status: Deactivated" in manage("status").stdout
    assert manage("activate", "BAD-KEY").returncode == 1


def test_each_kind_of_licence_ends_402(node: Node) -> None:
    def manage(*words: str) -> str:
        command = node.command("license-manager", *words)
        return subprocess.run(command, capture_output=True, text=True, check=False, env=node.environment).stdout

    node.start(LICENSE_REQUIRED="1")
    until(lambda: node.get("/__ping__").status == 402, "402 without a licence")
    manage("activate", "A-KEY")
    until(lambda: node.get("/__ping__").status == 200, "200 with a key")
    manage("deactivate")
    manage("license-server", "licences.example.org:8999")
    assert "License-Server: licences.example.org:8999" in manage("status")
    until(lambda: node.get("/__ping__").status == 402, "402 while the configuration names no server")
    node.stop()
    node.sections += "\n[Licensing]\nLicenseType = remote\n"
    node.start(LICENSE_REQUIRED="1")
    assert node.get("/__ping__").status == 200


def test_the_key_is_made_once_and_its_mode_matters(node: Node) -> None:
    node.start()
    key = node.data / "rstudio-pm.key"
    assert key.stat().st_mode & 0o7777 == 0o600
    before = key.read_bytes()
    node.stop()
    node.start()
    node.stop()
    assert key.read_bytes() == before
    key.chmod(0o644)
    node.launch()
    assert node.wait() == FAILED
    assert "mode 0644; it must be 0600" in node.log


def test_a_signal_at_any_moment_ends_the_server(node: Node) -> None:
    """Also one that interrupts the handling of another; a lock taken in the handler hung here."""
    node.start()
    assert node.process is not None
    for _turn in range(300):
        node.process.terminate()
    assert node.wait() in (0, -signal.SIGTERM)  # the latter in the interpreter's own end


def test_encrypted_values_differ_and_need_their_key(node: Node) -> None:
    node.start()
    first, second = (node.cli("encrypt", stdin="geheim\n").stdout.strip() for _turn in range(2))
    assert first != second
    assert "geheim" not in first
    node.stop()
    node.sections = f"[Database]\nProvider = postgres\n[Postgres]\nURL = postgres://127.0.0.1:1/x\nPassword = {first}"
    (node.data / "rstudio-pm.key").write_text("another\n")
    node.launch()
    assert node.wait() == FAILED
    assert "was not made with this node's encryption key" in node.log


def test_a_newer_version_migrates_and_an_older_one_refuses(node: Node, tmp_path: Path) -> None:
    node.install(OLD)
    node.start()
    assert node.cli("add", "--repo", "pypi", "--path", str(wheel(tmp_path, "a", "1.0"))).returncode == 0
    node.stop()
    for version, schemas in ((MIDDLE, "from 41 to 44"), (NEW, "from 44 to 48")):
        node.install(version)
        assert node.cli("verify").returncode == 1, "no command works before the migration"
        node.start()
        assert f"schema migrated {schemas}" in node.log
        assert node.cli("verify").stdout == "1 packages, 0 missing or damaged\n"
        node.stop()
    node.install(OLD)
    node.launch()
    assert node.wait() == SCHEMA
    assert "the database has schema 48, version 2025.12.0-14 needs 41" in node.log


def test_a_running_node_that_finds_a_newer_schema_shuts_itself_down(node: Node, tmp_path: Path) -> None:
    node.install(OLD)
    node.start()
    new = Node(tmp_path, NEW, data=node.data, name="new").start()
    try:
        assert node.wait() == SCHEMA
        assert "out-of-date database schema detected, shutting down" in node.log
    finally:
        assert new.stop() == 0


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_migration_that_fails_leaves_the_old_schema(node: Node, version: str) -> None:
    node.install(OLD)
    node.start()
    node.stop()
    node.install(NEW, "fails-migration")
    node.launch()
    assert node.wait() == FAILED
    assert "the migration failed midway" in node.log
    node.install(version)
    assert node.start().stop() == 0


def test_a_version_that_fails_to_start(node: Node) -> None:
    node.install(NEW, "fails-to-start")
    node.launch()
    assert node.wait() == FAILED
    assert "meant to fail at start" in node.log


@pytest.mark.parametrize(("version", "starts"), [(OLD, True), (MIDDLE, False)])
def test_unknown_keys_are_ignored_by_old_versions_and_refused_by_new_ones(
    node: Node, version: str, starts: bool
) -> None:
    node.install(version)
    node.sections = "[Server]\nNonsense = 1\n"
    if starts:
        node.start()
    else:
        node.launch()
        assert node.wait() == FAILED
    assert "unknown key Server.Nonsense in line 6" in node.log


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("[Database]\nProvider = Postgres", "in lower case"),
        ("[Database]\nProvider = postgres", "Postgres.URL is not set"),
        ("[Git]\nPollInterval = soon", "Git.PollInterval: not a duration"),
        ("[HTTPS]\nListen = :4243", "needs HTTPS.Certificate"),
        ("[SQLite]\nDir = /nowhere/at/all", "/nowhere/at/all can't be made"),
        ("[Server]\nDataDir = /nowhere/at/all", "Server.DataDir /nowhere/at/all can't be made"),
        ("broken", "not a property"),
    ],
)
def test_what_the_server_refuses_at_start(node: Node, sections: str, message: str) -> None:
    node.sections = sections
    node.launch()
    assert node.wait() == FAILED
    assert message in node.log


def test_the_environment_wins_over_the_file(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**node.environment, "PACKAGEMANAGER_DATABASE_PROVIDER": "Oracle"}
    monkeypatch.setattr(Node, "environment", environment)
    node.launch()
    assert node.wait() == FAILED
    assert "Database.Provider is 'Oracle'" in node.log


def test_check_config(node: Node) -> None:
    node.sections = f"[SQLite]\nDir = {node.root}\n[Server]\nDataDir = {node.root}\n"
    good = node.cli("check-config")
    assert good.returncode == 0
    assert "PASS  unknown keys: none" in good.stdout
    assert not (node.root / "rstudio-pm.db").exists()
    node.sections = "[Server]\nDatadirs = /x\n"
    bad = node.cli("check-config")
    assert bad.returncode == 1
    assert "FAIL  unknown keys: unknown key Server.Datadirs in line 6" in bad.stdout


def test_check_config_is_unknown_to_old_versions(node: Node) -> None:
    node.install(OLD)
    found = node.cli("check-config")
    assert found.returncode == 2
    assert "usage: rspm" in found.stderr
