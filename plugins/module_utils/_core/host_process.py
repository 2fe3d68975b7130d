# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of this host: whether they live, what they have open, and which are the server's."""

from __future__ import annotations

import os
from contextlib import suppress

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.process import is_server


def lives(pid: int) -> bool:
    """Whether there is a process of this number, whatever /proc shows of it.

    With hidepid it hides those of other users, and those of this one that have other rights, as sudo gives them.
    """
    try:
        # 0 and less are groups of processes
        os.kill(pid, 0)
    except PermissionError:
        return pid > 0
    except OSError:
        return False
    return pid > 0


def load_links(folder: str) -> list[str]:
    """Return where the links of a process's folder fd lead; only what is closed meanwhile is left out."""
    links = []
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                links.append(os.readlink(f"{folder}/{name}"))
    return links


def load_processes(control_group: str) -> tuple[int, ...]:
    """Return the ids of the server's processes: those in the unit's control group, and any other that runs its file."""
    found: set[int] = set()
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd"):
        members = read_text(f"{root}{control_group}/cgroup.procs") if control_group else None
        found.update(int(pid) for pid in (members or "").split())
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                arguments = file.read().decode("utf-8", "replace").split("\0")
            executable = os.readlink(f"/proc/{name}/exe")
        except OSError:
            continue  # it ended, or it is a kernel thread
        if is_server(executable, arguments):
            found.add(int(name))
    return tuple(sorted(found))
