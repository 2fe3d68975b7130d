# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths by the million, on the disk instead of in memory. The files have no name, so that a run leaves none behind."""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import sort_key

Item = tuple[bytes, bytes]
_BLOCK = 1 << 16
# Items that are sorted in memory, and files that are merged at a time
_HELD = 20_000
_WAYS = 16


def item_key(item: Item) -> bytes:
    """Return what to sort items by."""
    return sort_key(item[0])


class Spool:
    """Pairs of a path and what is known of it, which holds no NUL, in the order in which they were added.

    folder: where the file lies, "" to count only.
    """

    def __init__(self, folder: str) -> None:
        self.count = self.size = 0
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_BLOCK) if folder else None  # noqa: SIM115 - kept

    def add(self, path: bytes, what: bytes = b"") -> None:
        """Add one."""
        self.count += 1
        if self._file is not None:
            self.size += self._file.write(b"%b\0%b\0" % (path, what))

    def cut(self, count: int, size: int) -> None:
        """Forget what was added since there were so many, in so many bytes."""
        if self._file is not None and size < self.size:
            self._file.flush()
            self._file.seek(size)
            self._file.truncate()
        self.count, self.size = count, size

    def __iter__(self) -> Iterator[Item]:
        """Return what was added until now."""
        if self._file is None:
            return
        self._file.flush()
        descriptor, at, rest = self._file.fileno(), 0, b""
        while block := os.pread(descriptor, _BLOCK, at):
            at += len(block)
            *fields, rest = (rest + block).split(b"\0")
            if len(fields) % 2:
                rest = fields.pop() + b"\0" + rest
            yield from zip(fields[::2], fields[1::2])

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


class Sorter:
    """Pairs as in a Spool, in the order of their paths; of equal paths the one first that was added first."""

    def __init__(self, folder: str) -> None:
        self._folder, self.count = folder, 0
        self._held: list[Item] = []
        # older ones are merged already, and on a higher level
        self._levels: list[list[Spool]] = []

    def add(self, path: bytes, what: bytes = b"") -> None:
        """Add one."""
        self.count += 1
        self._held.append((path, what))
        if len(self._held) >= _HELD:
            self._held.sort(key=item_key)
            self._put(0, self._held)
            self._held = []

    def _put(self, level: int, items: Iterable[Item]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        made = Spool(self._folder)
        for path, what in items:
            made.add(path, what)
        self._levels[level].append(made)
        if len(self._levels[level]) == _WAYS:
            merged, self._levels[level] = self._levels[level], []
            self._put(level + 1, heapq.merge(*merged, key=item_key))
            for each in merged:
                each.close()

    def __iter__(self) -> Iterator[Item]:
        """Return what was added until now, sorted."""
        self._held.sort(key=item_key)
        spools = [spool for level in reversed(self._levels) for spool in level]
        return heapq.merge(*spools, list(self._held), key=item_key)

    def close(self) -> None:
        """Let go of the files."""
        for level in self._levels:
            for spool in level:
                spool.close()


class Following:
    """Finds the last item of each path in sorted items, for paths that are asked for in the same order."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._head = next(self._items, None)

    def find(self, path: bytes) -> bytes | None:
        """Return what is known of the path, None for nothing."""
        found, key = None, sort_key(path)
        while self._head is not None and sort_key(self._head[0]) <= key:
            if self._head[0] == path:
                found = self._head[1]
            self._head = next(self._items, None)
        return found
