# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying real trees with the real rsync; compared here by a walk that shares nothing with the module's."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils import (
    _service_loader,
    _tree,
    _tree_copy_loader,
    _tree_plan,
    _tree_worker_loader,
)
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._runner_loader import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._stop_loader import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy_loader import Outcome, TreeCopy

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync: apt-get install rsync")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def runner(argv: list[str], **_options: Any) -> CompletedCommand:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return CompletedCommand(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every account may enter, with a source in it; files are proved however new they are."""
    monkeypatch.setattr(_tree, "SOURCE_SETTLE_NS", 0)
    monkeypatch.setattr(_tree, "TARGET_SETTLE_NS", 0)
    folder = Path(tempfile.mkdtemp(prefix="tree 'copy-"))
    folder.chmod(0o755)
    make_tree(os.fsencode(folder / "source"))
    yield folder
    shutil.rmtree(folder)


def make_tree(root: bytes) -> None:
    for name in (b"", b"/empty", b"/deep/er", b"/-n", b"/a", b"/#d", b"/x y"):
        os.makedirs(root + name)
    names = (
        b"plain",
        b"a/new\nline",
        b"a/\xff\xfe",
        b"#d/#c",
        b";s",
        b"-n/--delete",
        b"deep/er/z",
        b"a-b",
        b"x y/*?'\"",
    )
    for number, name in enumerate(names):
        write(root + b"/" + name, b"%d" % number * 1000, mtime=1_600_000_000 + number)
    write(root + b"/zero", b"")
    write(root + b"/future", b"x", mtime=2_100_000_000)
    os.chmod(root + b"/plain", 0o4751)
    os.symlink(b"plain", root + b"/link")
    os.symlink(b"no\n\xffwhere", root + b"/dangling")
    os.link(root + b"/plain", root + b"/deep/hard")
    with open(root + b"/sparse", "wb") as file:
        file.write(b"begin")
        file.truncate(1 << 23)
    os.mkfifo(root + b"/pipe")
    os.utime(root + b"/empty", (1, 1))


def write(path: bytes, text: bytes, mtime: float | None = None) -> None:
    with open(path, "wb") as file:
        file.write(text)
    if mtime is not None:
        os.utime(path, (mtime, mtime))


