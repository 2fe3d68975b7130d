# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each of several copiers that work side by side copies of a tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ansible_collections.rspm.ha.plugins.module_utils._tree import parents

# Opening, creating and renaming a small file takes about as long as copying this many bytes
FILE_COST = 64 * 1024
# Below that one copier is done before several have begun
_PARALLEL_COST = 64 * 1024 * 1024
# A folder that is more than this part of a lane's share would make the lanes too uneven
_FOLDERS_A_LANE = 4


def share_out(
    sizes: Mapping[bytes, int], missing: Collection[bytes], tied: Iterable[bytes], lanes: int
) -> list[list[bytes]]:
    """Return up to `lanes` lists of paths that copy the files at about equal cost; none where one copier is as good.

    sizes: bytes of each file to copy, in the order of sort_key. missing: folders that the copy lacks. tied: files with
    more than one name; no list has them, since only a copier that sees all of their names can keep them together.
    A folder in a list stands for everything below it: looking at each file by its name costs a file server a question
    more than listing the folder does.
    """
    places = _places(sizes, missing, {folder for path in tied for folder in parents(path)}, lanes)
    # neighbours stay together: they share folders
    runs = _runs(list(places.values()), lanes)
    paths = list(places)
    return [paths[begin:end] for begin, end in runs]


def left_over(paths: Iterable[bytes], done: Collection[bytes]) -> Iterator[bytes]:
    """Return those of the paths, which are in the order of sort_key, that are neither done nor below what is."""
    below = b""
    for path in paths:
        if path in done:
            below = path + b"/"
        elif not (below and path.startswith(below)):
            yield path


def _places(sizes: Mapping[bytes, int], missing: Collection[bytes], mixed: set[bytes], lanes: int) -> dict[bytes, int]:
    """Return the cost of each folder that is to be copied as one, and of each file that is in none, in order."""
    of_files: dict[bytes, int] = defaultdict(int)
    for path, size in sizes.items():
        of_files[path.rpartition(b"/")[0]] += size + FILE_COST
    costs: dict[bytes, int] = defaultdict(int)
    for folder, cost in of_files.items():
        for above in (folder, *parents(folder)):
            # what is above a folder that is there is there, too
            if above not in missing:
                break
            costs[above] += cost
    most = sum(of_files.values()) // (lanes * _FOLDERS_A_LANE)
    taken = {folder: _taken(folder, costs, mixed, most) for folder in of_files}
    places: dict[bytes, int] = {}
    for path, size in sizes.items():
        place = taken[path.rpartition(b"/")[0]]
        if place is None:
            places[path] = size + FILE_COST
        else:
            places[place] = costs[place]
    return places


def _taken(folder: bytes, costs: Mapping[bytes, int], mixed: set[bytes], most: int) -> bytes | None:
    """Return the uppermost folder that is copied as one with this one in it, None where this one is not."""
    found = None
    for above in (folder, *parents(folder)):
        if above in mixed or not 0 < costs.get(above, 0) <= most:
            break
        found = above
    return found


def _runs(costs: Sequence[int], lanes: int) -> list[tuple[int, int]]:
    """Return up to `lanes` runs [begin, end) of about equal cost, none where that is not worth it."""
    total = sum(costs)
    if lanes < 2 or total < _PARALLEL_COST:
        return []
    runs: list[tuple[int, int]] = []
    begin = cost = 0
    for number, each in enumerate(costs):
        cost += each
        if cost * lanes >= total * (len(runs) + 1):
            runs.append((begin, number + 1))
            begin = number + 1
    if begin < len(costs):
        runs.append((begin, len(costs)))
    return runs
