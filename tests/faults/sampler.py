"""Looks at every node five times a second, from outside, and tells whether two versions ever ran at the same time."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rspm_lab.lab import Lab

from tests.scenarios.support import NODES

_WATCHER = (Path(__file__).parent / "watcher.py").read_text(encoding="utf-8")
# A process that ended between two looks was seen last this long before its end, and its line is on its way.
_TOLERANCE = 0.3


@dataclass
class Life:
    """A process of the server: on which node, of which version, and when it was seen first and last (monotonic)."""

    node: str
    version: str
    first: float
    last: float


class Sampler:
    """Samples while it is entered; a node that does not answer is asked again until it does."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._lives: dict[tuple[str, ...], Life] = {}
        self._lock = threading.Lock()
        self._connections: dict[str, subprocess.Popen[str]] = {}
        self._threads = [threading.Thread(target=self._watch, args=(node,), daemon=True) for node in NODES]
        self.samples = dict.fromkeys(NODES, 0)

    def _watch(self, node: str) -> None:
        keep = ["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"]
        argv = self._lab.ssh_argv(node, "python3 -u -")
        while not self._stop.is_set():
            with subprocess.Popen(
                [argv[0], *keep, *argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as connection:
                self._connections[node] = connection
                try:
                    self._read(node, connection)
                except BrokenPipeError:
                    connection.kill()
            self._stop.wait(0.5)

    def _read(self, node: str, connection: subprocess.Popen[str]) -> None:
        assert connection.stdin and connection.stdout
        connection.stdin.write(_WATCHER)
        connection.stdin.close()
        for line in connection.stdout:
            now = time.monotonic()
            boot, *servers = line.split()
            with self._lock:
                self.samples[node] += 1
                for server in servers:
                    pid, start, version = server.split(",")
                    life = self._lives.setdefault((node, boot, pid, start), Life(node, version, now, now))
                    life.last = now

    def lives(self) -> list[Life]:
        """Return every process that was seen, the earliest first."""
        with self._lock:
            return sorted((Life(**vars(life)) for life in self._lives.values()), key=lambda life: life.first)

    def started_since(self, moment: float) -> list[str]:
        """Return the processes that began after a moment, `node: version`."""
        return [f"{life.node}: {life.version}" for life in self.lives() if life.first > moment]

    def mixed(self) -> list[str]:
        """Return where two versions were alive at the same time."""
        found = []
        lives = self.lives()
        for number, one in enumerate(lives):
            for other in lives[number + 1 :]:
                overlap = min(one.last, other.last) - max(one.first, other.first)
                if one.version != other.version and overlap > -_TOLERANCE:
                    found.append(
                        f"{one.version} on {one.node} and {other.version} on {other.node} ran at the same time "
                        f"({overlap:.1f} s)"
                    )
        return found

    def older_after_newer(self, old: str, new: str) -> list[str]:
        """Return the processes of the old version that lived after one of the new version had begun."""
        begun = [life.first for life in self.lives() if life.version == new]
        return [
            f"{old} was alive on {life.node} after {new} had begun"
            for life in self.lives()
            if begun and life.version == old and life.last > min(begun)
        ]

    def __enter__(self) -> Sampler:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for connection in list(self._connections.values()):
            connection.kill()
        for thread in self._threads:
            thread.join(10)
