# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths on the disk instead of in memory: what comes back is what went in, and little is held, however many."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import host_spool
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.compare import Entry, parents, sort_key
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import TreeCopy
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_spool import Following, Sorter, Spool
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_survey import Trees
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_work import Sent, with_parents
from tests.unit.worlds.tree_copies import runner

PATHS = st.lists(st.sampled_from([b"a", b"a-b", b"b", b"\n", b"\xff"]), min_size=1, max_size=4).map(b"/".join)
MIB = 1 << 20


@given(st.lists(st.tuples(PATHS, st.binary(max_size=5).map(lambda text: text.replace(b"\0", b"")))))
def test_what_is_sorted_on_the_disk_is_as_sorted_in_memory(items: list[tuple[bytes, bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_spool, "_HELD", 2)
        patch.setattr(host_spool, "_WAYS", 3)
        patch.setattr(host_spool, "_BLOCK", 7)
        spool, sorter = Spool("/tmp"), Sorter("/tmp")
        for path, what in items:
            spool.add(path, what)
            sorter.add(path, what)
        assert list(spool) == items == list(spool) and spool.count == sorter.count == len(items)
        assert list(sorter) == sorted(items, key=lambda item: sort_key(item[0])) == list(sorter)
        last, following = dict(items), Following(sorter)
        for path in sorted({*last, b"a/none", b"zzz"}, key=sort_key):
            assert following.find(path) == last.get(path)
        spool.close()
        sorter.close()


def test_what_was_cut_off_is_gone() -> None:
    spool = Spool("/tmp")
    spool.add(b"a", b"1")
    count, size = spool.count, spool.size
    spool.add(b"b")
    assert [path for path, _what in spool] == [b"a", b"b"]
    spool.cut(count, size)
    spool.add(b"c")
    assert list(spool) == [(b"a", b"1"), (b"c", b"")] and spool.count == 2
    spool.close()


@given(st.sets(PATHS))
def test_paths_come_with_the_folders_above_them_once(paths: set[bytes]) -> None:
    wanted = paths | {folder for path in paths for folder in parents(path)}
    assert list(with_parents(sorted(paths, key=sort_key))) == sorted(wanted, key=sort_key)


class Walker:
    """Stands for the process that lists a source of empty files."""

    def __init__(self, count: int) -> None:
        self.count = count

    def walk(self, _root: str, _tick: Any) -> Iterator[Entry]:
        yield self.entry(b"", "d")
        for number in range(self.count):
            if number % 100 == 0:
                yield self.entry(b"%06d" % (number // 100), "d")
            yield self.entry(b"%06d/package_%08d.tar.gz" % (number // 100, number), "f")

    @staticmethod
    def entry(path: bytes, kind: str) -> Entry:
        return Entry(path, kind, 1000, 0o644, 0, 0, 1_600_000_000, 1_600_000_000, hash(path) & 0xFFFFFF, 1, 4096, "")


def peak(place: Path, count: int) -> int:
    """Return the most bytes that are held while everything of so many new files is looked at, shared out and noted."""
    copy = TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(place / "copy"), "warm")
    copy.state.lock(0)
    trees = Trees("node1", (str(place / "source"), str(place / "copy")), None, 1, copy.state, lambda *_: None)
    walker = Walker(count)
    trees._walkers = (walker, walker)  # type: ignore[assignment]
    tracemalloc.start()
    try:
        work = trees.survey(False, 0)
        assert copy._share_out(work, Spool(copy.state.folder)) > 1
        copy._write_list(0, with_parents(work.to_copy_paths()))
        sent, order = Sorter(copy.state.folder), list(range(0, count, 100))
        random.Random(1).shuffle(order)
        for folder in order:
            for number in range(folder, min(folder + 100, count)):
                sent.add(b"%06d/package_%08d.tar.gz" % (folder // 100, number), b"%032x 5" % number)
        find, found = Sent(sent, work), 0
        for entry in walker.walk("", None):
            if entry.kind == "f":
                found += find.find(entry) is not None
        assert found == count == work.totals.files
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        trees.close()
        copy.state.unlock()


def test_four_times_as_many_files_take_no_more_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_spool, "_HELD", 500)
    monkeypatch.setattr(host_spool, "_BLOCK", 2048)
    few, many = peak(place, 3_000), peak(place, 12_000)
    # they took 740 bytes each
    assert many < few + 12_000 * 100, (few, many)
