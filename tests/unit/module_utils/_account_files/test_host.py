# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that an account may swap, read by root: no link of its is followed, and nothing of root's is read out."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._account_files import host
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package import host as package_host

SECRET = "root's secret"


@pytest.fixture
def account() -> host.Account:
    found = host.find_account("nobody")
    assert found is not None, "make test-fast runs as root, and nobody is everywhere"
    return found


@pytest.fixture
def top(account: host.Account) -> Iterator[Path]:
    """A folder of root's with one of the account's, and a file that only root may read."""
    folder = Path(tempfile.mkdtemp(prefix="rspm-apart-"))
    folder.chmod(0o755)
    (folder / "theirs").mkdir()
    (folder / "theirs/file").write_text("theirs")
    for path in (folder / "theirs", folder / "theirs/file"):
        os.chown(path, account.uid, account.gid)
    (folder / "victim").write_text(SECRET)
    (folder / "victim").chmod(0o600)
    yield folder
    shutil.rmtree(folder)


def test_what_is_theirs_is_taken_over_with_its_sum(account: host.Account, top: Path) -> None:
    found = host.take_over(account, f"{top}/theirs/file", f"{top}/mine", 5)
    assert found == hashlib.sha256(b"theirs").hexdigest() == host.sum_as(account, f"{top}/theirs/file", 5)
    status = os.stat(top / "mine")
    assert (top / "mine").read_text() == "theirs" and (status.st_uid, status.st_mode & 0o777) == (0, 0o600)
    assert host.sum_as(account, f"{top}/theirs/none", 5) == ""


def test_more_than_a_pipe_holds_comes_whole(account: host.Account, top: Path) -> None:
    text = os.urandom(5 << 20)
    (top / "theirs/file").write_bytes(text)
    host.take_over(account, f"{top}/theirs/file", f"{top}/mine", 30)
    assert (top / "mine").read_bytes() == text


@pytest.mark.parametrize("plant", ["link", "folder link", "fifo", "folder", "unreadable", "link to theirs"])
def test_what_is_planted_is_refused_and_not_read(account: host.Account, top: Path, plant: str) -> None:
    path = top / "theirs/planted"
    if plant == "link":
        path.symlink_to(top / "victim")
    elif plant == "folder link":
        (top / "theirs/in").symlink_to(top)
        path = top / "theirs/in/victim"
    elif plant == "fifo":
        os.mkfifo(path)
    elif plant == "folder":
        path.mkdir()
    elif plant == "unreadable":
        path = top / "victim"
    else:
        # what the account may read anyway, root does not follow either
        path.symlink_to(top / "theirs/file")
    read: list[bytes] = []
    with pytest.raises(OSError) as caught:
        host.read_as(account, str(path), read.append, 5)
    assert read == [] and caught.value.errno in (errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EACCES)


def test_nothing_is_written_through_a_link(account: host.Account, top: Path) -> None:
    (top / "mine").symlink_to(top / "victim")
    with pytest.raises(FileExistsError):
        host.take_over(account, f"{top}/theirs/file", f"{top}/mine", 5)
    assert (top / "victim").read_text() == SECRET


def test_a_link_that_only_root_can_have_made_is_followed(account: host.Account, top: Path) -> None:
    # the folders above are of everybody's, so that these stand for a link in root's own
    for name in ("way", "again"):
        os.mkdir(f"/run/rspm-{name}-{os.getpid()}", 0o755)
    one, two = (f"/run/rspm-{name}-{os.getpid()}" for name in ("way", "again"))
    try:
        os.symlink(f"../{os.path.basename(one)}/real", f"{two}/link")
        os.mkdir(f"{one}/real", 0o755)
        Path(f"{one}/real/file").write_text("followed")
        read: list[bytes] = []
        host.read_as(account, f"{two}/link/file", read.append, 5)
        assert read == [b"followed"]
        os.symlink(f"{two}/round", f"{two}/round")
        with pytest.raises(OSError) as caught:
            host.read_as(account, f"{two}/round/file", read.append, 5)
        assert caught.value.errno == errno.ELOOP
    finally:
        for folder in (one, two):
            shutil.rmtree(folder)


def test_a_reader_that_hangs_is_not_waited_for(
    account: host.Account, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "open_unfollowed", lambda *_, **_more: time.sleep(60))
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        host.read_as(account, f"{top}/theirs/file", print, 0.2)
    assert time.monotonic() - begun < 5


def test_a_folder_that_the_account_can_swap_is_found(account: host.Account, top: Path) -> None:
    (top / "mine").mkdir()
    assert host.swappable(f"{top}/mine/package.deb", account) == ""
    assert host.swappable(f"{top}/theirs/sub/package.deb", account) == f"{top}/theirs"
    (top / "mine/link").symlink_to(top / "theirs")
    assert host.swappable(f"{top}/mine/link/package.deb", account) == f"{top}/theirs"
    (top / "mine").chmod(0o777)
    assert host.swappable(f"{top}/mine/package.deb", None) == f"{top}/mine"
    (top / "mine").chmod(0o1777)
    assert host.swappable(f"{top}/mine/package.deb", account) == ""
    (top / "mine").chmod(0o770)
    os.chown(top / "mine", 0, account.gid)
    assert host.swappable(f"{top}/mine/package.deb", account) == f"{top}/mine"


def test_no_package_is_staged_or_installed_from_there(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_host, "ACCOUNT", "nobody")
    with pytest.raises(DomainError, match=r"may write to .*theirs"):
        package_host.require_apart(f"{top}/theirs/package.deb")
    package_host.require_apart(f"{top}/package.deb")
