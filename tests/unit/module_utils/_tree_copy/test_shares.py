# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the files of a tree are shared out among copiers."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import shares as workers
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import parents, sort_key

MIB = 1 << 20
NAMES = st.sampled_from([b"a", b"a-b", b"b", b"\n", b"\xff"])


@dataclass
class Tree:
    """sizes: of all files, sorted. missing: folders that the copy lacks. tied: files that have more than one name."""

    sizes: dict[bytes, int]
    missing: set[bytes]
    tied: list[bytes]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    folders = draw(st.sets(st.lists(NAMES, min_size=1, max_size=4).map(b"/".join), max_size=8))
    folders |= {b"", *(folder for path in folders for folder in parents(path))}
    names = [b"/".join(filter(None, (folder, b"f%d" % number))) for folder in sorted(folders) for number in range(3)]
    sizes = {path: draw(st.integers(0, 100 * MIB)) for path in sorted(names, key=sort_key)}
    there = {folder for path in draw(st.sets(st.sampled_from(sorted(folders)))) for folder in (path, *parents(path))}
    tied = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return Tree(sizes, folders - there, tied)


def below(path: bytes, place: bytes) -> bool:
    return path == place or path.startswith(place + b"/")


class Held:
    """Places that are held in memory."""

    def __init__(self) -> None:
        self.items: list[tuple[bytes, bytes]] = []
        self.count = self.size = 0

    def add(self, path: bytes, what: bytes) -> None:
        self.items.append((path, what))
        self.count += 1
        self.size += 10

    def cut(self, count: int, size: int) -> None:
        del self.items[count:]
        self.count, self.size = count, size
        assert size == 10 * count


def share_out(sizes: dict[bytes, int], missing: set[bytes], tied: list[bytes], number: int) -> list[list[bytes]]:
    """Return the lists of what several copiers copy."""
    entries = {path: ("f", size) for path, size in sizes.items()}
    entries |= dict.fromkeys(missing, ("m", 0)) | dict.fromkeys(tied, ("t", 5))
    total = sum(size + workers.FILE_COST for size in sizes.values())
    places = Held()
    workers.find_places(
        ((path, *entries[path]) for path in sorted(entries, key=sort_key)), workers.largest_place(total, number), places
    )
    found: dict[int, list[bytes]] = {}
    for worker, path in workers.deal(places.items, total, number):
        found.setdefault(worker, []).append(path)
    assert list(found) == list(range(len(found)))
    return list(found.values())


@given(trees(), st.integers(1, 8))
def test_every_file_is_in_one_list_or_below_a_folder_in_it(tree: Tree, number: int) -> None:
    single = {path: size for path, size in tree.sizes.items() if path not in tree.tied}
    found = share_out(single, tree.missing, tree.tied, number)
    places = [place for paths in found for place in paths]
    assert len(found) <= number
    if not found:
        assert number < 2 or sum(single.values()) + workers.FILE_COST * len(single) < 64 * MIB
        return
    for path in single:
        assert sum(below(path, place) for place in places) == 1
    for place in places:
        # a folder that is there would be looked at whole, and a second name parted from the first
        assert place in single or place in tree.missing
        assert not any(below(path, place) for path in tree.tied)


@given(trees(), st.integers(2, 8))
def test_the_lists_are_about_as_long_as_each_other(tree: Tree, number: int) -> None:
    found = share_out(tree.sizes, tree.missing, [], number)
    costs = [
        sum(size + workers.FILE_COST for path, size in tree.sizes.items() for place in paths if below(path, place))
        for paths in found
    ]
    total = sum(tree.sizes.values()) + workers.FILE_COST * len(tree.sizes)
    largest = max(tree.sizes.values()) + workers.FILE_COST
    assert not costs or max(costs) <= total / number + max(largest, total / number / workers._FOLDERS_A_WORKER)


def test_a_new_folder_is_listed_instead_of_its_files() -> None:
    sizes = {b"d%02d/%d" % (folder, file): MIB for folder in range(64) for file in range(4)}
    folders = {b"d%02d" % folder for folder in range(64)}
    found = share_out(sizes, folders, [b"d00/tied"], 2)
    assert [len(paths) for paths in found] == [35, 32]
    assert found[0][:5] == [b"d00/0", b"d00/1", b"d00/2", b"d00/3", b"d01"]
    # an earlier try was cut off in it
    assert share_out(sizes, folders - {b"d63"}, [], 2)[1][-4:] == [b"d63/%d" % file for file in range(4)]


@given(trees(), st.integers(2, 8))
def test_what_is_left_is_all_that_no_list_has(tree: Tree, number: int) -> None:
    everything = sorted({*tree.sizes, *(folder for path in tree.sizes for folder in parents(path))}, key=sort_key)
    single = {path: size for path, size in tree.sizes.items() if path not in tree.tied}
    places = [place for paths in share_out(single, tree.missing, tree.tied, number) for place in paths]
    left = list(workers.left_over(everything, places))
    assert left == [path for path in everything if not any(below(path, place) for place in places)]


def test_a_large_folder_is_shared_out() -> None:
    sizes = {b"%b/%02d" % (folder, file): MIB - workers.FILE_COST for folder in (b"a", b"b") for file in range(49)}
    sizes |= {b"c/%d" % file: MIB - workers.FILE_COST for file in range(2)}
    found = share_out(sizes, {b"a", b"b", b"c"}, [], 2)
    assert [len(paths) for paths in found] == [50, 49]
    assert found[1][-1] == b"c"
