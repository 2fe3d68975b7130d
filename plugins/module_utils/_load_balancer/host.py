# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at who listens on a port of this host, and at the configuration of HAProxy."""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import load_links
from ansible_collections.rspm.ha.plugins.module_utils._load_balancer.rules import PACKAGE_CONFIG, Listener

# State of a TCP socket in /proc/net/tcp
LISTENS = "0A"


def read_listeners(port: int, proc: str = "/proc") -> list[Listener]:
    """Return the processes that listen on a TCP port, each unit's once."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in (read_text(f"{proc}/net/{table}") or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return []
    found: dict[tuple[str, str], Listener] = {}
    pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    for pid in pids:
        if not inodes.isdisjoint(load_links(f"{proc}/{pid}/fd")):
            try:
                name = (read_text(f"{proc}/{pid}/comm") or "").strip()
                unit = _unit(read_text(f"{proc}/{pid}/cgroup") or "")
            except OSError:
                continue  # it ended meanwhile
            found.setdefault((name, unit), Listener(name, pid, unit))
    # a socket without a process that can be seen is the kernel's, or another container's
    return list(found.values()) or [Listener("", 0, "")]


def _unit(cgroup: str) -> str:
    units = re.findall(r"/([^/\n]+\.(?:service|scope))", cgroup)
    return units[-1] if units else ""


def read_configs() -> dict[str, str]:
    """Return the text of every file that haproxy.service reads; EL has a folder beside the file."""
    paths = [PACKAGE_CONFIG, *sorted(glob.glob("/etc/haproxy/conf.d/*.cfg"))]
    return {path: read_text(path) or "" for path in paths}
