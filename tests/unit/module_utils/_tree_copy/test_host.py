# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying real trees with the real rsync; compared here by a walk that shares nothing with the module's."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import find_account
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import compare as tree_copy_compare
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import host, host_rsync, host_worker, plan
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import shares as tree_copy_shares
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import TreeCopy
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_rsync import Command
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
    write,
)

pytestmark = needs_rsync


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
    # of the source only what has two names: what rsync says that it read of a file is not read once more
    assert warm.read_bytes == warm.work.totals.size + 2 * os.stat(place / "source/plain").st_size
    last = copy(place, "last")
    assert (last.read_bytes, last.changes, last.verified) == (0, 0, warm.verified)
    again = copy(place, "last")
    assert (again.read_bytes, again.changes, again.verified) == (0, 0, warm.verified)


def test_an_rsync_that_does_not_say_what_it_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "gives_digests", lambda _text: False)
    warm = copy(place, "warm")
    assert warm.read_bytes == 2 * warm.work.totals.size
    assert copy(place, "last").read_bytes == 0
    assert_equal(place)


@pytest.mark.parametrize("side", ["source", "copy"])
def test_what_changes_between_copying_and_proving_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    planted = [place / side / os.fsdecode(name) for name in (b"a/\xff\xfe", b"a/new\nline")]

    def plant(*_arguments: object) -> None:
        while planted:
            file = planted.pop()
            status = file.stat()
            file.write_bytes(b"!" * status.st_size)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    compare = TreeCopy._compare
    monkeypatch.setattr(TreeCopy, "_compare", lambda *arguments: plant() or compare(*arguments))
    last = copy(place, "last")
    assert [each.path for each in last.corrupt] == ["a/new\\nline", "a/\\xff\\xfe"]
    assert_equal(place)


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
    (state(place) / "copy-of").write_text('{"source": "%s", "finished_ns": 0}' % (place / "source"))
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
    monkeypatch.setattr(tree_copy_shares, "_PARALLEL_COST", 0)
    started: list[int] = []
    begin = host_rsync.run_all
    monkeypatch.setattr(host, "run_all", lambda *a: started.append(len(a[0])) or begin(*a))
    outcome = copy(place, "warm")
    assert started == [2, 1, 1] and outcome.copied_files == 12
    assert_equal(place)


@pytest.mark.parametrize(("size", "shown"), [(plan.LARGE_FILE - 4096, False), (plan.LARGE_FILE, True)])
def test_how_far_it_is_within_a_large_file_is_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, size: int, shown: bool
) -> None:
    write(os.fsencode(place / "source/large"), os.urandom(size))
    started: list[Command] = []
    begin = host_rsync.run_all
    monkeypatch.setattr(host, "run_all", lambda *a: started.extend(a[0]) or begin(*a))
    copy(place, "warm")
    assert [("--info=progress2" in each.argv) for each in started if each.argv[0] == "rsync"] == [shown]
    assert_equal(place)


def test_several_rsyncs_copy_new_folders_whole(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_copy_shares, "_PARALLEL_COST", 0)
    (place / "source/deep/hard").unlink()
    for number in range(40):
        (place / f"source/many/{number}").mkdir(parents=True)
        write(os.fsencode(place / f"source/many/{number}/file"), b"%d" % number)
        os.utime(place / f"source/many/{number}", (number, number))
    os.symlink("nowhere", place / "source/many/7/link")
    lists: list[tuple[int, bytes]] = []
    deal = tree_copy_shares.deal
    monkeypatch.setattr(tree_copy_shares, "deal", lambda *a: lists.extend(deal(*a)) or iter(lists))
    copy(place, "warm")
    assert {worker for worker, _path in lists} == {0, 1}
    assert {b"many/7", b"many/39"} <= {path for _worker, path in lists}
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
    manifest = state(place) / "manifest"
    everything = manifest.read_bytes()
    for text in (everything[: len(everything) // 2], b"\0" * 100, everything.replace(b'"', b"", 1), b"[1,2,3,4]\n"):
        manifest.write_bytes(text)
        assert copy(place, "last").remaining == []
    assert copy(place, "last").read_bytes == 0


@as_root
def test_the_source_is_read_by_the_account(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "ACCOUNT", "nobody")
    account = find_account("nobody")
    assert account is not None
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
    with closing(host_worker.Worker("source", "node1", account)) as reader:
        reader.send("digest", str(place / "source"), [b"a/secret"])
        assert reader.digests(5) == [tree_copy_compare.Digest(None, "Permission denied", 5)]
    secret.unlink()
    copy(place, "last")
    assert_equal(place)


def test_a_file_that_never_ends_is_not_read_for_ever() -> None:
    with closing(host_worker.Worker("source", "node1", None)) as reader:
        reader.send("digest", "/dev", [b"zero"])
        (digest,) = reader.digests(0)
    assert digest == tree_copy_compare.Digest(None, "it changed", 0)


def test_a_reader_that_was_closed_is_gone_and_holds_no_mount(place: Path) -> None:
    readers = [host_worker.Worker("copy", "node1", None) for _number in range(8)]
    for reader in readers:
        list(reader.walk(str(place / "source"), lambda: None))
    host_worker.close_all(readers)
    assert [reader.pid for reader in readers if Path(f"/proc/{reader.pid}").exists()] == []


def test_a_reader_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = host_worker.Worker("source", "node1", None)
    with monkeypatch.context() as patch:
        patch.setattr(host_worker, "_GONE", 0.1)
        patch.setattr(os, "waitpid", lambda _pid, _options: (0, 0))
        begun = time.monotonic()
        hanging.close()
        assert time.monotonic() - begun < 5
    os.waitpid(hanging.pid, 0)
