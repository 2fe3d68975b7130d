"""What the clients at the load balancer count is what happened."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.catalogue import LONG, REFUSED, SHORT, cut, finished
from bench.upgrade_outage import counted
from bench.upgrade_outage_world import Client, Downloads, Outage

CONTENT = bytes(range(256)) * 256


def client(*samples: tuple[float, bool]) -> Client:
    asked = Client("nowhere")
    asked._samples = list(samples)
    return asked


def test_an_outage_is_from_the_first_request_that_failed_to_the_next_that_was_served() -> None:
    # a request that waits for its answer is told of after one that was sent later
    seen = client((0, True), (2, False), (1, False), (3, True), (4, True), (5, False), (5.5, True)).outage()
    assert seen == Outage(total=2.5, longest=2, count=2, samples=7)
    assert client((0, True), (1, True)).outage() == Outage(0, 0, 0, 2)


def test_a_service_that_stays_away_is_no_outage_of_some_length() -> None:
    with pytest.raises(RuntimeError, match="did not come back"):
        client((0, True), (1, False)).outage()


@pytest.mark.parametrize("interval", [0.05, 0.2])
def test_service_is_that_all_were_served_as_often_as_was_asked(interval: float) -> None:
    asked = Client("nowhere", interval)
    now = time.monotonic()
    asked._samples = [(now - number * interval, True) for number in range(100)]
    assert asked.served_for(3)
    asked._samples[50] = (now - 2.5, False)
    assert not asked.served_for(3)
    asked._samples = [(now, True)]
    assert not asked.served_for(3)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def server(answer: Callable[[Handler], None]) -> Iterator[str]:
    handler = type("Answers", (Handler,), {"do_GET": answer})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def whole(request: Handler) -> None:
    assert (request.path, request.headers["Connection"]) == ("/slow", "close")
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT)


def half(request: Handler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT[: len(CONTENT) // 2])
    request.close_connection = True


def another(request: Handler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT[::-1])


def away(request: Handler) -> None:
    request.send_error(503)


def silent(request: Handler) -> None:
    request.close_connection = True


@pytest.mark.parametrize(
    ("answer", "ended"),
    [(whole, "finished"), (half, "cut"), (another, "cut"), (away, "refused"), (silent, "refused")],
)
def test_how_a_download_ends_is_counted(answer: Callable[[Handler], None], ended: str) -> None:
    with server(answer) as address, Downloads(address, "/slow", CONTENT, 0.01, clients=1) as downloads:
        until = time.monotonic() + 30
        while downloads.ended[ended] < 2 and time.monotonic() < until:
            time.sleep(0.02)
    assert downloads.ended.keys() == {ended} and downloads.ended[ended] >= 2


def test_a_download_takes_as_long_as_it_is_to_and_one_under_way_at_the_end_is_not_counted() -> None:
    begun = time.monotonic()
    with server(whole) as address, Downloads(address, "/slow", CONTENT, 0.5, clients=1) as downloads:
        while not downloads.ended:
            time.sleep(0.02)
        took = time.monotonic() - begun
    assert took > 0.4
    assert downloads.ended == {"finished": 1}


def test_nobody_there_is_a_refusal() -> None:
    with server(whole) as address:
        pass
    with Downloads(address, "/slow", CONTENT, 1, clients=1) as downloads:
        time.sleep(0.5)
    assert downloads.ended.keys() == {"refused"}


def test_downloads_are_told_by_their_length() -> None:
    both = {seconds: Downloads("nowhere", "/slow", CONTENT, seconds) for seconds in (SHORT, LONG)}
    both[SHORT].ended.update(finished=7, refused=2)
    both[LONG].ended.update(finished=1, cut=3, refused=1)
    assert counted(both) == {
        finished(SHORT): 7,
        cut(SHORT): 0,
        finished(LONG): 1,
        cut(LONG): 3,
        REFUSED: 3,
    }
    assert counted({}) == {}
