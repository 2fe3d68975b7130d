# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds who holds a mount."""

from __future__ import annotations

import os

from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import Holder


def list_holders(path: str, uid: int) -> list[Holder]:
    """Return the processes that hold something below path open, or run with the service account's uid."""
    holders = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/status", encoding="utf-8", errors="replace") as status:
                facts = dict(line.split(":", 1) for line in status if ":" in line)
            held = _held_path(f"/proc/{name}", path)
        except OSError:
            continue  # it ended meanwhile
        if not held and facts["Uid"].split()[0] == str(uid):
            held = f"runs as uid {uid}"
        if held:
            holders.append(Holder(int(name), facts["Name"].strip(), held))
    return holders


def _held_path(process: str, path: str) -> str:
    links = [f"{process}/{link}" for link in ("cwd", "root", "exe")]
    links += [f"{process}/fd/{number}" for number in os.listdir(f"{process}/fd")]
    for link in links:
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target == path or target.startswith(path + "/"):
            return target
    return ""
