# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at both trees: what differs, and what is proved equal. Reads, and writes evidence only."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Optional

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import (
    Digest,
    Entry,
    HardLinks,
    Pair,
    differences,
    join,
    judge_digests,
    proves,
    shown,
    written_since,
)
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_spool import Item, Spool
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_state import State, read_records
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_work import Found, Result, Sent, Work
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_worker import BATCH, Worker, close_all
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.shares import FILE_COST

_BATCH_FILES = 256
_BATCH_SIZE = 64 * 1024 * 1024
# Of source and copy, and how many bytes were read for them
_Digests = tuple[list[Digest], list[Digest], int]
_Batch = list[tuple[Pair, Optional[Digest]]]
_OWNERS = 0o700


class Trees:
    """Both trees, and the processes that read them.

    report: called at least twice a second with the files and bytes done so far.
    """

    def __init__(
        self,
        host: str,
        places: tuple[str, str],
        account: Account | None,
        readers: int,
        state: State,
        report: Callable[[int, int], None],
    ) -> None:
        """Start the processes. places: folders of source and copy. readers: files read at a time on both sides."""
        self.source, self.target = places
        self._state, self._report, self._done, self._account = state, report, (0, 0), account
        self._workers: list[Worker] = []
        try:
            for _number in range(readers + 1):
                # the copy is on a disk, which answers at once: threads would only wait for each other
                self._workers += [Worker("source", host, account, parallel=True), Worker("copy", host, account)]
        except BaseException:
            self.close()
            raise
        self._walkers = (self._workers[0], self._workers[1])
        self._readers: queue.SimpleQueue[tuple[Worker, Worker]] = queue.SimpleQueue()
        for number in range(2, len(self._workers), 2):
            self._readers.put((self._workers[number], self._workers[number + 1]))

    def close(self) -> None:
        """End the processes."""
        close_all(self._workers)

    def tick(self) -> None:
        """Show how far it is."""
        self._report(*self._done)

    def survey(self, target_there: bool, finished_ns: int) -> Work:
        """Return what is to be done. finished_ns: when the copy was finished by the host's clock, 0 = it was not."""
        work, links, cover = self._new_work(), HardLinks(), b""
        self._done = (0, 0)
        targets: Iterator[Entry] = self._walkers[1].walk(self.target, self.tick) if target_there else iter(())
        sources = self._owned(self._walkers[0].walk(self.source, self.tick))
        for pair in join(sources, targets, read_records(self._state.manifest)):
            source, target = pair.source, pair.target
            if finished_ns and not work.used and written_since(pair, finished_ns):
                work.used = shown(pair.path)
            self._note_closed(work, pair)
            if source is None:
                work.to_delete += 1
                # what is deleted with its folder is not named
                if not (cover and pair.path.startswith(cover)):
                    work.different += 1
                    work.paths.add(pair.path, b"d")
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
                work.unproved += 1
                work.paths.add(pair.path, b"u")
                work.unproved_size += source.size
            self._done = (work.totals.files, work.totals.size)
        conflicts = len(links.conflicts())
        work.different += conflicts
        work.linked |= conflicts > 0
        return work

    def _new_work(self) -> Work:
        folder = self._state.spool_folder()
        return Work(Spool(folder), Spool(folder))

    def _note_closed(self, work: Work, pair: Pair) -> None:
        if self._account is not None and any(
            each is not None and each.kind == "d" and each.mode & _OWNERS != _OWNERS
            for each in (pair.source, pair.target)
        ):
            mode = pair.source.mode if pair.source is not None and pair.source.kind == "d" else -1
            work.closed.add(pair.path, b"%d" % mode)

    def open_folders(self, work: Work) -> None:
        """Let their owner write to the copy's folders."""
        self._change((path, b"-1") for path, _mode in work.closed)

    def close_folders(self, work: Work) -> None:
        """Give them the source's mode again."""
        self._change(item for item in work.closed if item[1] != b"-1")

    def _change(self, items: Iterable[Item]) -> None:
        for mode, group in groupby(items, key=itemgetter(1)):
            while batch := list(islice(group, BATCH)):
                self._walkers[1].change(self.target, [path for path, _mode in batch], int(mode), self.tick)

    @staticmethod
    def _plan(work: Work, source: Entry, target: Entry | None) -> None:
        """Add a path that has to be copied."""
        work.different += 1
        work.need = work.need.plus(source, target)
        work.to_copy.add(source)
        if source.kind != "d" and source.links > 1:
            work.linked = True
            work.paths.add(source.path, b"t")
        elif source.kind == "d" and target is None:
            work.paths.add(source.path, b"m")
        elif source.kind == "f":
            work.file_cost += source.size + FILE_COST
            work.paths.add(source.path, b"f %d %d %d %d" % source.identity)
        else:
            work.paths.add(source.path, b"d")

    def _looked(self, side: int, scope: Iterator[bytes]) -> Iterator[Entry]:
        """Return what is at the paths of the scope on one side (0 = source)."""
        root = (self.source, self.target)[side]
        while paths := list(islice(scope, BATCH)):
            yield from self._walkers[side].look(root, paths, self.tick)

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

    def compare(self, scope: Callable[[], Iterator[bytes]] | None, sent: Sent | None) -> Result:
        """Compare both trees with their contents, reading what is not proved. scope: gives sorted paths, None for all.

        sent: what the copying read of the source.
        """
        if scope is None:
            sources = self._walkers[0].walk(self.source, self.tick)
            targets = self._walkers[1].walk(self.target, self.tick)
        else:
            sources, targets = self._looked(0, scope()), self._looked(1, scope())
        sources = self._owned(sources)
        result, links = self.nothing(), HardLinks()
        self._done = (0, 0)
        readers = self._readers.qsize()
        pool = ThreadPoolExecutor(readers)
        pending: deque[tuple[Future[_Digests], _Batch]] = deque()
        batch: _Batch = []
        size = 0
        try:
            for pair in join(sources, targets, read_records(self._state.manifest)):
                what = differences(pair.source, pair.target)
                if what or pair.source is None or pair.target is None:
                    result.different.add(pair.path, ", ".join(what))
                    continue
                links.add(pair)
                if pair.source.kind != "f" or not pair.source.size or proves(pair.record, pair.source, pair.target):
                    result.equal += 1
                    if pair.source.kind == "f":
                        self._count(1, pair.source.size)
                    continue
                batch.append((pair, sent.find(pair.source) if sent else None))
                size += pair.source.size
                if len(batch) >= _BATCH_FILES or size >= _BATCH_SIZE:
                    pending.append((pool.submit(self._read, batch), batch))
                    batch, size = [], 0
                    while len(pending) > 2 * readers:
                        self._settle(result, *pending.popleft())
            if batch:
                pending.append((pool.submit(self._read, batch), batch))
            while pending:
                self._settle(result, *pending.popleft())
        finally:
            # evidence is kept, however this ends
            pool.shutdown(wait=False, cancel_futures=True)
            self._state.flush()
        conflicts = links.conflicts()
        for path in chain(result.different.paths(), result.corrupt.paths()) if conflicts else ():
            conflicts.pop(path, None)
        for path, conflict in conflicts.items():
            result.equal -= 1
            result.different.add(path, conflict)
        return result

    def nothing(self) -> Result:
        """Return the result of comparing nothing."""
        folder = self._state.spool_folder()
        return Result(Found(folder), Found(folder))

    def _count(self, files: int, size: int) -> None:
        self._done = (self._done[0] + files, self._done[1] + size)

    def _read(self, batch: _Batch) -> _Digests:
        """Return what both files of each pair hold, reading what the copying did not just read."""
        begun_ns = time.time_ns()
        source, target = reader = self._readers.get()
        try:
            # both read at the same time
            source.send("digest", self.source, [pair.path for pair, digest in batch if not digest])
            target.send("digest", self.target, [pair.path for pair, _digest in batch])
            sources, targets = source.digests(begun_ns), target.digests(begun_ns)
        finally:
            self._readers.put(reader)
        size = sum(digest.identity.size for digest in (*sources, *targets) if digest.identity)
        read = iter(sources)
        return [digest or next(read) for _pair, digest in batch], targets, size

    def _settle(self, result: Result, future: Future[_Digests], batch: _Batch) -> None:
        """Wait for a batch and take note of what it proves."""
        while not future.done():
            wait([future], timeout=0.5)
            self.tick()
        sources, targets, size = future.result()
        result.read_bytes += size
        for (pair, _digest), source, target in zip(batch, sources, targets):
            verdict = judge_digests(pair, source, target)
            if verdict.what:
                (result.corrupt if verdict.corrupt else result.different).add(pair.path, verdict.what)
                continue
            result.equal += 1
            if pair.source:
                self._count(1, pair.source.size)
            if verdict.record:
                self._state.add(verdict.record)
        self.tick()
