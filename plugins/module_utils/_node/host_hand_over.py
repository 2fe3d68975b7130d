# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file in which two nodes that change places tell each other. hand_over says what.

It is opened once and read with O_DIRECT, which asks the server each time, whatever the NFS client has cached of the
file and of its attributes; its folder and its name are asked for once, and never change. The service's account owns it,
since root may be squashed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Callable

from ansible_collections.rspm.ha.plugins.module_utils._core.host_child import in_child, take_ids
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._node.hand_over import (
    BLOCK,
    GIVER_AT,
    TAKER_AT,
    Said,
    Word,
    never_asked,
    never_said,
    parse,
    render,
    says,
    storage_failed,
)

_INTERVAL = 0.02
# Each begins within this of the other; what both do before takes less
_MEET_SECONDS = 60.0
_WRITE_SECONDS = 60.0
# How often a node that is at work says so, and after which silence it is given up
_BEAT_SECONDS, _SILENCE_SECONDS = 3.0, 30.0
# The giver's, while nothing depends on it but that it does no harm
_END_INTERVAL = 0.2


@dataclass(frozen=True)
class HandOver:
    """One attempt. path: the file. attempt: a text that is new for each. taker, giver: names in the inventory.

    uid, gid: of the service's account. restore_point: its folder. stop_timeout: seconds from the giver's begin to its
    being stopped. start_timeout: seconds from then to the end of the taker's work.
    """

    path: str
    attempt: str
    taker: str
    giver: str
    uid: int
    gid: int
    restore_point: str
    stop_timeout: float
    start_timeout: float

    def await_taker(self) -> None:
        """Return as soon as the taker waits; raises DomainError where it does not."""
        met = self._await(TAKER_AT, self.taker, _MEET_SECONDS, Said.WAITS, Said.GONE)
        if met is not Said.WAITS:
            gone = met is Said.GONE
            raise DomainError(never_asked(socket.gethostname(), self.taker, _MEET_SECONDS, gone=gone))

    def await_giver(self) -> None:
        """Say that this node waits, and return as soon as the giver has stopped; DomainError where it does not."""
        self.say(Said.WAITS)
        began = self._await(GIVER_AT, self.giver, _MEET_SECONDS, Said.STOPS, Said.STOPPED)
        ended = began
        if began is Said.STOPS:
            ended = self._await(GIVER_AT, self.giver, self.stop_timeout, Said.STOPPED)
        if ended is not Said.STOPPED:
            seconds = self.stop_timeout if began else _MEET_SECONDS
            raise DomainError(never_said(socket.gethostname(), self.giver, seconds, began=bool(began)))

    def await_end(self) -> bool:
        """Return whether the taker says that it has moved nothing: as soon as it does, or is at work no longer."""
        ends = (Said.GONE, Said.MOVED_NOTHING)
        silence, limit = _SILENCE_SECONDS, self.start_timeout
        try:
            said = self._as_account(
                lambda: _watch(self.path, TAKER_AT, self.attempt, self.taker, silence, ends, beats=True), limit
            )
        except DomainError:
            # as a word that does not come
            return False
        return said == Said.MOVED_NOTHING.value

    @contextmanager
    def at_work(self) -> Iterator[list[Said]]:
        """Say again and again that this node is at work on its start, and in the end that it is so no longer.

        Gives a list that takes a better last word.
        """
        last = [Said.GONE]
        child = os.fork()
        if child == 0:
            self._beat()
        try:
            yield last
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            # without a word the giver stays as it is
            with suppress(DomainError):
                self.say(last[-1])

    def _beat(self) -> None:
        """Be a process that says that its parent is at work, for as long as that lives."""
        parent = os.getppid()
        try:
            take_ids(self.uid, self.gid)
            while os.getppid() == parent:
                self._put(Said.STARTS)
                time.sleep(_BEAT_SECONDS)
        finally:
            os._exit(0)

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Tell the giver not to wait where this node can't take over after all."""
        try:
            yield
        except DomainError:
            # why it can't is what a person needs to know
            with suppress(DomainError):
                self.say(Said.GONE)
            raise

    def say(self, said: Said) -> None:
        """Write this node's word, and have it on the storage."""
        self._as_account(lambda: self._put(said), _WRITE_SECONDS)

    def _put(self, said: Said) -> str:
        giving = said in (Said.STOPS, Said.STOPPED)
        now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}"
        boot = (read_text("/proc/sys/kernel/random/boot_id") or "").strip()
        word = Word(said, self.attempt, self.giver if giving else self.taker, boot, now)
        with closing(DirectFile(self.path)) as file:
            file.write(GIVER_AT if giving else TAKER_AT, render(word))
        return ""

    def _await(self, place: int, node: str, seconds: float, *said: Said) -> Said | None:
        """Return which of these words the node says within these seconds, None for none of them."""
        found = self._as_account(lambda: _watch(self.path, place, self.attempt, node, seconds, said), 2 * seconds + 10)
        return Said(found) if found else None

    def _as_account(self, work: Callable[[], str], timeout: float) -> str:
        done = in_child(work, self.uid, self.gid, timeout, umask=0o077)
        if done is None or "result" not in done:
            said = f"it did not answer within {timeout:g} s" if done is None else done["text"]
            raise DomainError(storage_failed(socket.gethostname(), self.path, said))
        return str(done["result"])


class DirectFile:
    """A file of blocks, made where it is absent, and read and written past every cache where the system can."""

    def __init__(self, path: str) -> None:
        """Open the file, which nobody removes or renames."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # a page of its own, for what goes past the cache has to be aligned
        self._buffer = mmap.mmap(-1, BLOCK)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_DIRECT)
            self.direct = True
        except OSError:
            self.direct = False

    def read(self, place: int) -> bytes:
        """Return the block at the place, shorter or empty where the file ends before."""
        return self._buffer[: self._past_caches(lambda: os.preadv(self._descriptor, [self._buffer], place))]

    def write(self, place: int, block: bytes) -> None:
        """Put a block at the place, on the storage."""
        self._buffer[:] = block
        self._past_caches(lambda: os.pwritev(self._descriptor, [self._buffer], place))
        os.fsync(self._descriptor)

    def _past_caches(self, work: Callable[[], int]) -> int:
        """Return what the work returns; a file system that refuses to do it past its cache does it as ever."""
        try:
            return work()
        except OSError:
            if not self.direct:
                raise
        self.direct = False
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, 0)
        return work()

    def close(self) -> None:
        """Close the file."""
        self._buffer.close()
        os.close(self._descriptor)


def _watch(
    path: str, place: int, attempt: str, node: str, seconds: float, said: tuple[Said, ...], *, beats: bool = False
) -> str:
    """Return the word that is waited for, "" where it does not come.

    beats: whether each other word of the node gives it so many seconds more.
    """
    with closing(DirectFile(path)) as file:
        deadline, before = time.monotonic() + seconds, b""
        while True:
            block = file.read(place)
            word = parse(block)
            if word is not None and says(word, attempt, node, *said):
                return word.said.value
            if beats and block != before:
                deadline, before = time.monotonic() + seconds, block
            if time.monotonic() >= deadline:
                return ""
            time.sleep(_END_INTERVAL if beats else _INTERVAL)
