# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TCP sockets of this host, and who has them open (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import load_links

# State of a TCP socket
_LISTENS = "0A"


class Socket(NamedTuple):
    """A TCP socket of this host. inode: 0 where no process has it any more, and the kernel is closing it."""

    port: int
    inode: int
    listens: bool


def parse_sockets(text: str) -> list[Socket]:
    """Return the sockets of /proc/net/tcp or tcp6."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return [Socket(int(row[1].rpartition(":")[2], 16), int(row[9]), row[3] == _LISTENS) for row in rows if len(row) > 9]


def load_sockets(proc: str = "/proc") -> list[Socket]:
    """Return all TCP sockets of this host."""
    tables = [read_text(f"{proc}/net/{name}") or "" for name in ("tcp", "tcp6")]
    return [found for table in tables for found in parse_sockets(table)]


def load_owners(inodes: Collection[int], proc: str = "/proc") -> dict[int, list[int]]:
    """Return the processes that have each of the sockets open, by the socket's inode, lowest id first."""
    owners: dict[int, list[int]] = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()) if inodes else ():
        for link in set(load_links(f"{proc}/{pid}/fd")):
            if link.startswith("socket:[") and int(link[8:-1]) in inodes:
                owners.setdefault(int(link[8:-1]), []).append(pid)
    return owners


def load_name(pid: int, proc: str = "/proc") -> str:
    """Return the name of a process, "" for one that is gone."""
    try:
        return (read_text(f"{proc}/{pid}/comm") or "").strip()
    except OSError:
        return ""
