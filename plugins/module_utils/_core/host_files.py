# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files on a local disk: read at once, put in place in one step.

No link is followed that another user could have made, such as the service's account in a folder of its own.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import open_unfollowed
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem


def read_text(path: str) -> str | None:
    """Return the file's content, None where there is no such file."""
    try:
        # not to wait for whoever would write to a pipe in its place
        descriptor = open_unfollowed(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise DomainError(_planted(path)) from error
    with open(descriptor, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def sum_of(path: str) -> str:
    """Return the SHA-256 of a local file, "" where there is none to read."""
    digest = hashlib.sha256()
    try:
        with open(open_unfollowed(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _planted(path: str) -> Problem:
    return Problem(
        "planted-link",
        f"{path} is a link that another user than root could have made",
        "What root reads or writes through it may be any file of this host",
        f"See who made it (ls -l {path}), put the file itself in its place, and run the same command again",
    )


def write_file(path: str, text: str, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Put text at path in one step, so that a reader or a power cut finds the old or the new content."""
    above, name = os.path.split(path)
    folder = open_unfollowed(above or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_in(folder, name, text, mode, uid, gid)
    finally:
        os.close(folder)


def write_in(folder: int, name: str, text: str, mode: int, uid: int, gid: int) -> None:
    """Put text into a file of an open folder, likewise."""
    temporary = f"{name}.rspm-ha-new"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)  # left by a run that was cut off
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)
        file.flush()
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def make_folder(path: str, mode: int = 0o755) -> None:
    """Make the folder, where it is absent, with this mode whatever the umask is, and those above it likewise."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    make_parents(path)
    above, name = os.path.split(path)
    parent = open_unfollowed(above, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # never wider than it will be
        os.mkdir(name, mode & 0o700, dir_fd=parent)
        # not by its name: where others may write, another could be in its place by now
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def give_folder(path: str, uid: int, gid: int, mode: int) -> None:
    """Give a folder this owner and mode."""
    descriptor = open_unfollowed(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def make_parents(path: str) -> None:
    """Make the folders above path, where they are absent, for everybody to pass, whatever the umask is."""
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        make_folder(parent)


def sync_folder(path: str) -> None:
    """Make what was renamed or removed in the folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
