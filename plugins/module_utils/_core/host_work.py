# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One step at a time on a node, even if the controller of an earlier run has died and its step goes on.

The kernel lets flock(2) go when the step ends in whatever way, and what it starts does not inherit it: the file is
opened with O_CLOEXEC. /run is empty after a reboot.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

LOCK_PATH = "/run/rspm-ha.lock"
# load_work holds the lock for a moment only
_PATIENCE_SECONDS = 1.0
_POLL_INTERVAL = 0.05


@contextmanager
def node_work(what: str, check_mode: bool = False) -> Iterator[None]:
    """Keep every other step away from this node. what: the step in a few words, for the message to the others.

    Raises DomainError where another step is at work. In check mode nothing is kept away.
    """
    if check_mode:
        yield
        return
    descriptor = _open(os.O_RDWR | os.O_CREAT)
    try:
        if not _wait(descriptor, fcntl.LOCK_EX, _PATIENCE_SECONDS):
            raise DomainError(_busy(_said(descriptor)))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{what}, pid {os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def load_work(timeout: float) -> str:
    """Return what is still at work on this node after waiting for its end for timeout seconds, "" for nothing."""
    try:
        descriptor = _open(os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        return "" if _wait(descriptor, fcntl.LOCK_SH, timeout) else _said(descriptor)
    finally:
        os.close(descriptor)


def _open(flags: int) -> int:
    try:
        return os.open(LOCK_PATH, flags, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DomainError(
            Problem(
                check="node-lock",
                found=f"{LOCK_PATH} can't be opened on {socket.gethostname()} ({error.strerror})",
                why="Whether a step of an earlier run is still at work there is not known",
                fix="Run the task as root (become: true)",
            )
        ) from error


def _wait(descriptor: int, kind: int, timeout: float) -> bool:
    """Take the lock within timeout seconds; False where someone else has it for longer."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(_POLL_INTERVAL)


def _said(descriptor: int) -> str:
    """Return what the holder wrote."""
    return os.pread(descriptor, 1000, 0).decode("utf-8", "replace").strip() or "one that has just begun"


def _busy(what: str) -> Problem:
    host = socket.gethostname()
    return Problem(
        check="node-busy",
        found=f"a step of an earlier run ({what}) is still at work on {host}",
        why="Two runs that change one node undo each other",
        fix="Wait for it to end, and run the same command again",
    )
