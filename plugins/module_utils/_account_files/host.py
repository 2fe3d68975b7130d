# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that the service's account may swap at any moment: how root reads them and takes them over.

They are opened once, by a process with the account's rights, which alone a file server may grant, and never through a
link that the account could have made. What root needs of them it copies into a folder of its own, and hashes what it
copies. A process that has changed its user may not be traced by that user.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import select
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_BLOCK = 1 << 20
_LINKS = 40


@dataclass(frozen=True)
class Account:
    """Whose rights a process takes on. groups: all that it is in."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def find_account(name: str) -> Account | None:
    """Return the account, None where there is none or this process can't become it."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, found.pw_uid, found.pw_gid, tuple(os.getgrouplist(name, found.pw_gid)))


def become(account: Account | None) -> None:
    """Take on the account's rights for good; for after a fork."""
    if account is not None:
        os.setgroups(account.groups)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)


def open_unfollowed(path: str, flags: int, *, own: bool = True) -> int:
    """Open a path, following links only where root, or this user, alone can have made them.

    own: whether this user's links are followed. Raises OSError for others (ELOOP, or ENOTDIR on the way).
    """
    users = {0, os.geteuid()} if own else {0}
    rest = [part for part in os.path.abspath(path).split("/") if part]
    walked, links, trusted = "/", 0, True
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        while rest:
            trusted = trusted and _is_apart(os.fstat(descriptor), users)
            name = rest.pop(0)
            if trusted and stat.S_ISLNK(os.lstat(name, dir_fd=descriptor).st_mode):
                links += 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                aim = os.path.normpath(os.path.join(walked, os.readlink(name, dir_fd=descriptor), *rest))
                rest, walked = [part for part in aim.split("/") if part], "/"
                inner = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
            else:
                more = os.O_PATH | os.O_DIRECTORY if rest else flags
                inner = os.open(name, more | os.O_NOFOLLOW, dir_fd=descriptor)
                walked = os.path.join(walked, name)
            os.close(descriptor)
            descriptor = inner
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, error.strerror, path) from error
    return descriptor


def _is_apart(found: os.stat_result, users: set[int]) -> bool:
    return found.st_uid in users and not found.st_mode & 0o022


def read_as(account: Account | None, path: str, take: Callable[[bytes], object], timeout: float) -> None:
    """Give the content of a regular file, read with the account's rights, to `take`, block by block.

    Raises OSError where there is no such file, where a link is in the way, and after timeout seconds (TimeoutError).
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        number = errno.EIO
        try:
            number = _pour(account, path, writer)
        finally:
            os._exit(number)
    os.close(writer)
    try:
        deadline = time.monotonic() + timeout
        while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            block = os.read(reader, _BLOCK)
            if not block:
                break
            take(block)
        else:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        # one that hangs on a file server that is away ends when that is back
        os.waitpid(child, os.WNOHANG)
        raise
    finally:
        os.close(reader)
    status = os.waitpid(child, 0)[1]
    number = os.WEXITSTATUS(status) if os.WIFEXITED(status) else errno.EIO
    if number:
        raise OSError(number, os.strerror(number), path)


def _pour(account: Account | None, path: str, writer: int) -> int:
    """Write a file's content to the writer; returns the number of the error, 0 for none. The body of a child."""
    try:
        become(account)
        descriptor = open_unfollowed(path, os.O_RDONLY | os.O_NONBLOCK, own=False)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return errno.EINVAL
        while block := os.read(descriptor, _BLOCK):
            while block:
                block = block[os.write(writer, block) :]
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def sum_as(account: Account | None, path: str, timeout: float) -> str:
    """Return the SHA-256 of a file as read_as reads it, "" where there is none."""
    digest = hashlib.sha256()
    try:
        read_as(account, path, digest.update, timeout)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return digest.hexdigest()


def take_over(account: Account | None, path: str, target: str, timeout: float) -> str:
    """Copy a file, read as read_as reads it, to a new file in a folder of root's; returns the SHA-256 of the copy."""
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:

        def take(block: bytes) -> None:
            digest.update(block)
            file.write(block)

        read_as(account, path, take, timeout)
        file.flush()
        os.fsync(descriptor)
    return digest.hexdigest()


def swappable(path: str, account: Account | None) -> str:
    """Return the first folder on the way to a path, or the path itself, that the account could replace.

    "" for none. account: None looks for what everybody may write.
    """
    for way in (os.path.abspath(path), os.path.realpath(path)):
        parts = way.split("/")
        for number in range(1, len(parts) + 1):
            place = "/".join(parts[:number]) or "/"
            with suppress(FileNotFoundError, NotADirectoryError):
                found = os.lstat(place)
                if not stat.S_ISLNK(found.st_mode) and _writes(found, account):
                    return place
    return ""


def _writes(found: os.stat_result, account: Account | None) -> bool:
    if account is not None and found.st_uid == account.uid != 0:
        return True
    groups = set(account.groups) - {0} if account else set()
    # in a sticky folder nobody moves what belongs to another
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return not sticky and bool(
        found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid in groups)
    )
