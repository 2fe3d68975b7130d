# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads and makes what an NFS server needs on its host."""

from __future__ import annotations

import glob
import os
import socket
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import give_folder, make_parents, read_text
from ansible_collections.rspm.ha.plugins.module_utils._storage.export import Export, parse_etab, parse_exports

ETAB = "/var/lib/nfs/etab"
EXPORTS = ("/etc/exports", "/etc/exports.d/*.exports")


@dataclass(frozen=True)
class FolderState:
    """Owner and mode of a folder; -1 when there is none."""

    uid: int
    gid: int
    mode: int


def read_folder(path: str) -> FolderState:
    """Return owner and mode of path."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return FolderState(-1, -1, -1)
    return FolderState(facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode))


def list_names(path: str) -> list[str]:
    """Return what is in a folder, nothing when there is none; raises NotADirectoryError for a file."""
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def make_folder(path: str, wanted: FolderState) -> None:
    """Make path, and give it owner and mode."""
    make_parents(f"{path}/")
    give_folder(path, wanted.uid, wanted.gid, wanted.mode)


def read_exporting(path: str, own: str, patterns: Sequence[str] = EXPORTS) -> list[str]:
    """Return the files of exports that name the folder, without our own."""
    files = [file for pattern in patterns for file in sorted(glob.glob(pattern)) if file != own]
    return [file for file in files if path in parse_exports(read_text(file) or "")]


def read_exports() -> list[Export]:
    """Return what the server exports now."""
    return parse_etab(read_text(ETAB) or "")


def read_unit(run: Runner, service: str) -> tuple[bool, bool]:
    """Return whether the service is enabled, and whether it is active."""
    enabled = run(["systemctl", "is-enabled", service]).stdout.strip() in ("enabled", "alias")
    return enabled, run(["systemctl", "is-active", service]).stdout.strip() == "active"


def enable_unit(run: Runner, service: str) -> None:
    """Have the service started, now and at boot."""
    run(["systemctl", "enable", "--now", service], check=True)


def wait_for_port(port: int, timeout: float) -> bool:
    """Return whether the port of this host answers within timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("localhost", port), 2).close()
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        else:
            return True
