# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each of several copiers that work side by side copies of a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import sort_key

# Opening, creating and renaming a small file takes about as long as copying this many bytes
FILE_COST = 64 * 1024
# Below that one copier is done before several have begun
_PARALLEL_COST = 64 * 1024 * 1024
# A folder with more than this part of a worker's share would make the workers too uneven
_FOLDERS_A_WORKER = 4


class Places(Protocol):
    """Where paths are kept with their cost, in order."""

    count: int
    size: int

    def add(self, path: bytes, what: bytes) -> None:
        """Add one."""

    def cut(self, count: int, size: int) -> None:
        """Forget what was added since there were so many, in so many bytes."""


@dataclass
class _Folder:
    """A folder that the copy lacks, as far as it was seen. count, size: of the places before it."""

    path: bytes
    count: int
    size: int
    cost: int = 0
    complete: bool = True


def find_places(entries: Iterable[tuple[bytes, str, int]], most: int, places: Places) -> None:
    """Add each folder that is copied as one, and each file that is in none of them, with its cost, in order.

    entries: path, kind and bytes of what is to be copied, in the order of sort_key. Kinds: "m" a folder that the copy
    lacks, "f" a file, "t" a file with more than one name: it is in no place, since only a copier that sees all of its
    names can keep them together. most: cost up to which a folder is copied as one.
    A folder stands for everything below it: looking at each file by its name costs a file server a question more than
    listing the folder does.
    """
    above: list[_Folder] = []

    def leave() -> None:
        folder = above.pop()
        if folder.complete and 0 < folder.cost <= most:
            places.cut(folder.count, folder.size)
            places.add(folder.path, b"%d" % folder.cost)
        if above:
            above[-1].cost += folder.cost
            above[-1].complete &= folder.complete

    for path, kind, size in entries:
        while above and not (path.startswith(above[-1].path + b"/") or not above[-1].path):
            leave()
        if kind == "m":
            above.append(_Folder(path, places.count, places.size))
        elif kind == "f":
            places.add(path, b"%d" % (size + FILE_COST))
            if above:
                above[-1].cost += size + FILE_COST
        elif kind == "t" and above:
            above[-1].complete = False
    while above:
        leave()


def largest_place(total: int, workers: int) -> int:
    """Return the cost up to which a folder is copied as one. total: cost of all files."""
    return total // (workers * _FOLDERS_A_WORKER)


def deal(places: Iterable[tuple[bytes, bytes]], total: int, workers: int) -> Iterator[tuple[int, bytes]]:
    """Return each place with the number of the worker that copies it; neighbours stay together: they share folders.

    total: cost of all places. None where one copier is as good.
    """
    if workers < 2 or total < _PARALLEL_COST:
        return
    worker = cost = 0
    for path, what in places:
        yield worker, path
        cost += int(what)
        if cost * workers >= total * (worker + 1):
            worker += 1


def left_over(paths: Iterable[bytes], places: Iterable[bytes]) -> Iterator[bytes]:
    """Return those of the paths that are neither a place nor below one; both in the order of sort_key."""
    done, below = iter(places), b""
    place = next(done, None)
    for path in paths:
        while place is not None and sort_key(place) <= sort_key(path):
            below, place = place, next(done, None)
        if not (below and (path == below or path.startswith(below + b"/"))):
            yield path
