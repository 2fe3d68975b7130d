# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The load balancer's own configuration and the module lb_member, with a real HAProxy in front of two small nodes."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest

from ansible_collections.rspm.ha.plugins.modules import lb_member
from tests.unit.worlds.module_run import run_module
from tests.unit.worlds.postgres_server import free_port

TEMPLATE = Path(__file__).parents[3] / "roles/load_balancer/templates/haproxy.cfg.j2"
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
run = partial(run_module, lb_member)
pytestmark = pytest.mark.skipif(not HAPROXY, reason="needs HAProxy: apt-get install haproxy")


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, f"not within 15 s: {what}"
        time.sleep(0.05)


class Node:
    """A node: answers its name and what it was asked; /slow goes on until it is let go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ping = 200
        self.answer = 200
        self.requests: list[str] = []
        self.go_on = threading.Event()
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/__ping__":
                    self.reply(node.ping, b"")
                    return
                node.requests.append(f"{self.command} {self.path}")
                if self.path == "/slow":
                    self.send_response(200)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"a")
                    node.go_on.wait(20)
                    self.wfile.write(b"b")
                    return
                self.reply(node.answer, json.dumps({"node": node.name, "headers": dict(self.headers)}).encode())

            do_POST = do_GET

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # HAProxy leaves as soon as a health check is answered.
        self.server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


class Balancer:
    """HAProxy with the role's template; as an ordinary user, and with ports of the test's own."""

    def __init__(self, folder: Path, nodes: list[Node]) -> None:
        self.folder, self.nodes, self.port = folder, nodes, free_port()
        self.socket, self.state_file = folder / "admin.sock", folder / "state"
        text = jinja2.Template(TEMPLATE.read_text(), trim_blocks=True).render(
            load_balancer_fingerprint="f1",
            rspm_load_balancer_max_connections=100,
            load_balancer_socket=self.socket,
            load_balancer_state_file=self.state_file,
            rspm_load_balancer_port=self.port,
            rspm_load_balancer_certificate="",
            load_balancer_scheme="http",
            load_balancer_fingerprint_socket=folder / "fingerprint.sock",
            rspm_allow_unlicensed=False,
            load_balancer_nodes=[{"name": node.name, "address": "127.0.0.1"} for node in nodes],
            rspm_http_port="@",
        )
        for node in nodes:
            text = text.replace(f"server {node.name} 127.0.0.1:@", f"server {node.name} 127.0.0.1:{node.port}")
        for privileged in ("chroot", "user", "group"):
            text = "\n".join(line for line in text.splitlines() if not line.startswith(f"    {privileged} ")) + "\n"
        self.config = folder / "haproxy.cfg"
        self.config.write_text(text)
        self.start()

    def start(self) -> None:
        assert HAPROXY
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([HAPROXY, "-db", "-f", str(self.config)], stdout=log, stderr=log)
        wait_until(self.socket.is_socket, "HAProxy has its socket")
        wait_until(self.listens, "HAProxy listens")

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.unlink()

    def ask(self, path: str = "/x", method: str = "GET", host: str = "pm.example.org") -> tuple[int, dict[str, Any]]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            client.request(method, path, headers={"Host": host})
            answer = client.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body.startswith(b"{") else {}
        finally:
            client.close()

    def served_by(self, times: int = 12) -> set[str]:
        return {self.ask()[1]["node"] for _time in range(times)}

    def member(self, node: str, state: str, **more: Any) -> dict[str, Any]:
        return run({"node": node, "state": state, "socket": str(self.socket), **more})


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    made = [Node("n1"), Node("n2")]
    yield made
    for node in made:
        node.close()


@pytest.fixture
def balancer(nodes: list[Node]) -> Iterator[Balancer]:
    # A UNIX socket's path has to be short, which pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="rspm-lb-", dir="/tmp"))
    made = Balancer(folder, nodes)
    try:
        # Up by its own checks, not only because it has just started.
        for node in nodes:
            made.member(node.name, "ready", timeout=15)
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def slow_download(balancer: Balancer, node: Node) -> tuple[threading.Thread, list[bytes]]:
    """Begin a download that stays on the node until it is let go."""
    got: list[bytes] = []

    def load() -> None:
        client = http.client.HTTPConnection("127.0.0.1", balancer.port, timeout=20)
        client.request("GET", "/slow")
        got.append(client.getresponse().read())
        client.close()

    thread = threading.Thread(target=load)
    thread.start()
    wait_until(lambda: "GET /slow" in node.requests, "the download has begun")
    return thread, got


def test_a_drained_node_gets_no_new_request_and_ends_the_one_it_has(balancer: Balancer, nodes: list[Node]) -> None:
    assert balancer.member("n2", "drain")["after"]["status"] == "DRAIN"
    thread, got = slow_download(balancer, nodes[0])
    balancer.member("n2", "ready")

    left = balancer.member("n1", "drain", timeout=0.3)
    assert (left["changed"], left["sessions"]) == (True, 1)
    assert left["before"]["state"] == "ready" and left["after"]["state"] == "drain"
    assert left["waited"] >= 0.3
    assert balancer.served_by() == {"n2"}

    threading.Timer(0.5, nodes[0].go_on.set).start()
    done = balancer.member("n1", "drain", timeout=15)
    assert (done["changed"], done["sessions"]) == (False, 0)
    assert 0.1 < done["waited"] < 10
    thread.join()
    assert got == [b"ab"]

    back = balancer.member("n1", "ready")
    assert (back["changed"], back["after"]["status"]) == (True, "UP")
    assert balancer.member("n1", "ready")["changed"] is False
    assert balancer.served_by() == {"n1", "n2"}


def test_check_mode_predicts_and_changes_nothing(balancer: Balancer) -> None:
    predicted = balancer.member("n1", "maintenance", _ansible_check_mode=True, _ansible_diff=True)
    assert predicted["changed"] is True
    assert predicted["diff"] == {"before": {"state": "ready"}, "after": {"state": "maintenance"}}
    assert balancer.served_by() == {"n1", "n2"}
    assert balancer.member("n1", "maintenance")["after"]["status"] == "MAINT"
    assert balancer.member("n1", "maintenance", _ansible_check_mode=True)["changed"] is False


def test_a_node_that_is_not_healthy_is_not_ready(balancer: Balancer, nodes: list[Node]) -> None:
    balancer.member("n1", "maintenance")
    nodes[0].ping = 503
    result = balancer.member("n1", "ready", timeout=3)
    assert result["failed"] is True
    assert result["problems"][0]["check"] == "load-balancer-health"
    assert "Node n1 is DOWN at the load balancer after 3 s (last health check: L7STS)" in result["msg"]
    assert balancer.served_by() == {"n2"}
    nodes[0].ping = 200
    assert balancer.member("n1", "ready", timeout=15)["after"]["status"] == "UP"


def test_a_stopped_node_is_awaited(balancer: Balancer, nodes: list[Node]) -> None:
    balancer.member("n1", "drain")
    # its checks still find it: requests would go to it at once
    early = balancer.member("n1", "awaited", timeout=1)
    assert [problem["check"] for problem in early["problems"]] == ["load-balancer-awaited"]
    assert balancer.member("n1", "drain")["changed"] is False
    nodes[0].ping = 503
    awaited = balancer.member("n1", "awaited", timeout=15)
    assert (awaited["changed"], awaited["after"]["state"]) == (True, "ready")
    assert balancer.served_by() == {"n2"}
    assert balancer.member("n1", "awaited")["changed"] is False
    nodes[0].ping = 200
    wait_until(lambda: balancer.ask()[1]["node"] == "n1", "n1 answers again")


@pytest.mark.parametrize("state", ["drain", "maintenance"])
def test_a_node_out_of_service_stays_out_when_haproxy_starts_anew(
    balancer: Balancer, nodes: list[Node], state: str
) -> None:
    state_file = str(balancer.state_file)
    balancer.member("n1", state, state_file=state_file)
    balancer.stop()
    balancer.start()
    assert balancer.member("n1", state, state_file=state_file)["changed"] is False
    assert balancer.served_by() == {"n2"}
    back = balancer.member("n1", "ready", state_file=state_file, timeout=15)
    assert back["after"] == {"state": "ready", "status": "UP", "sessions": 0, "check": "L7OK"}
    nodes[0].ping = 503
    wait_until(lambda: balancer.served_by() == {"n2"}, "n1 is checked as before")
    nodes[0].ping = 200
    balancer.stop()
    balancer.start()
    assert balancer.member("n1", "ready", state_file=state_file, timeout=15)["changed"] is False
    assert balancer.served_by() == {"n1", "n2"}


def test_without_a_licence_a_node_is_out_of_service(balancer: Balancer, nodes: list[Node]) -> None:
    nodes[0].ping = 402
    wait_until(lambda: balancer.served_by() == {"n2"}, "n1 is out of service")


def test_a_node_that_goes_offline_costs_no_request(balancer: Balancer, nodes: list[Node]) -> None:
    nodes[0].answer = 503
    assert {balancer.ask()[0] for _time in range(12)} == {200}
    assert any(node.requests for node in nodes[:1]), "n1 was never asked, so nothing was shown"


def test_a_node_that_dies_costs_no_request(balancer: Balancer, nodes: list[Node]) -> None:
    nodes[0].server.shutdown()
    nodes[0].server.server_close()
    assert {balancer.ask()[0] for _time in range(12)} == {200}


def test_what_changes_data_is_never_sent_twice(balancer: Balancer, nodes: list[Node]) -> None:
    for node in nodes:
        node.answer = 503
    assert balancer.ask(method="POST")[0] == 503
    assert sum(request.startswith("POST") for node in nodes for request in node.requests) == 1
    assert balancer.ask(method="GET")[0] == 503
    assert sum(request.startswith("GET") for node in nodes for request in node.requests) == 4


def test_the_nodes_learn_the_address_that_the_user_asked_for(balancer: Balancer) -> None:
    _status, body = balancer.ask("/cran/latest/src?a=b%20c", host="pm.example.org:8443")
    headers = {name.lower(): value for name, value in body["headers"].items()}
    assert headers["X-RSPM-Request".lower()] == "http://pm.example.org:8443/cran/latest/src?a=b%20c"
    assert headers["X-Forwarded-Proto".lower()] == "http"
    assert headers["X-Forwarded-Host".lower()] == "pm.example.org:8443"
    assert headers["X-Forwarded-Port".lower()] == str(balancer.port)
    assert headers["X-Forwarded-For".lower()] == "127.0.0.1"


def test_it_tells_which_configuration_runs(balancer: Balancer) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(balancer.folder / "fingerprint.sock"))
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.endswith(b"\r\n\r\nf1")


def test_a_node_that_haproxy_does_not_know(balancer: Balancer) -> None:
    result = balancer.member("n9", "drain")
    assert result["problems"][0]["found"] == "HAProxy has no server n9 in backend rspm; its servers are n1, n2"


def test_every_node_is_observed_and_none_changed(balancer: Balancer) -> None:
    kept = str(balancer.state_file)
    balancer.member("n2", "drain", state_file=kept)
    asked = {"state": "observed", "socket": str(balancer.socket)}
    for check_mode in (False, True):
        result = run({**asked, "_ansible_check_mode": check_mode})
        assert result["changed"] is False
        assert result["members"] == {
            "n1": {"state": "ready", "status": "UP", "sessions": 0, "check": "L7OK"},
            "n2": {"state": "drain", "status": "DRAIN", "sessions": 0, "check": "L7OK"},
        }
    assert "in_service" not in run(asked)
    asked_all = {**asked, "state_file": kept}
    assert run(asked_all)["in_service"] == ["n1"]
    balancer.member("n2", "ready", state_file=kept, timeout=15)
    assert run(asked_all)["in_service"] == ["n1", "n2"]
    # what HAProxy would load at its next start
    balancer.state_file.write_text("1\n")
    assert run(asked_all)["in_service"] == []
    missing = run({**asked, "backend": "web"})
    assert missing["problems"][0]["found"] == "HAProxy has no backend web with servers"


@pytest.mark.parametrize("check_mode", [False, True])
def test_nothing_is_observed_without_haproxy(check_mode: bool) -> None:
    result = run_module(
        lb_member, {"state": "observed", "socket": "/nowhere/admin.sock", "_ansible_check_mode": check_mode}
    )
    assert result["failed"] is True and result["problems"][0]["check"] == "load-balancer-socket"


def test_no_haproxy_at_the_socket() -> None:
    result = run({"node": "n1", "state": "drain", "socket": "/nowhere/admin.sock"})
    assert result["problems"][0]["check"] == "load-balancer-socket"
    assert "HAProxy does not answer at /nowhere/admin.sock (No such file or directory)" in result["msg"]


def test_a_teams_own_command_is_run_and_not_in_check_mode(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = ["sh", "-c", f"echo $0 $1 >>{seen}; echo done", "{node}", "{state}"]
    assert run({"node": "n1", "state": "drain", "command": command, "_ansible_check_mode": True})["changed"] is True
    assert not seen.exists()
    assert run({"node": "n1", "state": "drain", "command": command})["stdout"] == "done\n"
    assert seen.read_text() == "n1 drain\n"


def test_a_teams_own_command_that_fails(tmp_path: Path) -> None:
    script = tmp_path / "member"
    script.write_text("echo no such pool >&2; exit 3")
    result = run({"node": "n1", "state": "drain", "command": ["sh", str(script)]})
    assert result["failed"] is True
    assert "no such pool" in result["msg"]


def test_exactly_one_way_is_given() -> None:
    assert run({"node": "n1", "state": "drain"})["failed"] is True
    assert run({"node": "n1", "state": "drain", "socket": "/x", "command": ["y"]})["failed"] is True
    assert "socket" in run({"state": "observed", "command": ["y"]})["msg"]


def test_a_change_needs_a_node() -> None:
    for state in ("drain", "maintenance", "ready"):
        assert run({"state": state, "socket": "/x"})["msg"].endswith("missing: node")
