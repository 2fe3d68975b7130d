# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at who listens on a port of this host, and at the configuration of HAProxy."""

from __future__ import annotations

import glob
import re

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_sockets import load_name, load_owners, load_sockets
from ansible_collections.rspm.ha.plugins.module_utils._load_balancer.rules import PACKAGE_CONFIG, Listener


def read_listeners(port: int, proc: str = "/proc") -> list[Listener]:
    """Return the processes that listen on a TCP port, each unit's once."""
    inodes = {socket.inode for socket in load_sockets(proc) if socket.listens and socket.port == port}
    found: dict[tuple[str, str], Listener] = {}
    for pid in sorted({pid for pids in load_owners(inodes, proc).values() for pid in pids}):
        try:
            unit = _unit(read_text(f"{proc}/{pid}/cgroup") or "")
        except OSError:
            continue  # it ended meanwhile
        name = load_name(pid, proc)
        found.setdefault((name, unit), Listener(name, pid, unit))
    # a socket without a process that can be seen is the kernel's, or another container's
    return list(found.values()) or [Listener("", 0, "")] * bool(inodes)


def _unit(cgroup: str) -> str:
    units = re.findall(r"/([^/\n]+\.(?:service|scope))", cgroup)
    return units[-1] if units else ""


def read_configs() -> dict[str, str]:
    """Return the text of every file that haproxy.service reads; EL has a folder beside the file."""
    paths = [PACKAGE_CONFIG, *sorted(glob.glob("/etc/haproxy/conf.d/*.cfg"))]
    return {path: read_text(path) or "" for path in paths}
