# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes a mount away, now and at boot."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils import _storage_loader as loader
from ansible_collections.rspm.ha.plugins.module_utils._mount import mount_at
from ansible_collections.rspm.ha.plugins.module_utils._runner_loader import Runner
from ansible_collections.rspm.ha.plugins.module_utils._storage_fstab.rules import without_mount


def take_away(run: Runner, path: str, timeout: float, check_mode: bool) -> dict[str, Any]:
    """Unmount what is at the path, for good; returns the result of the module storage_mount."""
    mounted = mount_at(loader.read_mounts(), path) is not None
    text = loader.read_fstab()
    wanted = without_mount(text, path)
    if not check_mode:
        if mounted:
            loader.unmount(run, path, timeout)
        if wanted != text:
            loader.write_fstab(wanted)
            loader.reload_units(run)
    # Below a mount that a check leaves there nothing is looked at.
    empty = not (mounted and check_mode) and os.path.isdir(path) and not loader.list_names(path)
    if empty and not check_mode:
        os.rmdir(path)
    return {
        "changed": mounted or wanted != text or empty,
        "diff": {"before": {"mounted": mounted, "fstab": text != wanted}, "after": {"mounted": False, "fstab": False}},
    }
