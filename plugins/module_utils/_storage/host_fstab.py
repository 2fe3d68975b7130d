# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unmounts, now and at boot."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import OUT_OF_TIME, Runner, command_failed
from ansible_collections.rspm.ha.plugins.module_utils._storage import host
from ansible_collections.rspm.ha.plugins.module_utils._storage.fstab import stays_mounted, without_mount
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import mount_at

# For each attempt with force, which asks no server.
_FORCE_SECONDS = 20.0


def take_away(run: Runner, path: str, timeout: float, check_mode: bool) -> dict[str, Any]:
    """Unmount the path, now and at boot; returns the result of the module storage_mount."""
    entry = mount_at(host.read_mounts(), path)
    mounted, detached = entry is not None, ""
    text = host.read_fstab()
    wanted = without_mount(text, path)
    if not check_mode:
        if entry is not None:
            detached = _unmount(run, path, entry.source, timeout)
        if wanted != text:
            host.write_fstab(wanted)
            host.reload_units(run)
    # Below a mount that a check leaves there nothing is looked at.
    empty = not (mounted and check_mode) and os.path.isdir(path) and not host.list_names(path)
    if empty and not check_mode:
        os.rmdir(path)
    return {
        "detached": detached,
        "changed": mounted or wanted != text or empty,
        "diff": {"before": {"mounted": mounted, "fstab": text != wanted}, "after": {"mounted": False, "fstab": False}},
    }


def _unmount(run: Runner, path: str, source: str, timeout: float) -> str:
    """Unmount path; return by which command where its server did not answer in time, else "". Raises DomainError.

    One that is in use is left mounted: whoever uses it still gets answers.
    """
    argv = ["umount", path]
    done = run(argv, timeout=timeout)
    if done.rc == 0:
        return ""
    if done.rc != OUT_OF_TIME:
        raise command_failed(argv, done)
    # -f gives up what waits for the server, and is busy as long as somebody has a file open; -l never is
    for argv in (["umount", "-f", path], ["umount", "-l", path]):
        run(argv, timeout=_FORCE_SECONDS)
        if mount_at(host.read_mounts(), path) is None:
            return " ".join(argv)
    raise stays_mounted(path, source, timeout)
