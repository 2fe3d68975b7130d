# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at both trees: what differs, and what is proved equal. Reads, and writes evidence only."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account
from ansible_collections.rspm.ha.plugins.module_utils._tree import (
    Digest,
    Entry,
    HardLinks,
    Identity,
    Mismatch,
    Pair,
    Totals,
    differences,
    join,
    judge_digests,
    proves,
    shown,
    written_since,
)
from ansible_collections.rspm.ha.plugins.module_utils._tree_plan import Need
from ansible_collections.rspm.ha.plugins.module_utils._tree_state_loader import State, read_records
from ansible_collections.rspm.ha.plugins.module_utils._tree_worker_loader import BATCH, Worker, close_all

_BATCH_FILES = 256
_BATCH_SIZE = 64 * 1024 * 1024
# Of source and copy, and how many bytes were read for them
_Digests = tuple[list[Digest], list[Digest], int]


@dataclass
class Work:
    """What is to be done. different: paths to copy. unproved: files of equal size and time whose content is not proved.

    files: those to copy that have one name, as they were before. linked: whether one with more names is to be copied.
    missing: folders that the copy lacks. tied: files to copy that have more names.
    to_copy: how much that is. equal: number of paths that need nothing. used: first path that something else wrote to
    since the copy was finished.
    """

    totals: Totals = field(default_factory=Totals)
    need: Need = field(default_factory=Need)
    different: list[bytes] = field(default_factory=list)
    unproved: list[bytes] = field(default_factory=list)
    unproved_size: int = 0
    files: dict[bytes, Identity] = field(default_factory=dict)
    to_copy: Totals = field(default_factory=Totals)
    to_delete: int = 0
    linked: bool = False
    missing: set[bytes] = field(default_factory=set)
    tied: list[bytes] = field(default_factory=list)
    equal: int = 0
    used: str = ""


