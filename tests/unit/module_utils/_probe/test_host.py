# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module service_probe in a process of its own, against a service that the test breaks."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._probe import host
from ansible_collections.rspm.ha.plugins.module_utils._probe.rules import parse_target

RUN = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.rspm.ha.plugins.modules import service_probe
with patch_module_args(json.loads(sys.argv[1])):
    service_probe.main()
"""


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, f"not within 15 s: {what}"
        time.sleep(0.02)


class Service:
    """A service with what goes wrong with one."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.status, self.mode = 200, ""
        self.asked: list[str] = []
        self.peers: set[int] = set()
        self.go_on = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.asked.append(self.path)
                service.peers.add(self.client_address[1])
                if service.mode == "silent":
                    service.go_on.wait(20)
                self.send_response(service.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "4")
                self.end_headers()
                if service.mode == "cut":
                    self.wfile.write(b"pi")
                    self.close_connection = True
                elif service.mode == "drip":
                    for _time in range(20):
                        self.wfile.write(b"p")
                        self.wfile.flush()
                        service.go_on.wait(0.2)
                else:
                    self.wfile.write(b"pong")

            def log_message(self, *_arguments: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_arguments: None  # type: ignore[method-assign]
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/__ping__?a=b"

    def served(self, count: int = 3) -> None:
        """Wait until some more requests were made."""
        wanted = len(self.asked) + count
        wait_until(lambda: len(self.asked) >= wanted, "requests are made")

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


class Probe:
    """The module at work."""

    def __init__(self, url: str, marker: Path, **more: Any) -> None:
        self.marker = marker
        arguments = {"url": url, "marker": str(marker), "interval": 0.02, "timeout": 1, "limit": 30, **more}
        paths = os.pathsep.join(entry for entry in sys.path if entry)
        # a proxy that nobody may ask
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(arguments)],
            env={"PYTHONPATH": paths, "PATH": os.environ["PATH"], **proxies},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begun(self) -> Probe:
        pid = f"{self.process.pid}\n"
        wait_until(lambda: self.marker.exists() and self.marker.read_text() == pid, "the probe has begun")
        return self

    def result(self, seconds: float = 15) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=seconds)
        assert not err, err
        result: dict[str, Any] = json.loads(out)
        return result

    def end(self) -> dict[str, Any]:
        self.marker.unlink()
        return self.result()


def test_an_outage_is_seen_and_the_marker_ends_the_probe(service: Service, tmp_path: Path) -> None:
    probe = Probe(service.url, tmp_path / "marker").begun()
    service.served()
    service.status, since = 503, time.time()
    service.served(10)
    service.status, lasted = 200, time.time() - since
    service.served()
    result = probe.end()
    assert result["changed"] is False and result["still_down"] is False
    assert not result.get("failed"), "a service that is down is no failure of the task"
    assert [outage["said"] for outage in result["outages"]] == ["503"] and result["more_outages"] == 0
    assert result["longest_seconds"] == result["total_seconds"] == result["outages"][0]["seconds"]
    assert abs(result["total_seconds"] - lasted) < 0.3
    assert abs(datetime.fromisoformat(result["outages"][0]["from"].replace("Z", "+00:00")).timestamp() - since) < 0.3
    assert result["from"] < result["outages"][0]["from"] < result["outages"][0]["to"] < result["to"]
    assert 10 <= result["failures"] < result["samples"] == len(service.asked)
    assert set(service.asked) == {"/__ping__?a=b"}
    assert len(service.peers) == len(service.asked), "a connection was used twice"


def test_a_redirection_is_not_followed_and_codes_can_be_given(service: Service, tmp_path: Path) -> None:
    service.status = 302
    probe = Probe(service.url, tmp_path / "marker").begun()
    service.served()
    result = probe.end()
    assert result["outages"][0]["said"] == "302" and result["still_down"] is True
    assert "/elsewhere" not in service.asked
    service.status = 402
    probe = Probe(service.url, tmp_path / "marker", codes=[200, 402]).begun()
    service.served()
    assert probe.end()["failures"] == 0


