"""What upgrade_outage.py measures with, and what belongs to none of the ways that it compares: clients at the load
balancer, and a web server that has the packages.
"""

from __future__ import annotations

import collections
import functools
import http.client
import http.server
import multiprocessing
import socket
import socketserver
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.scenarios import support

INTERVAL = 0.05
# A user who waits longer than this takes the service for gone.
PATIENCE = 2.0
# A download that gets nothing for so long is cut.
STALLED = 30.0
FINISHED, CUT, REFUSED = "finished", "cut", "refused"


@dataclass(frozen=True)
class Outage:
    """What the client saw. total, longest: seconds without service, all together and at a stretch; count: stretches."""

    total: float
    longest: float
    count: int
    samples: int


class Client:
    """Asks every so many seconds, whether or not it was answered before, and remembers when it was not served."""

    def __init__(self, address: str, interval: float = INTERVAL) -> None:
        self._address, self._interval = address, interval
        self._samples: list[tuple[float, bool]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._lock = threading.Lock()

    def _ask(self) -> None:
        sent = time.monotonic()
        code, _body = support.get(self._address, "/__api__/status", timeout=PATIENCE)
        served = code == 200 and time.monotonic() - sent <= PATIENCE
        with self._lock:
            self._samples.append((sent, served))

    def _run(self) -> None:
        slot = time.monotonic()
        while not self._stop.is_set():
            threading.Thread(target=self._ask, daemon=True).start()
            slot = max(slot + self._interval, time.monotonic())
            self._stop.wait(slot - time.monotonic())

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        time.sleep(PATIENCE + 0.5)

    def served_for(self, seconds: float) -> bool:
        """Return whether every request of the last seconds was served."""
        begun = time.monotonic() - PATIENCE - seconds
        with self._lock:
            recent = [served for sent, served in self._samples if sent >= begun]
        return len(recent) > seconds / self._interval / 2 and all(recent)

    def outage(self) -> Outage:
        """Return how long there was no service: from the first request that failed to the next that was served."""
        lengths: list[float] = []
        since: float | None = None
        samples = sorted(self._samples)
        for sent, served in samples:
            if not served and since is None:
                since = sent
            elif served and since is not None:
                lengths.append(sent - since)
                since = None
        if since is not None:
            raise RuntimeError("the service did not come back")
        return Outage(round(sum(lengths), 2), round(max(lengths, default=0.0), 2), len(lengths), len(samples))


class Downloads:
    """Clients that fetch a file slowly, one time after the other, and count how that ended."""

    def __init__(self, address: str, path: str, content: bytes, seconds: float, clients: int = 3) -> None:
        host, _colon, port = address.partition(":")
        self._place, self._content, self._rate = (host, int(port or 80)), content, len(content) / seconds
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _number in range(clients)]
        self.ended: collections.Counter[str] = collections.Counter()

    def _run(self) -> None:
        while not self._stop.is_set():
            ended = self._fetch()
            # one that is under way at the end of the measurement has not ended
            if not self._stop.is_set():
                self.ended[ended] += 1
            if ended == REFUSED:
                self._stop.wait(0.25)

    def _fetch(self) -> str:
        answer, fetched = None, b""
        with socket.socket() as link:
            # else most of the file would be in the kernel's buffers at once, and no download would be slow
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            link.settimeout(STALLED)
            try:
                link.connect(self._place)
                link.sendall(self._request)
                answer = http.client.HTTPResponse(link)
                answer.begin()
                if answer.status != http.HTTPStatus.OK:
                    return REFUSED
                begun = time.monotonic()
                while not self._stop.is_set() and (chunk := answer.read(1 << 13)):
                    fetched += chunk
                    self._stop.wait(begun + len(fetched) / self._rate - time.monotonic())
            except (OSError, http.client.HTTPException):
                return CUT if answer and answer.headers else REFUSED
        return FINISHED if fetched == self._content else CUT

    def __enter__(self) -> Downloads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, rate: float, **kwargs: Any) -> None:
        self._rate = rate
        super().__init__(*args, **kwargs)

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:  # type: ignore[override]
        """Send a file no faster than at the rate."""
        begun, sent = time.monotonic(), 0
        while chunk := source.read(1 << 16):
            outputfile.write(chunk)
            sent += len(chunk)
            if self._rate:
                time.sleep(max(0.0, begun + sent / self._rate - time.monotonic()))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


def _serve(server: http.server.HTTPServer) -> None:
    server.serve_forever()


class WebServer:
    """Gives the files of a folder to the lab, each connection at so many megabits a second, 0 for as fast as can be."""

    def __init__(self, folder: Path, address: str, megabits: float) -> None:
        handler = functools.partial(_Handler, directory=str(folder), rate=megabits * 1e6 / 8)
        self._server = _Server((address, 0), handler)
        self.url = f"http://{address}:{self._server.server_address[1]}"
        # a process of its own, so that a download takes nothing from the client's time
        self._process = multiprocessing.get_context("fork").Process(target=_serve, args=(self._server,), daemon=True)

    def __enter__(self) -> WebServer:
        self._process.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.terminate()
        self._process.join()
        self._server.server_close()
