# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a load balancer's host is somebody else's."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._load_balancer.host import read_listeners
from ansible_collections.rspm.ha.plugins.module_utils._load_balancer.rules import (
    LEFT,
    PACKAGE_CONFIG,
    PACKAGE_UNIT,
    UNIT,
    WRITTEN,
    Listener,
    bound_ports,
    is_old_layout,
    judge_host,
)
from ansible_collections.rspm.ha.plugins.modules import lb_host
from tests.unit.worlds.module_run import run_module

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
ROLE = Path(__file__).parents[3] / "roles/load_balancer"
OWN = {"/etc/haproxy/rspm.cfg": "", f"/etc/systemd/system/{UNIT}": ""}
THEIRS = """
global
    maxconn 500
frontend web
    bind 10.0.0.5:80,:8080-8082 name web
    bind [::]:443 ssl crt /etc/ssl/x.pem # bind :9000
    bind unix@/run/web.sock
    # bind :9001
backend web
    server a 10.0.0.9:9002
"""


def checks(
    port: int = 80,
    listeners: tuple[Listener, ...] = (),
    config: str = "",
    folder: str = "",
    own: dict[str, str] | None = None,
) -> list[str]:
    configs = {PACKAGE_CONFIG: config, "/etc/haproxy/conf.d/web.cfg": folder}
    return [problem.check for problem in judge_host(port, listeners, configs, own or OWN)]


def test_the_ports_of_a_configuration() -> None:
    assert bound_ports(THEIRS) == {80, 443, 8080, 8081, 8082}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert bound_ports(text.replace("bind", "")) == set()
    bound_ports(f"bind {text}")


def test_a_free_port_beside_others_is_no_problem() -> None:
    assert checks(8000, config=THEIRS) == []
    assert checks() == []


@pytest.mark.parametrize("port", [80, 443, 8081])
def test_a_port_that_their_configuration_binds(port: int) -> None:
    assert checks(port, config=THEIRS) == ["load-balancer-port"]
    assert checks(port, folder=THEIRS) == ["load-balancer-port"]


def test_a_port_that_somebody_listens_on() -> None:
    assert checks(listeners=(Listener("nginx", 12, "nginx.service"),)) == ["load-balancer-port"]
    assert checks(listeners=(Listener("haproxy", 12, PACKAGE_UNIT),)) == ["load-balancer-port"]
    assert checks(listeners=(Listener("haproxy", 12, UNIT),)) == []
    both = (Listener("haproxy", 12, UNIT), Listener("nginx", 13, ""))
    assert judge_host(80, both, {}, OWN)[0].found == "Port 80 is taken by nginx (pid 13)"


def test_a_file_that_somebody_else_wrote() -> None:
    for path in OWN:
        assert checks(own={**OWN, path: "global\n"}) == ["load-balancer-file"]
        assert checks(own={**OWN, path: f"{WRITTEN}. Changes made here are lost"}) == []


def test_what_an_older_version_made_is_ours() -> None:
    old = f"{WRITTEN}. Changes made here are lost: they belong into the inventory.\nfrontend rspm\n    bind :80\n"
    running = (Listener("haproxy", 12, PACKAGE_UNIT),)
    assert is_old_layout(old, running) and is_old_layout(old, ())
    assert checks(listeners=running, config=old) == []
    assert checks(listeners=(Listener("nginx", 1, "nginx.service"),), config=old) == ["load-balancer-port"]
    # replaced, but the run was cut off before the process heard of it
    assert is_old_layout(f"{LEFT}\n", running) and not is_old_layout(f"{LEFT}\n", ())
    assert checks(listeners=running, config=f"{LEFT}\n") == []
    assert not is_old_layout(THEIRS, running)


def test_what_the_role_writes_is_known_as_ours() -> None:
    for name in ("templates/haproxy.cfg.j2", "files/rspm-haproxy.service"):
        assert (ROLE / name).read_text().startswith(WRITTEN), name
    assert (ROLE / "files/haproxy-left.cfg").read_text().startswith(LEFT)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_listens_is_found(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((address, 0))
        port = int(listening.getsockname()[1])
        assert read_listeners(port) == []
        listening.listen()
        found = read_listeners(port)
        assert [listener.pid for listener in found] == [os.getpid()] and found[0].name
        assert read_listeners(port + 1 if port < 65535 else 1) == []


def test_the_module_tells_and_does_not_fail(tmp_path: Path) -> None:
    own = tmp_path / "rspm.cfg"
    own.write_text("theirs\n")
    arguments: dict[str, Any] = {"port": 9, "config_file": str(own), "unit_file": str(tmp_path / "no.service")}
    result = run_module(lb_host, arguments)
    assert [problem["check"] for problem in result["problems"]] == ["load-balancer-file"]
    assert (result["changed"], result["old_layout"], result.get("failed")) == (False, False, None)


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, f"not within 15 s: {what}"
        time.sleep(0.02)


def said_by(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""


def listening_sockets(port: int) -> int:
    table = Path("/proc/net/tcp").read_text(encoding="ascii")
    return sum(f":{port:04X} " in line.split(" 0A ")[0] for line in table.splitlines() if " 0A " in line)


@pytest.mark.skipif(not HAPROXY, reason="needs HAProxy: apt-get install haproxy")
@pytest.mark.parametrize("takes_over", [True, False])
def test_the_new_process_takes_the_listening_sockets_over(takes_over: bool) -> None:
    """What the unit does at its first start beside an older layout; without it there are two, and one closes."""
    assert HAPROXY
    with tempfile.TemporaryDirectory(prefix="rspm-lb-", dir="/tmp") as name, socket.socket() as probe:
        folder = Path(name)
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        admin = folder / "admin.sock"

        def config(text: str) -> str:
            return (
                f"global\n    stats socket {admin} level admin expose-fd listeners\ndefaults\n    mode http\n"
                "    timeout connect 5s\n    timeout client 9s\n    timeout server 9s\n"
                f"frontend rspm\n    bind :{port}\n"
                f"    http-request return status 200 content-type text/plain string {text}\n"
            )

        current, new = folder / "current.cfg", folder / "new.cfg"
        current.write_text(config("old"))
        new.write_text(config("new"))
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([HAPROXY, "-W", "-f", str(current)], **quiet) as old:
            wait_until(lambda: said_by(port) == "old", "the old process answers")
            takeover = ["-x", str(admin)] if takes_over else []
            with subprocess.Popen([HAPROXY, "-W", *takeover, "-f", str(new)], **quiet) as ours:
                try:
                    wait_until(lambda: "new" in {said_by(port) for _time in range(20)}, "the new process answers")
                    assert listening_sockets(port) == (1 if takes_over else 2)
                    # what is left of the package's configuration
                    current.write_text(f"global\n    stats socket {folder}/stats\n")
                    old.send_signal(signal.SIGUSR2)
                    wait_until((folder / "stats").exists, "the old process has its new configuration")
                    wait_until(lambda: {said_by(port) for _time in range(20)} == {"new"}, "only the new one answers")
                    assert listening_sockets(port) == 1
                    if takes_over:
                        # the next reload knows of no takeover any more
                        ours.send_signal(signal.SIGUSR2)
                        wait_until(lambda: {said_by(port) for _time in range(20)} == {"new"}, "it still answers")
                        assert listening_sockets(port) == 1
                finally:
                    ours.terminate()
                    old.terminate()
