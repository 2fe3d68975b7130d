# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ends of connections on this node, and who has them open (proc(5))."""

from __future__ import annotations

import os
import socket

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import load_links
from ansible_collections.rspm.ha.plugins.module_utils._postgres.node_sessions import End, open_ports_of, plain_address


def local_end(descriptor: int) -> End:
    """Return the end of a connection on this node."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return End("", 0)
        address, port = connection.getsockname()[:2]
    return End(plain_address(address), port)


def load_open_ports() -> dict[int, str]:
    """Return the TCP ports that processes of this node have open, each with the process for a person."""
    inodes: dict[int, int] = {}
    for name in ("tcp", "tcp6"):
        inodes.update(open_ports_of(read_text(f"/proc/net/{name}") or ""))
    owners = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for link in load_links(f"/proc/{pid}/fd"):
            if link.startswith("socket:["):
                owners[int(link[8:-1])] = f"{(read_text(f'/proc/{pid}/comm') or '').strip() or 'a process'} (pid {pid})"
    return {port: owners.get(inode, "a process") for port, inode in inodes.items()}
