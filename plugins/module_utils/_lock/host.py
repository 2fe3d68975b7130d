# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock's files on the shared storage, and the processes of the controller.

The folder holds one file for each time the lock was taken, numbered without gaps and never removed: 000001.json,
000002.json, ... The newest says who holds it, unless NNNNNN.released lies beside it. Taking means to create the next
number, which only one can: link(2) of a finished file fails on NFS 3 and 4 as everywhere if the name is there. So
neither a stale directory listing nor a slow reader can make two winners, and a take-over needs no removal of anything.
NNNNNN.alive is the lease: it says for how many seconds, and its time of change, which the storage sets, since when.
Source: open(2) and link(2), on O_EXCL and NFS.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import re
import socket
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any, Callable

from ansible_collections.rspm.ha.plugins.module_utils._core.host_child import in_child
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import sync_folder
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import lives
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import (
    ENDED,
    Sign,
    is_over,
    parse_sign,
    watching,
)
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord, ProcessId, parse, render

_NUMBERED = re.compile(r"(\d{6})\.json")
_ANSIBLE = re.compile(r"ansible(-[a-z]+)?")
_STALE_ATTEMPTS = 3


@dataclass(frozen=True)
class StoredLock:
    """The newest lock: its number (0 = there was none yet), its record while it is held, the last sign of its lease."""

    number: int
    record: LockRecord | None
    sign: Sign | None = None


@dataclass(frozen=True)
class LockFolder:
    """The folder on the shared storage, used as the service account (root may be squashed), for timeout seconds."""

    path: str
    uid: int
    gid: int
    timeout: float = 60

    def read(self) -> StoredLock:
        """Return the newest lock."""
        number, text, released, alive, at = self._as_account(lambda: _read(self.path))
        if released or not number:
            return StoredLock(number, None)
        record, sign = parse(text), parse_sign(alive, at)
        if sign:
            signed_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sign.at))
            record = replace(record, updated=max(record.updated, signed_at))
        return StoredLock(number, record, sign)

    def is_silent(self, stored: StoredLock) -> bool:
        """Watch a lease that seems to be over; return whether nothing is renewed and the storage's clock agrees."""
        if stored.sign is None:
            return False
        until = time.monotonic() + watching(stored.sign.lease)
        while time.monotonic() < until:
            time.sleep(min(1.0, watching(stored.sign.lease) / 10))
            if self.read() != stored:
                return False
        return is_over(stored.sign, self._as_account(lambda: _now(self.path)))

    def leave(self, number: int) -> None:
        """Say in our own lease that its run has ended."""
        self._as_account(lambda: _replace(self.path, f"{number:06}.alive", f"{ENDED}\n"))

    def create(self, number: int, record: LockRecord) -> bool:
        """Write the lock of this number; False if someone else has."""
        return bool(self._as_account(lambda: _create(self.path, f"{number:06}.json", render(record))))

    def rewrite(self, number: int, record: LockRecord) -> None:
        """Replace what our own lock says."""
        self._as_account(lambda: _replace(self.path, f"{number:06}.json", render(record)))

    def release(self, number: int, how: dict[str, str]) -> None:
        """Let the lock of this number go; how: kept beside it, for whoever looks back."""
        self._as_account(lambda: _release(self.path, f"{number:06}", json.dumps(how) + "\n"))

    def _as_account(self, work: Callable[[], Any]) -> Any:
        """Return what work returns when done in a child process with the account's ids.

        Raises DomainError for what the system refuses, and for a storage that doesn't answer in time.
        """
        said = in_child(work, self.uid, self.gid, self.timeout, umask=0o027)
        if said is None:
            raise self._failed(f"did not answer within {self.timeout:g} s", "Bring the storage back")
        if "result" in said:
            return said["result"]
        fixes = {
            errno.EACCES: f"See that the storage is mounted, and that uid {self.uid} may write there",
            errno.ENOENT: "See that the storage is mounted",
            errno.EROFS: "See that the storage is mounted for writing",
            errno.ENOSPC: "Make room on the storage",
            errno.EDQUOT: "Make room on the storage",
        }
        raise self._failed(f"failed: {said['text']}", fixes.get(said["errno"], "Repair what it says"))

    def _failed(self, what: str, fix: str) -> DomainError:
        return DomainError(
            Problem(
                check="cluster-lock",
                found=f"The lock at {self.path}, as uid {self.uid}, {what}",
                why="Without the lock two runs could change the cluster at once",
                fix=f"{fix}, and run the same command again",
            )
        )


