"""What upgrade_outage.py measures with, and what belongs to none of the ways that it compares: a client at the load
balancer, and a web server that has the packages.
"""

from __future__ import annotations

import functools
import http.server
import multiprocessing
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


@dataclass(frozen=True)
class Outage:
    """What the client saw. total, longest: seconds without service, all together and at a stretch; count: stretches."""

    total: float
    longest: float
    count: int
    samples: int


class Client:
    """Asks every 50 ms, whether or not the requests before were answered, and remembers when it was not served."""

    def __init__(self, address: str, path: str = "/__api__/status") -> None:
        self._address, self._path = address, path
        self._samples: list[tuple[float, bool]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._lock = threading.Lock()

    def _ask(self) -> None:
        sent = time.monotonic()
        code, _body = support.get(self._address, self._path, timeout=PATIENCE)
        served = code == 200 and time.monotonic() - sent <= PATIENCE
        with self._lock:
            self._samples.append((sent, served))

    def _run(self) -> None:
        slot = time.monotonic()
        while not self._stop.is_set():
            threading.Thread(target=self._ask, daemon=True).start()
            slot = max(slot + INTERVAL, time.monotonic())
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
        return len(recent) > seconds / INTERVAL / 2 and all(recent)

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