def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        probe = Probe(f"http://127.0.0.1:{free.getsockname()[1]}", tmp_path / "marker").begun()
        time.sleep(0.2)
        result = probe.end()
    assert result["failures"] == result["samples"] > 0
    assert result["outages"][0]["said"] == "ConnectionRefusedError"


@pytest.mark.parametrize(
    ("mode", "said"), [("silent", "TimeoutError"), ("drip", "TimeoutError"), ("cut", "IncompleteRead")]
)
def test_an_answer_that_is_not_whole_is_none(service: Service, mode: str, said: str) -> None:
    service.mode = mode
    if mode == "drip":
        # each piece comes in time, all of them together don't
        service.server.RequestHandlerClass.send_header = (  # type: ignore[attr-defined]
            lambda self, name, value: BaseHTTPRequestHandler.send_header(
                self, name, "20" if name == "Content-Length" else value
            )
        )
    client = host.Client(parse_target(service.url), 0.5, [200], True)
    begun = time.monotonic()
    assert client.ask(None) == said
    assert time.monotonic() - begun < 2


def test_a_request_without_an_answer_counts_from_its_start(service: Service, tmp_path: Path) -> None:
    service.mode = "silent"
    probe = Probe(service.url, tmp_path / "marker").begun()
    wait_until(lambda: service.asked, "one request is made")
    service.mode = ""
    service.served()
    result = probe.end()
    assert result["failures"] == 1 and result["outages"][0]["said"] == "TimeoutError"
    assert 1 <= result["longest_seconds"] < 3
    # those that would have been asked meanwhile are left out
    assert result["samples"] < 40


def test_a_new_probe_takes_the_place_of_the_old_one(service: Service, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.write_text("99999999\n")
    old = Probe(service.url, marker).begun()
    new = Probe(service.url, marker).begun()
    assert old.result()["samples"] > 0
    assert marker.read_text() == f"{new.process.pid}\n", "the old one removed the new one's marker"
    service.served()
    assert new.process.poll() is None and new.end()["failures"] == 0


def test_sigterm_ends_it_with_its_result(service: Service, tmp_path: Path) -> None:
    probe = Probe(service.url, tmp_path / "marker").begun()
    service.served()
    probe.process.terminate()
    assert probe.result()["samples"] >= 3
    assert probe.process.returncode == 0 and not probe.marker.exists()


def test_the_limit_ends_it(service: Service, tmp_path: Path) -> None:
    probe = Probe(service.url, tmp_path / "marker", limit=0.3)
    assert probe.result()["samples"] > 1
    assert not probe.marker.exists()


def test_its_end_is_noticed_between_two_requests_that_are_far_apart(service: Service, tmp_path: Path) -> None:
    probe = Probe(service.url, tmp_path / "marker", interval=20)
    wait_until(lambda: service.asked, "one request is made")
    probe.marker.unlink()
    assert probe.result(seconds=5)["samples"] == 1


def test_check_mode_does_nothing(service: Service, tmp_path: Path) -> None:
    result = Probe(service.url, tmp_path / "marker", _ansible_check_mode=True).result()
    assert result["changed"] is False and result["samples"] == 0 and result["outages"] == [] and result["from"] == ""
    assert not service.asked and not (tmp_path / "marker").exists()


def test_what_can_not_be_measured_is_said(tmp_path: Path) -> None:
    nowhere = Probe("http://127.0.0.1:1/", tmp_path / "nowhere" / "marker").result()
    assert nowhere["failed"] is True and "can't be written" in nowhere["msg"]
    assert Probe("lb1", tmp_path / "marker").result()["problems"][0]["check"] == "service-probe"
    assert "interval is 0" in Probe("http://lb1/", tmp_path / "marker", interval=0).result()["msg"]
    assert not (tmp_path / "marker").exists()


def test_certificates_are_checked_unless_told_otherwise(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    service = Service(context)
    try:
        for checked, said in ((True, "SSLCertVerificationError"), (False, "")):
            client = host.Client(parse_target(f"https://127.0.0.1:{service.port}/"), 5, [200], checked)
            assert client.ask(client.context()) == said
    finally:
        service.close()
