# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done to make a copy, and what a comparison found; paths are on the disk, however many there are."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import (
    Digest,
    Entry,
    Identity,
    Mismatch,
    Totals,
    parents,
    shown,
    sort_key,
)
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_spool import Following, Item, Sorter, Spool
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import Need

_SHOWN = 100


@dataclass
class Work:
    """What is to be done. different: number of paths to copy. unproved: of files of equal size and time whose content
    is not proved.

    paths: both, in order, each with a letter: "f" a file with one name, with its identity as it was before, "t" one
    with more names, "m" a folder that the copy lacks, "u" one that is not proved, "d" anything else. Not those whose
    hard links are wrong.
    linked: whether a file with more names is to be copied. file_cost: of all files with one name.
    to_copy: how much that is. equal: number of paths that need nothing. used: first path that something else wrote to
    since the copy was finished.
    closed: folders of source or copy to which their owner may not write, with the source's mode, "-1" where the source
    lacks them: the account, which writes the copy, opens them meanwhile. Empty where root writes it.
    """

    paths: Spool
    closed: Spool
    totals: Totals = field(default_factory=Totals)
    need: Need = field(default_factory=Need)
    different: int = 0
    unproved: int = 0
    unproved_size: int = 0
    file_cost: int = 0
    to_copy: Totals = field(default_factory=Totals)
    to_delete: int = 0
    linked: bool = False
    equal: int = 0
    used: str = ""

    def to_place(self) -> Iterator[tuple[bytes, str, int]]:
        """Return path, kind and bytes of what is to be copied, as find_places takes it."""
        for path, what in self.paths:
            words = what.split()
            yield path, words[0].decode("ascii"), int(words[1]) if len(words) > 1 else 0

    def to_copy_paths(self) -> Iterator[bytes]:
        """Return the paths to copy, in order."""
        return (path for path, what in self.paths if what != b"u")

    def all_paths(self) -> Iterator[bytes]:
        """Return the paths to copy or to prove, in order."""
        return (path for path, _what in self.paths)


class Found:
    """Paths that differ, sorted on the disk, and the first of them with what."""

    def __init__(self, folder: str) -> None:
        self._sorter = Sorter(folder)
        self.first: list[Mismatch] = []

    def add(self, path: bytes, what: str) -> None:
        """Add a path, once."""
        self._sorter.add(path)
        if len(self.first) < _SHOWN:
            self.first.append(Mismatch(shown(path), what))

    def __len__(self) -> int:
        """Return the number of paths."""
        return self._sorter.count

    def paths(self) -> Iterator[bytes]:
        """Return them in order."""
        return (path for path, _what in self._sorter)


@dataclass
class Result:
    """What a comparison with contents found. equal: number of paths that are proved equal.

    different: paths that differ. corrupt: paths with equal size and time but another content.
    """

    different: Found
    corrupt: Found
    equal: int = 0
    read_bytes: int = 0

    @property
    def clean(self) -> bool:
        """Return whether nothing differs."""
        return not self.different and not self.corrupt

    def paths(self) -> Iterator[bytes]:
        """Return all paths that differ, in order."""
        return heapq.merge(self.different.paths(), self.corrupt.paths(), key=sort_key)

    def mismatches(self) -> list[Mismatch]:
        """Return the first that differ, in words."""
        return [*self.different.first, *self.corrupt.first]


class Sent:
    """What the copying read of files that had one name, for paths that are asked for in order.

    items: path with MD5 and when it began. work: with what the files were before.
    """

    def __init__(self, items: Iterable[Item], work: Work) -> None:
        self._items, self._before = Following(items), Following(work.paths)

    def find(self, source: Entry) -> Digest | None:
        """Return what was read of a file, None where it has changed since or was not read."""
        read, before = self._items.find(source.path), self._before.find(source.path)
        if read is None or before is None or not before.startswith(b"f "):
            return None
        text, begun_ns = read.split()
        identity = Identity(*map(int, before.split()[1:]))
        return Digest(identity, text.decode("ascii"), int(begun_ns)) if identity == source.identity else None


def with_parents(paths: Iterable[bytes]) -> Iterator[bytes]:
    """Return sorted paths, each once, with the folders above them, whose times change with them."""
    last: bytes | None = None
    for path in paths:
        if path == last:
            continue
        # from the root on; what is above the last one, or is it, was there already
        for folder in (*reversed(tuple(parents(path))), path):
            if last is None or not (folder == last or not folder or last.startswith(folder + b"/")):
                yield folder
        last = path
