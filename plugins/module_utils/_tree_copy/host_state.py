# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folder of a copy's state, which only root may write: the lock, whose copy it is, and how far it is.

In it is the evidence of equal contents, too ("manifest"), one JSON line for each file, sorted. Each line says only what
was true of two files with these identities, so one that is missing, stale or half-written costs a second reading and
nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import (
    make_folder,
    read_text,
    sync_folder,
    write_file,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import Evidence, Identity, newest, sort_key
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.progress import Progress

_LINE = 1 << 16
# json would make an encoder for each list of numbers, of millions
_RECORD = '[%s,[%d,%d,%d,%d],[%d,%d,%d,%d],"%s"]\n'


def record_line(record: Evidence) -> bytes:
    """Return the record as a line of the manifest."""
    path = record.path.decode("utf-8", "surrogateescape")
    return (_RECORD % (json.dumps(path), *record.source, *record.target, record.digest)).encode("ascii")


def _record(found: Any) -> Evidence | None:
    """Return the record that a line holds, None where it holds none."""
    try:
        path, source, target, digest = found
        if not (len(source) == len(target) == 4 and len(digest) == 32):
            return None
        return Evidence(path.encode("utf-8", "surrogateescape"), Identity(*source), Identity(*target), digest)
    except (ValueError, TypeError, AttributeError):
        return None


def parse_records(lines: Sequence[bytes]) -> Iterator[Evidence | None]:
    """Return the record of each line, None for one that is none."""
    try:
        # all at once, which takes far less than one after the other
        found = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        found = []
    return map(_record, found if len(found) == len(lines) else map(_parsed, lines))


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def read_records(path: str) -> Iterator[Evidence]:
    """Return the evidence in a file up to the first line that is none or out of order."""
    last = b""
    try:
        with open(path, "rb", buffering=1 << 20) as file:
            while lines := file.readlines(_LINE):
                for record in parse_records(lines):
                    if record is None or (key := sort_key(record.path)) <= last:
                        return
                    last = key
                    yield record
    except FileNotFoundError:
        return


class State:
    """The folder of the state. Only the run that has the lock writes to it.

    follower: id of whoever asks for the progress, which is in "progress.ID", and shows with each change of the time of
    "alive.ID" that it is still there; "" = nobody.
    """

    def __init__(self, folder: str, host: str, follower: str = "") -> None:
        self.folder, self.host, self.follower = folder, host, follower
        self.manifest = f"{folder}/manifest"
        self._fresh_path = f"{folder}/manifest.fresh"
        self._progress_path = f"{folder}/progress.{follower}"
        self._alive_path = f"{folder}/alive.{follower}"
        self._marker_path = f"{folder}/copy-of"
        self._fresh: IO[bytes] | None = None
        self.lock_descriptor = -1

    def read_marker(self) -> tuple[str, int]:
        """Return whose copy it is ("" = nobody's), and when it was finished by the host's clock in ns (0 = not yet)."""
        try:
            made = json.loads(read_text(self._marker_path) or "")
            return str(made["source"]), int(made["finished_ns"])
        except (ValueError, TypeError, KeyError):
            return "", 0

    def write_marker(self, source: str, finished_ns: int) -> None:
        """Note whose copy it is, and whether it is finished."""
        if self.read_marker() != (source, finished_ns):
            write_file(self._marker_path, json.dumps({"source": source, "finished_ns": finished_ns}) + "\n", 0o600)

    def lock(self, patience: float) -> None:
        """Take the lock, or raise DomainError.

        A run that nobody follows any more ends by itself; it is waited for, for up to patience seconds.
        """
        make_folder(self.folder, 0o700)
        # rsync, which runs as the account, keeps it open: only to read
        descriptor = os.open(f"{self.folder}/lock", os.O_RDONLY | os.O_CREAT, 0o600)
        begun, asked = time.monotonic(), self._last_asked()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - begun >= patience or self._last_asked() != asked:
                    os.close(descriptor)
                    raise DomainError(self._locked()) from None
                time.sleep(0.2)
        self.lock_descriptor = descriptor
        self._tidy()
        with open(self._alive_path, "w", encoding="ascii"):
            os.utime(self._alive_path)
        self._absorb()

    def unlock(self) -> None:
        """Let go of the lock and of what only mattered meanwhile."""
        self._tidy()
        os.close(self.lock_descriptor)
        self.lock_descriptor = -1

    def abandoned(self, after: float) -> bool:
        """Return whether nobody has asked for the progress for so many seconds, though somebody began to."""
        return bool(self.follower) and time.time() - self._last_asked() > after

    def write_progress(self, now: Progress) -> None:
        """Show how far the copying is. Not synced: after a power cut it means nothing."""
        temporary = f"{self._progress_path}.new"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(now.to_json() + "\n")
        os.replace(temporary, self._progress_path)

    def add(self, record: Evidence) -> None:
        """Keep one more piece of evidence; sorted, until flush."""
        if self._fresh is None:
            self._fresh = open(self._fresh_path, "wb", buffering=_LINE)  # noqa: SIM115 - open until flush
        self._fresh.write(record_line(record))

    def flush(self) -> None:
        """Put what was added into the manifest, in one step."""
        if self._fresh is not None:
            self._fresh.close()
            self._fresh = None
            self._absorb()

    def _absorb(self) -> None:
        """Merge what a run has added, also one that was cut off, into the manifest."""
        if not os.path.lexists(self._fresh_path):
            return
        if os.path.lexists(self.manifest):
            self._replace(newest(read_records(self.manifest), read_records(self._fresh_path)))
            os.unlink(self._fresh_path)
        else:
            # what it says after a line that was cut off is not read
            self._publish(self._fresh_path)

    def _replace(self, records: Iterable[Evidence]) -> None:
        temporary = f"{self.manifest}.new"
        with open(temporary, "wb", buffering=1 << 20) as file:
            for record in records:
                file.write(record_line(record))
        self._publish(temporary)

    def _publish(self, path: str) -> None:
        """Make a file the manifest, in one step."""
        with open(path, "rb") as file:
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
        os.replace(path, self.manifest)
        sync_folder(self.folder)

    def _signs(self) -> list[str]:
        return [f"{self.folder}/{name}" for name in os.listdir(self.folder) if name.startswith("alive.")]

    def _last_asked(self) -> float:
        """Return when somebody last asked, in seconds since the epoch."""
        moments = [0.0]
        for path in self._signs():
            with suppress(FileNotFoundError):
                moments.append(os.stat(path).st_mtime)
        return max(moments)

    def list_path(self, number: int) -> str:
        """Return where a list of paths for rsync may be until the run ends."""
        return f"{self.folder}/paths.{number}"

    def spool_folder(self) -> str:
        """Return where files without a name may be, "" while nothing may be written, as in a check."""
        return self.folder if self.lock_descriptor >= 0 else ""

    def _tidy(self) -> None:
        for name in os.listdir(self.folder):
            if name.startswith(("alive.", "progress.", "paths.")):
                os.unlink(f"{self.folder}/{name}")

    def _locked(self) -> Problem:
        return Problem(
            "tree-copy-lock",
            f"another tree_copy to the same destination is at work on {self.host}",
            "Two at once would undo each other's work",
            f"Wait for it, or find and end it (fuser -v {self.folder}/lock), then run the same command again",
        )
