# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service's account plants where a tree is copied to: root writes nothing of its own there, and reads none."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account, find_account
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import host, shares
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import TreeCopy
from tests.unit.worlds.tree_copies import copier, copy, fails, needs_rsync, runner, seen, state

pytestmark = needs_rsync
SECRET = "root's secret"


@pytest.fixture
def account(place: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The account, which owns the folder that the copy is made in; beside it what only root may read and write."""
    found = find_account("nobody")
    assert found is not None, "make test-fast runs as root, and nobody is everywhere"
    monkeypatch.setattr(host, "ACCOUNT", "nobody")
    (place / "theirs").mkdir()
    runner(["chown", "-hR", f"{found.uid}:{found.gid}", str(place / "source"), str(place / "theirs")])
    return found


@pytest.fixture
def victim(place: Path) -> Iterator[Path]:
    """Files of root's, which are as they were in the end."""
    folder = place / "victim"
    folder.mkdir()
    (folder / "plain").write_text(SECRET)
    (folder / "plain").chmod(0o600)
    (folder / "a").mkdir()
    before = seen(folder)
    yield folder
    assert seen(folder) == before


def into_theirs(place: Path, pass_name: str) -> TreeCopy:
    made = TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(place / "theirs/copy"), pass_name)
    made._workers = 2
    return made


def test_nothing_that_lies_beside_the_copy_is_opened(place: Path, account: Account, victim: Path) -> None:
    beside = place / "theirs/.copy.tree_copy"
    beside.mkdir()
    names = ("manifest", "manifest.new", "manifest.fresh", "paths.0", "paths.1", "lock", "progress.", "progress..new")
    for name in (*names, "alive.", "copy-of", "copy-of.rspm-ha-new"):
        (beside / name).symlink_to(victim / "plain")
    runner(["chown", "-hR", f"{account.uid}:{account.gid}", str(beside)])
    into_theirs(place, "warm").run()
    into_theirs(place, "last").run()
    assert seen(place / "theirs/copy") == seen(place / "source")
    assert len(os.listdir(beside)) == len(names) + 3


def test_a_link_in_the_place_of_the_copy_is_not_followed(place: Path, account: Account, victim: Path) -> None:
    (place / "theirs/copy").symlink_to(victim)
    with pytest.raises(DomainError, match="is not a folder"):
        into_theirs(place, "warm").run()
    (place / "theirs/copy").unlink()
    (place / "theirs/in").symlink_to(victim)
    with pytest.raises(DomainError, match=r"\[tree-copy"):
        TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(place / "theirs/in/a"), "warm").run()
    assert os.listdir(victim / "a") == []


@pytest.mark.parametrize("when", ["_survey", "_copy", "_rsync", "_compare"])
def test_a_link_that_comes_while_it_is_copied_leads_nowhere(
    place: Path, account: Account, victim: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    into_theirs(place, "warm").run()
    (place / "source/a/new\nline").write_text("changed")
    (place / "source/a/more").write_text("more")
    runner(["chown", "-hR", f"{account.uid}:{account.gid}", str(place / "source")])
    there = place / "theirs/copy"
    real = getattr(TreeCopy, when)

    def swap(*arguments: object, **options: object) -> object:
        if not (there / "a").is_symlink():
            shutil.rmtree(there / "a")
            (there / "a").symlink_to(victim)
            (there / "plain").unlink()
            (there / "plain").symlink_to(victim / "plain")
        return real(*arguments, **options)

    monkeypatch.setattr(TreeCopy, when, swap)
    said = ""
    try:
        into_theirs(place, "last").run()
    except DomainError as error:
        said = str(error)
    assert SECRET not in said
    assert said or not (there / "a").is_symlink()


def test_the_whole_copy_swapped_for_a_link_again_and_again(place: Path, account: Account, victim: Path) -> None:
    there, aside, done = place / "theirs/copy", place / "theirs/aside", threading.Event()

    def swap() -> None:
        while not done.is_set():
            try:
                os.rename(there, aside)
                os.symlink(victim, there)
                os.unlink(there)
                os.rename(aside, there)
            except OSError:
                continue

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _number in range(5):
            try:
                into_theirs(place, "warm").run()
            except DomainError as error:
                assert SECRET not in str(error)
    finally:
        done.set()
        thread.join()


def test_the_copy_is_the_accounts_whoever_had_the_source(place: Path, account: Account) -> None:
    os.lchown(place / "source/a-b", 1, 1)
    (place / "source/a-b").chmod(0o644)
    outcome = into_theirs(place, "last").run()
    assert outcome.remaining == []
    status = os.stat(place / "theirs/copy/a-b")
    assert (status.st_uid, status.st_gid) == (account.uid, account.gid)
    again = into_theirs(place, "last").run()
    assert (again.changes, again.read_bytes) == (0, 0)


def test_a_folder_of_another_is_not_taken(place: Path, account: Account) -> None:
    into_theirs(place, "warm").run()
    os.chown(place / "theirs/copy", 0, 0)
    (place / "theirs/copy").chmod(0o755)
    (place / "source/a-b").write_text("changed")
    with pytest.raises(DomainError, match=r"belongs to uid 0.*chown -R -h nobody:"):
        into_theirs(place, "warm").run()


def test_a_state_that_the_account_may_write_is_refused(place: Path, account: Account) -> None:
    (place / "root").mkdir()
    os.chown(place / "root", account.uid, account.gid)
    assert "[tree-copy-state] the service's account may write to" in fails(place, "warm")
    assert os.listdir(place / "root") == []


def test_what_lies_beside_a_copy_is_not_believed(place: Path, account: Account) -> None:
    copier(place, "warm").run()
    os.rename(state(place), place / ".copy.tree_copy")
    assert "is not empty and was not made by tree_copy" in fails(place, "warm")
    shutil.rmtree(place / "copy")
    copy(place, "last")
    assert seen(place / "copy") == seen(place / "source")


@pytest.mark.parametrize("side_by_side", [False, True])
def test_folders_that_their_owner_may_not_write_are_copied_by_him(
    place: Path, account: Account, monkeypatch: pytest.MonkeyPatch, side_by_side: bool
) -> None:
    if side_by_side:
        monkeypatch.setattr(shares, "_PARALLEL_COST", 0)
    source = place / "source"
    closed = [source / name for name in ("deep/er", "deep", "a", "")]
    for folder in closed:
        folder.chmod(0o555)
    into_theirs(place, "warm").run()
    assert seen(place / "theirs/copy") == seen(source)
    for folder in closed:
        folder.chmod(0o755)
    shutil.rmtree(source / "deep/er")
    (source / "deep/new").mkdir()
    (source / "deep/new/file").write_text("new")
    (source / "a/new\nline").write_text("changed")
    (source / "top").write_text("new")
    runner(["chown", "-hR", f"{account.uid}:{account.gid}", str(source)])
    for folder in (source / "deep/new", source / "deep", source):
        folder.chmod(0o555)
    outcome = into_theirs(place, "last").run()
    assert outcome.deleted > 0 and seen(place / "theirs/copy") == seen(source)
    assert into_theirs(place, "last").run().changes == 0
