# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What copying a tree refuses, and two that copy at once."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import host, plan
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import TreeCopy
from tests.unit.worlds.tree_copies import (
    as_root,
    assert_equal,
    copier,
    copy,
    fails,
    needs_rsync,
    runner,
    seen,
    state,
)

pytestmark = needs_rsync


def test_two_at_once_are_refused(place: Path) -> None:
    first = copier(place, "warm")
    first.state.lock(0)
    assert "[tree-copy-lock]" in fails(place, patience=0.3)
    first.state.unlock()
    copy(place, "warm")


def test_a_run_that_somebody_follows_is_not_waited_for(place: Path) -> None:
    first = copier(place, "warm", follower="one")
    first.state.lock(0)
    pid = os.fork()
    if pid == 0:
        time.sleep(0.5)
        os.utime(state(place) / "alive.one")
        os._exit(0)
    begun = time.monotonic()
    assert "[tree-copy-lock]" in fails(place, patience=20, follower="two")
    assert time.monotonic() - begun < 10
    os.waitpid(pid, 0)
    first.state.unlock()


def test_a_run_that_nobody_follows_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_ABANDONED", -1.0)
    assert "[tree-copy-abandoned]" in fails(place, follower="one")
    assert sorted(os.listdir(state(place))) == ["lock"]
    monkeypatch.undo()
    copy(place, "last")


def test_a_foreign_folder_is_left_alone(place: Path) -> None:
    (place / "copy").mkdir()
    (place / "copy/theirs").write_text("x")
    assert "is not empty and was not made by tree_copy" in fails(place, "warm")
    assert os.listdir(place / "copy") == ["theirs"] and not (state(place)).exists()


def test_an_empty_source_never_empties_the_copy(place: Path) -> None:
    copy(place, "warm")
    before = seen(place / "copy")
    shutil.rmtree(place / "source")
    assert "is not a folder" in fails(place)
    (place / "source").mkdir()
    assert "is empty" in fails(place)
    assert seen(place / "copy") == before


def test_a_copy_in_use_is_left_alone(place: Path) -> None:
    copy(place, "last")
    time.sleep(0.02)
    (place / "copy/a/served").write_text("by the new node")
    for pass_name in ("warm", "last"):
        assert "was written to after its copy was finished: a/served" in fails(place, pass_name)


def test_a_source_that_went_on_is_copied_again(place: Path) -> None:
    copy(place, "last")
    (place / "source/plain").write_text("the old cluster was started again")
    (place / "source/future").unlink()
    assert copy(place, "last").changes > 0
    assert_equal(place)


def test_a_cut_off_pass_over_a_finished_copy_is_gone_on_from(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(place, "last")
    (place / "source/plain").write_text("changed")
    with monkeypatch.context() as patched:
        patched.setattr(TreeCopy, "_compare", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            copy(place, "last")
    (place / "source/plain").write_text("changed again")
    copy(place, "last")
    assert_equal(place)


def test_a_full_disk_names_what_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = plan.Room(1000, None)
    monkeypatch.setattr(host, "load_room", lambda _path: small)
    assert "node1 lacks" in (said := fails(place, "warm")) and str(place / "copy") in said
    assert not (place / "copy").exists()


@as_root
def test_a_disk_that_becomes_full(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = place / "disk"
    disk.mkdir()
    if runner(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)]).rc != 0:
        pytest.skip("may not mount")
    try:
        (place / "source/big").write_bytes(os.urandom(1 << 20))
        monkeypatch.setattr(plan, "judge_room", lambda *_: [])
        full = TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(disk / "copy"), "warm")
        with pytest.raises(DomainError, match=r"node1 lacks \d{5,} bytes for .*it became full while copying"):
            full.run()
        assert runner(["mount", "-o", "remount,size=4m", str(disk)]).rc == 0
        TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(disk / "copy"), "last").run()
        assert seen(disk / "copy") == seen(place / "source")
    finally:
        assert runner(["umount", str(disk)]).rc == 0