def _read(folder: str) -> tuple[int, str, bool, str, float]:
    """Return number, text, whether it was released, and the lease with its time, of the newest lock."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0, "", False, "", 0
    number = max((int(match.group(1)) for match in map(_NUMBERED.fullmatch, names) if match), default=0)
    # a client may cache the listing, but asks the server for a name that it doesn't know
    while os.path.exists(os.path.join(folder, f"{number + 1:06}.json")):
        number += 1
    if not number:
        return 0, "", False, "", 0
    name = os.path.join(folder, f"{number:06}")
    text = _text(f"{name}.json")
    return number, text, os.path.exists(f"{name}.released"), *_lease(f"{name}.alive")


def _lease(path: str) -> tuple[str, float]:
    """Return what the lease says and when it was written, "" where there is none."""
    for _attempt in range(_STALE_ATTEMPTS):
        try:
            # an NFS client asks the server anew for the attributes of what it opens
            with open(path, encoding="utf-8") as file:
                return file.read(16), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            break
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return "", 0


def _now(folder: str) -> float:
    """Return the time by the storage's clock."""
    path = _write_temporary(folder, "")
    try:
        os.utime(path)
        with open(path, encoding="utf-8") as file:
            return os.fstat(file.fileno()).st_mtime
    finally:
        os.unlink(path)


def _release(folder: str, name: str, text: str) -> None:
    _create(folder, f"{name}.released", text)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, f"{name}.alive"))


def _text(path: str) -> str:
    for attempt in range(_STALE_ATTEMPTS):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except OSError as error:
            # its holder replaced the file just now
            if error.errno != errno.ESTALE or attempt == _STALE_ATTEMPTS - 1:
                raise
    raise AssertionError


def _create(folder: str, name: str, text: str) -> bool:
    for level in (os.path.dirname(folder), folder):
        with contextlib.suppress(FileExistsError):
            os.mkdir(level, 0o750)
    temporary = _write_temporary(folder, text)
    try:
        os.link(temporary, os.path.join(folder, name))
        won = True
    except FileExistsError:
        # a repeated request to the NFS server finds the link that the lost answer was about
        won = os.stat(temporary).st_nlink == 2
    finally:
        os.unlink(temporary)
    sync_folder(folder)
    return won


def _replace(folder: str, name: str, text: str) -> None:
    os.replace(_write_temporary(folder, text), os.path.join(folder, name))
    sync_folder(folder)


def _write_temporary(folder: str, text: str) -> str:
    path = os.path.join(folder, f".{uuid.uuid4().hex}.tmp")
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def new_run_id() -> str:
    """Return an id for new work."""
    return uuid.uuid4().hex[:12]


def this_node() -> str:
    """Return the name of the machine that writes the lock."""
    return socket.gethostname()


def this_operator() -> str:
    """Return user@host of whoever runs this."""
    user = os.environ.get("SUDO_USER", "")
    if not user:
        # a container may run under an id that it has no name for
        with contextlib.suppress(KeyError):
            user = pwd.getpwuid(os.getuid()).pw_name
    return f"{user or os.getuid()}@{socket.gethostname()}"


def this_kernel() -> str:
    """Return boot id and pid namespace, "" where there is no /proc."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def this_run() -> ProcessId:
    """Return the Ansible process that runs this module on the controller.

    That is the uppermost of the ancestors that share the command line of the nearest one called ansible*: the workers
    are forks of it. Where there is none, the id is one that no process has.
    """
    pid = os.getpid()
    while pid > 1:
        argv = _command_line(pid)
        # as a program, or as python3 -m ansible
        named = [*argv[:2], *(word for before, word in zip(argv, argv[1:]) if before == "-m")]
        if any(_ANSIBLE.fullmatch(os.path.basename(word)) for word in named):
            while (parent := _parent(pid)) and _command_line(parent) == argv:
                pid = parent
            return ProcessId(this_kernel(), pid, start_time(pid) or 0)
        pid = _parent(pid)
    return ProcessId("", 0, uuid.uuid4().int)


def start_time(pid: int) -> int | None:
    """Return when a living process was started, in clock ticks since boot; None where there is none."""
    words = _stat(pid)
    return None if not words or words[0] in ("Z", "X") else int(words[19])


def is_hidden(pid: int) -> bool:
    """Whether a process lives that /proc does not show, as those of other users with hidepid."""
    return not _stat(pid) and lives(pid)


def _parent(pid: int) -> int:
    words = _stat(pid)
    return int(words[1]) if words else 0


def _stat(pid: int) -> list[str]:
    """Return the words of /proc/PID/stat from the state on, none where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read().split("\0")
    except OSError:
        return []
