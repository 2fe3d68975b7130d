# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node's shared storage as it is asked for, and as its kernel has it."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, parse_mountinfo
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import StorageRequest, storage_request

ASKED: dict[str, Any] = {
    "kind": "nfs",
    "path": "/mnt/rstudio-pm",
    "data_dir": "/mnt/rstudio-pm/data",
    "server": "nfs",
    "export": "/srv/rstudio-pm",
    "nfs_version": "4.2",
    "cache": "lookupcache=pos",
    "options": [],
    "uid": 940,
    "gid": 940,
}
LIVE = "rw,vers=4.2,rsize=131072,wsize=131072,namlen=255,hard,proto=tcp,timeo=600,lookupcache=pos,sec=sys"


def asked(**changes: Any) -> StorageRequest:
    return storage_request(**{**ASKED, **changes})


def table(options: str = LIVE, fstype: str = "nfs4", source: str = "nfs:/srv/rstudio-pm") -> list[MountEntry]:
    return parse_mountinfo(
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"201 20 0:39 / /mnt/rstudio-pm rw,relatime shared:108 - {fstype} {source} {options}\n"
    )


NO_MOUNT = table()[:1]
