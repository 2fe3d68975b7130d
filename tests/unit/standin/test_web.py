# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's HTTP transport, in this process: keep-alive, running requests at the end, many clients."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "standin"))

from rstudio_pm_standin.web import Request, Response, Server

ASK = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def handler(request: Request) -> Response:
    """Answer with the target; /slow takes a while, /fault fails."""
    if request.target == "/slow":
        time.sleep(0.5)
    if request.target == "/fault":
        raise ValueError("planted")
    return Response(200, request.target.encode())


def serve() -> tuple[Server, int, list[str]]:
    """Start a server on the loopback."""
    lines: list[str] = []
    server = Server(handler, lines.append)
    port = server.listen("127.0.0.1", 0)
    server.serve()
    return server, port, lines


def ask(port: int, data: bytes) -> bytes:
    """Send data on a connection of its own and return all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(data)
        return b"".join(iter(lambda: link.recv(65536), b""))


def test_requests_share_a_connection_also_when_sent_at_once() -> None:
    _server, port, _lines = serve()
    post = b"POST /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    answer = ask(port, ASK % b"/a" + ASK % b"/b" + post + b"GET /d HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert [answer.index(body) for body in (b"/a", b"/b", b"/c", b"/d")] == sorted(
        answer.index(body) for body in (b"/a", b"/b", b"/c", b"/d")
    )
    assert answer.count(b"Connection: close") == 1


def test_http_1_0_ends_after_one_answer() -> None:
    _server, port, _lines = serve()
    assert ask(port, b"GET /a HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n/a")


def test_nonsense_gets_an_answer() -> None:
    _server, port, _lines = serve()
    assert ask(port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert ask(port, b"x" * 70_000).startswith(b"HTTP/1.1 431 ")
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(port, chunked).startswith(b"HTTP/1.1 413 ")


def test_one_fault_ends_nothing_else() -> None:
    _server, port, lines = serve()
    answer = ask(port, ASK % b"/fault" + b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"/a")
    assert lines == ["GET /fault: ValueError: planted"]


def test_a_drain_lets_running_requests_end_and_idle_connections_go() -> None:
    server, port, _lines = serve()
    idle = socket.create_connection(("127.0.0.1", port), timeout=10)
    idle.sendall(ASK % b"/first")
    assert b"/first" in idle.recv(65536)
    answers: list[bytes] = []
    slow = [threading.Thread(target=lambda: answers.append(ask(port, ASK % b"/slow"))) for _turn in range(20)]
    for thread in slow:
        thread.start()
    time.sleep(0.2)
    began = time.monotonic()
    server.drain(5)
    assert time.monotonic() - began < 3
    assert idle.recv(1) == b""
    idle.close()
    for thread in slow:
        thread.join()
    assert [answer.count(b"200 OK") for answer in answers] == [1] * 20
    assert all(b"Connection: close" in answer for answer in answers)
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        raise AssertionError("a drained server takes connections")
    except ConnectionRefusedError:
        pass


def test_settling_waits_for_the_requests_that_run_and_not_for_later_ones() -> None:
    server, port, _lines = serve()
    thread = threading.Thread(target=ask, args=(port, b"GET /slow HTTP/1.0\r\n\r\n"))
    thread.start()
    time.sleep(0.2)
    assert not server.settle(0.05)
    assert server.settle(5)
    thread.join()


def test_many_clients_at_once() -> None:
    _server, port, _lines = serve()
    answers: list[bytes] = []

    def client() -> None:
        for _turn in range(5):
            answers.append(ask(port, b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"))

    threads = [threading.Thread(target=client) for _turn in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 500
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