@dataclass
class Result:
    """What a comparison with contents found. equal: number of paths that are proved equal.

    different: paths that differ, with what. corrupt: paths with equal size and time but another content.
    """

    equal: int = 0
    read_bytes: int = 0
    different: dict[bytes, str] = field(default_factory=dict)
    corrupt: dict[bytes, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Return whether nothing differs."""
        return not self.different and not self.corrupt

    def mismatches(self) -> list[Mismatch]:
        """Return all that differs, in words."""
        return [Mismatch(shown(path), what) for path, what in {**self.different, **self.corrupt}.items()]


def _unchanged(pair: Pair, sent: Digest | None) -> Digest | None:
    """Return what the copying read of a file, None where the file has changed since or was not read."""
    return sent if sent and pair.source and sent.identity == pair.source.identity else None


class Trees:
    """Both trees, and the processes that read them.

    report: called at least twice a second with the files and bytes done so far.
    """

    def __init__(
        self,
        host: str,
        places: tuple[str, str],
        account: Account | None,
        lanes: int,
        state: State,
        report: Callable[[int, int], None],
    ) -> None:
        """Start the processes. places: folders of source and copy. lanes: files read at a time on each side."""
        self.source, self.target = places
        self._state, self._report, self._done, self._account = state, report, (0, 0), account
        self._workers: list[Worker] = []
        try:
            for _number in range(lanes + 1):
                # the copy is on a disk, which answers at once: threads would only wait for each other
                self._workers += [Worker("source", host, account, parallel=True), Worker("copy", host, account)]
        except BaseException:
            self.close()
            raise
        self._walkers = (self._workers[0], self._workers[1])
        self._lanes: queue.SimpleQueue[tuple[Worker, Worker]] = queue.SimpleQueue()
        for number in range(2, len(self._workers), 2):
            self._lanes.put((self._workers[number], self._workers[number + 1]))

    def close(self) -> None:
        """End the processes."""
        close_all(self._workers)

    def tick(self) -> None:
        """Show how far it is."""
        self._report(*self._done)

    def survey(self, target_there: bool, finished_ns: int) -> Work:
        """Return what is to be done. finished_ns: when the copy was finished by the host's clock, 0 = it was not."""
        work, links, cover = Work(), HardLinks(), b""
        self._done = (0, 0)
        targets: Iterator[Entry] = self._walkers[1].walk(self.target, self.tick) if target_there else iter(())
        sources = self._owned(self._walkers[0].walk(self.source, self.tick))
        for pair in join(sources, targets, read_records(self._state.manifest)):
            source, target = pair.source, pair.target
            if finished_ns and not work.used and written_since(pair, finished_ns):
                work.used = shown(pair.path)
            if source is None:
                work.to_delete += 1
                # what is deleted with its folder is not named
                if not (cover and pair.path.startswith(cover)):
                    work.different.append(pair.path)
                    cover = pair.path + b"/"
                continue
            work.totals.add(source)
            if differences(source, target):
                self._plan(work, source, target)
                if target is not None and target.kind == "d" != source.kind:
                    cover = pair.path + b"/"
                continue
            links.add(pair)
            if target is not None and (source.kind != "f" or not source.size or proves(pair.record, source, target)):
                work.equal += 1
            else:
                work.unproved.append(pair.path)
                work.unproved_size += source.size
            self._done = (work.totals.files, work.totals.size)
        for path in links.conflicts():
            work.different.append(path)
            work.linked = True
        return work

    @staticmethod
    def _plan(work: Work, source: Entry, target: Entry | None) -> None:
        """Add a path that has to be copied."""
        work.different.append(source.path)
        work.need = work.need.plus(source, target)
        work.to_copy.add(source)
        if source.kind != "d" and source.links > 1:
            work.linked = True
            work.tied.append(source.path)
        elif source.kind == "d" and target is None:
            work.missing.add(source.path)
        elif source.kind == "f":
            work.files[source.path] = source.identity

    def _looked(self, side: int, scope: Sequence[bytes]) -> Iterator[Entry]:
        """Return what is at the paths of the scope on one side (0 = source)."""
        root = (self.source, self.target)[side]
        for begin in range(0, len(scope), BATCH):
            yield from self._walkers[side].look(root, list(scope[begin : begin + BATCH]), self.tick)

    def _owned(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Return the source's entries with the owner and group that the account's copy of them has."""
        account = self._account
        if account is None:
            return entries
        groups = {account.gid, *account.groups}
        return (
            entry
            if entry.uid == account.uid and entry.gid in groups
            else entry._replace(uid=account.uid, gid=entry.gid if entry.gid in groups else account.gid)
            for entry in entries
        )

    def compare(self, scope: Sequence[bytes] | None, sent: Mapping[bytes, Digest]) -> Result:
        """Compare both trees with their contents, reading what is not proved. scope: sorted paths, None for all.

        sent: what the copying read of the source.
        """
        if scope is None:
            sources = self._walkers[0].walk(self.source, self.tick)
            targets = self._walkers[1].walk(self.target, self.tick)
        else:
            sources, targets = self._looked(0, scope), self._looked(1, scope)
        sources = self._owned(sources)
        result, links = Result(), HardLinks()
        self._done = (0, 0)
        lanes = self._lanes.qsize()
        pool = ThreadPoolExecutor(lanes)
        pending: deque[tuple[Future[_Digests], list[Pair]]] = deque()
        batch: list[Pair] = []
        size = 0
        try:
            for pair in join(sources, targets, read_records(self._state.manifest)):
                what = differences(pair.source, pair.target)
                if what or pair.source is None or pair.target is None:
                    result.different[pair.path] = ", ".join(what)
                    continue
                links.add(pair)
                if pair.source.kind != "f" or not pair.source.size or proves(pair.record, pair.source, pair.target):
                    result.equal += 1
                    if pair.source.kind == "f":
                        self._count(1, pair.source.size)
                    continue
                batch.append(pair)
                size += pair.source.size
                if len(batch) >= _BATCH_FILES or size >= _BATCH_SIZE:
                    pending.append((pool.submit(self._read, batch, sent), batch))
                    batch, size = [], 0
                    while len(pending) > 2 * lanes:
                        self._settle(result, *pending.popleft())
            if batch:
                pending.append((pool.submit(self._read, batch, sent), batch))
            while pending:
                self._settle(result, *pending.popleft())
        finally:
            # evidence is kept, however this ends
            pool.shutdown(wait=False, cancel_futures=True)
            self._state.flush()
        for path, conflict in links.conflicts().items():
            result.equal -= path not in result.different and path not in result.corrupt
            result.different.setdefault(path, conflict)
        return result

    def _count(self, files: int, size: int) -> None:
        self._done = (self._done[0] + files, self._done[1] + size)

    def _read(self, batch: list[Pair], sent: Mapping[bytes, Digest]) -> _Digests:
        """Return what both files of each pair hold, reading what the copying did not just read."""
        known = [_unchanged(pair, sent.get(pair.path)) for pair in batch]
        begun_ns = time.time_ns()
        source, target = lane = self._lanes.get()
        try:
            # both read at the same time
            source.send("digest", self.source, [pair.path for pair, digest in zip(batch, known) if not digest])
            target.send("digest", self.target, [pair.path for pair in batch])
            sources, targets = source.digests(begun_ns), target.digests(begun_ns)
        finally:
            self._lanes.put(lane)
        size = sum(digest.identity.size for digest in (*sources, *targets) if digest.identity)
        read = iter(sources)
        return [digest or next(read) for digest in known], targets, size

    def _settle(self, result: Result, future: Future[_Digests], batch: list[Pair]) -> None:
        """Wait for a batch and take note of what it proves."""
        while not future.done():
            wait([future], timeout=0.5)
            self.tick()
        sources, targets, size = future.result()
        result.read_bytes += size
        for pair, source, target in zip(batch, sources, targets):
            verdict = judge_digests(pair, source, target)
            if verdict.what:
                (result.corrupt if verdict.corrupt else result.different)[pair.path] = verdict.what
                continue
            result.equal += 1
            if pair.source:
                self._count(1, pair.source.size)
            if verdict.record:
                self._state.add(verdict.record)
        self.tick()
