# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files on a local disk: read whole, put in place in one step."""

from __future__ import annotations

import os


def read_text(path: str) -> str | None:
    """Return the file's content, None where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_file(path: str, text: str, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Put text at path in one step, so that a reader or a power cut finds the old or the new content."""
    temporary = f"{path}.rspm-ha-new"
    if os.path.lexists(temporary):
        os.unlink(temporary)  # left by a run that was cut off
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)
        file.flush()
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path))


def make_folder(path: str, mode: int = 0o755) -> None:
    """Make the folder, where it is absent, with this mode whatever the umask is, and those above it likewise."""
    path = os.path.normpath(path)
    if os.path.isdir(path):
        return
    make_parents(path)
    # never wider than it will be
    os.mkdir(path, mode & 0o700)
    # not by its name: where others may write, another could be in its place by now
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
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
