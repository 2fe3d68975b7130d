# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can still be written on a local disk, or on a file system that may not answer."""

from __future__ import annotations

import os

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import open_unfollowed
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.space import parse_free

# A file system whose server is away answers nothing at all
_STORAGE_TIMEOUT = 5.0


def free_space(path: str) -> tuple[int, int | None]:
    """Return the free bytes and files where the path is, or would be made; None for files without a limit."""
    while True:
        try:
            descriptor = open_unfollowed(path, os.O_PATH)
            break
        except OSError:
            # not there, or a link in the way, which is refused elsewhere
            path = os.path.dirname(path)
    try:
        found = os.fstatvfs(descriptor)
    finally:
        os.close(descriptor)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def free_bytes(path: str) -> int:
    """Return the free bytes where the path is, or would be made."""
    return free_space(path)[0]


def load_free(runner: Runner, paths: list[str]) -> dict[str, int]:
    """Return the free bytes of each folder that answers."""
    free = {}
    for path in paths:
        shown = runner(as_account(["stat", "--file-system", "--format", "%a %S", path]), timeout=_STORAGE_TIMEOUT)
        found = parse_free(shown.stdout) if shown.rc == 0 else None
        if found is not None:
            free[path] = found
    return free