def seen(root: Path) -> dict[bytes, tuple[Any, ...]]:
    """Return all that has to be equal of a tree."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first: dict[int, bytes] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for path in [folder, *(os.path.join(folder, name) for name in files + folders)]:
            status, name = os.lstat(path), os.path.relpath(path, top)
            content = b""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.md5(Path(os.fsdecode(path)).read_bytes()).digest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[name] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    for name in sorted(found):
        status = os.lstat(os.path.join(top, name))
        if not stat.S_ISDIR(status.st_mode):
            found[name] += (first.setdefault(status.st_ino, name),)
    return found


def copier(place: Path, pass_name: str, **options: Any) -> TreeCopy:
    made = TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(place / "copy"), pass_name, **options)
    made._lanes = 2
    return made


def copy(place: Path, pass_name: str) -> Outcome:
    return copier(place, pass_name).run()


def fails(place: Path, pass_name: str = "last", **options: Any) -> str:
    with pytest.raises(DomainError) as caught:
        copier(place, pass_name, **options).run()
    return str(caught.value)


def assert_equal(place: Path) -> None:
    assert seen(place / "copy") == seen(place / "source")


def test_the_last_pass_alone_makes_a_copy(place: Path) -> None:
    outcome = copy(place, "last")
    assert_equal(place)
    assert os.stat(place / "copy/sparse").st_blocks * 512 < 1 << 20
    totals = outcome.work.totals
    assert outcome.verified == len(seen(place / "source")) == totals.entries
    assert (totals.files, totals.folders, totals.links, totals.others) == (13, 8, 2, 1)
    assert outcome.remaining == [] and outcome.copied_files == 12


def test_what_a_warm_pass_proved_is_not_read_again(place: Path) -> None:
    warm = copy(place, "warm")
    assert warm.read_bytes == 2 * warm.work.totals.size
    last = copy(place, "last")
    assert (last.read_bytes, last.changes, last.verified) == (0, 0, warm.verified)
    again = copy(place, "last")
    assert (again.read_bytes, again.changes, again.verified) == (0, 0, warm.verified)


def test_what_changed_vanished_and_came_is_right_after_the_last_pass(place: Path) -> None:
    copy(place, "warm")
    root = os.fsencode(place / "source")
    status = os.stat(root + b"/a-b")
    write(root + b"/a-b", b"9" * status.st_size)
    os.utime(root + b"/a-b", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    os.unlink(root + b"/a/new\nline")
    shutil.rmtree(root + b"/deep")
    os.rmdir(root + b"/empty")
    write(root + b"/empty", b"a file now")
    os.unlink(root + b"/;s")
    os.mkdir(root + b"/;s")
    write(root + b"/;s/inside", b"new")
    os.chmod(root + b"/x y", 0o700)
    last = copier(place, "last")
    outcome = last.run()
    assert_equal(place)
    assert outcome.deleted >= 2 and outcome.read_bytes < outcome.work.totals.size
    assert [step["step"] for step in last.timeline.steps] == ["compare", "copy", "sync", "verify"]


@pytest.mark.parametrize("name", ["a-b", "plain"])
def test_a_corrupt_byte_is_found_and_replaced(place: Path, name: str) -> None:
    copy(place, "warm")
    planted = place / "copy" / name
    status = planted.stat()
    with planted.open("r+b") as file:
        file.seek(500)
        file.write(b"!")
    os.utime(planted, ns=(status.st_atime_ns, status.st_mtime_ns))
    last = copy(place, "last")
    assert {each.path for each in last.corrupt} >= {name} and "another content" in last.corrupt[0].what
    assert_equal(place)


def test_a_corrupt_byte_that_stays_fails_the_last_pass(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(place, "warm")
    monkeypatch.setattr(TreeCopy, "_rsync", lambda *_: None)
    (place / "copy/a-b").write_bytes(b"!" * 1000)
    os.utime(place / "copy/a-b", ns=(0, (place / "source/a-b").stat().st_mtime_ns))
    assert "[tree-copy-mismatch] 1 paths" in (said := fails(place)) and "a-b has another content" in said


@pytest.mark.parametrize("change", ["mode", "owner", "time", "extra", "link", "hard", "missing", "gone folder"])
def test_each_difference_is_mended(place: Path, change: str) -> None:
    copy(place, "last")
    # as if it was never finished
    (place / ".copy.tree_copy/copy-of").write_text('{"source": "%s", "finished_ns": 0}' % (place / "source"))
    there = place / "copy"
    if change == "mode":
        (there / "a").chmod(0o700)
    elif change == "owner":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        os.lchown(there / "dangling", 1, 1)
    elif change == "time":
        os.utime(there / "empty", (5, 5))
    elif change == "extra":
        (there / "more/and").mkdir(parents=True)
        (there / "more/and/more").write_text("x")
    elif change == "link":
        (there / "link").unlink()
        (there / "link").symlink_to("other")
    elif change == "hard":
        (there / "deep/hard").unlink()
        shutil.copy2(there / "plain", there / "deep/hard")
    elif change == "missing":
        (there / "zero").unlink()
    else:
        shutil.rmtree(there / "deep")
    assert seen(there) != seen(place / "source")
    assert copy(place, "last").changes > 0
    assert_equal(place)


def test_several_rsyncs_copy_what_one_would(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tree_plan, "_PARALLEL_COST", 0)
    started = []
    begin = _tree_copy_loader.run_all
    monkeypatch.setattr(_tree_copy_loader, "run_all", lambda *a: started.append(len(a[0])) or begin(*a))
    outcome = copy(place, "warm")
    assert started == [2, 1, 1] and outcome.copied_files == 12
    assert_equal(place)


def test_check_mode_writes_nothing(place: Path) -> None:
    outcome = copier(place, "warm").observe()
    assert sorted(os.listdir(place)) == ["source"]
    assert outcome.work.to_copy == outcome.work.totals and outcome.room.size > 0


def test_a_killed_run_is_gone_on_from(place: Path) -> None:
    for number in range(400):
        write(os.fsencode(place / f"source/many{number}"), os.urandom(20000))
    for delay in (0.05, 0.3, 0.6):
        pid = os.fork()
        if pid == 0:
            copy(place, "warm")
            os._exit(0)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert copy(place, "last").remaining == []
    assert_equal(place)


def test_half_a_line_of_evidence_is_none(place: Path) -> None:
    copy(place, "warm")
    manifest = place / ".copy.tree_copy/manifest"
    whole = manifest.read_bytes()
    for text in (whole[: len(whole) // 2], b"\0" * 100, whole.replace(b'"', b"", 1), b"[1,2,3,4]\n"):
        manifest.write_bytes(text)
        assert copy(place, "last").remaining == []
    assert copy(place, "last").read_bytes == 0


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
        os.utime(place / ".copy.tree_copy/alive.one")
        os._exit(0)
    begun = time.monotonic()
    assert "[tree-copy-lock]" in fails(place, patience=20, follower="two")
    assert time.monotonic() - begun < 10
    os.waitpid(pid, 0)
    first.state.unlock()


def test_a_run_that_nobody_follows_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tree_copy_loader, "_ABANDONED", -1.0)
    assert "[tree-copy-abandoned]" in fails(place, follower="one")
    assert sorted(os.listdir(place / ".copy.tree_copy")) == ["lock"]
    monkeypatch.undo()
    copy(place, "last")


def test_a_foreign_folder_is_left_alone(place: Path) -> None:
    (place / "copy").mkdir()
    (place / "copy/theirs").write_text("x")
    assert "is not empty and was not made by tree_copy" in fails(place, "warm")
    assert os.listdir(place / "copy") == ["theirs"] and not (place / ".copy.tree_copy").exists()


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
    small = _tree_plan.Room(1000, None)
    monkeypatch.setattr(_tree_copy_loader, "load_room", lambda _path: small)
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
        monkeypatch.setattr(_tree_plan, "judge_room", lambda *_: [])
        full = TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(disk / "copy"), "warm")
        with pytest.raises(DomainError, match=r"node1 lacks \d{5,} bytes for .*it became full while copying"):
            full.run()
        assert runner(["mount", "-o", "remount,size=4m", str(disk)]).rc == 0
        TreeCopy(runner, Timeline(), "node1", str(place / "source"), str(disk / "copy"), "last").run()
        assert seen(disk / "copy") == seen(place / "source")
    finally:
        assert runner(["umount", str(disk)]).rc == 0


@as_root
def test_the_source_is_read_by_the_account(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_tree_copy_loader, _service_loader):
        monkeypatch.setattr(module, "ACCOUNT", "nobody")
    account = _tree_copy_loader.load_account()
    assert isinstance(account, _tree_worker_loader.Account)
    runner(["chown", "-hR", f"{account.uid}:{account.gid}", str(place / "source")])
    runner(["chmod", "-R", "go=", str(place / "source")])
    (place / "copy").mkdir(mode=0o700)
    copy(place, "warm")
    assert_equal(place)
    secret = place / "source/a/secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    said = fails(place, "last")
    assert "Permission denied" in said and "secret" in said
    with closing(_tree_worker_loader.Worker("source", "node1", account)) as reader:
        reader.send("digest", str(place / "source"), [b"a/secret"])
        assert reader.digests() == [_tree.Digest(None, "Permission denied")]
    secret.unlink()
    copy(place, "last")
    assert_equal(place)
