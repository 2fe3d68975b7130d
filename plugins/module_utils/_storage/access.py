# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service account could do on the shared storage, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import (
    DATA_DIR_MODE,
    Place,
    StorageRequest,
    read_only,
)

_STEPS = {
    "enter": "enter",
    "create": "make a file in",
    "chmod": "change a mode in",
    "rename": "rename a file in",
    "read": "read back a file in",
    "remove": "remove a file from",
}


@dataclass(frozen=True)
class AccessResult:
    """What the service account could do in a folder.

    step: where it ended ("done", or "enter", "device", "create", "chmod", "rename", "read", "owner", "remove", "wait").
    error: errno name such as "EACCES", or empty. where: the path that was used.
    uid, gid: owner that the storage gave to a file of the service account, -1 when it got none.
    folder_uid, folder_gid, folder_mode: of the folder itself, -1 when there is none.
    root_may: whether root, which is not squashed then, could make the folder that the account could not.
    """

    step: str
    error: str
    where: str
    uid: int = -1
    gid: int = -1
    folder_uid: int = -1
    folder_gid: int = -1
    folder_mode: int = -1
    root_may: bool = False

    @property
    def is_left_to_root(self) -> bool:
        """Tell whether the folder is absent, and the account may not make it."""
        return self.step == "create" and self.error in ("EACCES", "EPERM") and self.folder_uid == -1


def judge_places(
    request: StorageRequest, tried: Sequence[tuple[Place, AccessResult]], export: str = ""
) -> list[Problem]:
    """Return what is wrong with the folders that the account needs. export: what is mounted, as server:/path."""
    absent = [place for place, result in tried if result.is_left_to_root and not result.root_may]
    if not absent:
        return [problem for place, result in tried for problem in judge_access(request, result, place.folder)]
    server, _colon, path = export.partition(":/")
    folders = " ".join(f"/{path}/{place.relative}".replace("//", "/") for place in absent)
    return [
        Problem(
            check="storage-access",
            found=f"{' and '.join(place.folder for place in absent)} can't be made, neither by the service account "
            f"({request.uid}:{request.gid}) nor by root of this node",
            why="The data, and the lock that keeps two runs apart, lie there and belong to that account",
            fix=f"On the NFS server {server}, where the export's path may begin otherwise: install -d "
            f"-m {DATA_DIR_MODE:04o} -o {request.uid} -g {request.gid} {folders}",
        )
    ]


def judge_access(request: StorageRequest, result: AccessResult, folder: str) -> list[Problem]:
    """Return why the service account can't work in a folder."""
    if result.is_left_to_root and result.root_may:
        return []
    who = f"The service account ({request.uid}:{request.gid})"
    why = "The service writes, renames and changes modes in its data directory as this account, never as root"
    if result.step == "wait":
        return [
            Problem(
                check="storage-server",
                found=f"{result.where} did not answer in time",
                why="A process that touches a mount whose server is gone waits until the server is back",
                fix="Bring the NFS server back, or correct the network to it",
            )
        ]
    if result.error == "ESTALE":
        return [
            Problem(
                check="storage-stale",
                found=f"{result.where} is a stale file handle",
                why="The server no longer has the folder that this node once mounted",
                fix="Unmount it on this node and run the playbook again: umount -l "
                + (request.path if request.kind == "nfs" else f"with the mount point that {request.path} lies on"),
            )
        ]
    if result.error == "EROFS":
        return [read_only(result.where)]
    if result.step == "device":
        return [
            Problem(
                check="storage-mount",
                found=f"{result.where} is not on the mount that the mount table names",
                why="The data directory must never come to lie on the local disk",
                fix="See what mounts and unmounts it: findmnt, systemctl list-units --type=mount",
            )
        ]
    owner = (result.folder_uid, result.folder_gid)
    if owner != (-1, -1) and owner != (request.uid, request.gid):
        return [
            Problem(
                check="storage-ids",
                found=f"{folder} belongs to {owner[0]}:{owner[1]} instead of {request.uid}:{request.gid}",
                why="Over NFS the numeric ids count: those of the account on every node, and those of its data",
                fix=f"Set rspm_uid and rspm_gid to {owner[0]} and {owner[1]} if the service has those ids, or give it "
                f"to the account on the NFS server, with the path there: chown -R {request.uid}:{request.gid}",
            )
        ]
    if result.step == "owner":
        return [
            Problem(
                check="storage-ids",
                found=f"A file that {request.uid}:{request.gid} made in {result.where} belongs to "
                f"{result.uid}:{result.gid}",
                why="The server maps the service account to another one, whose files it can't chmod or give away",
                fix="Export the folder without all_squash and anonuid, and with one id mapping domain on both sides",
            )
        ]
    if result.step != "done":
        return [
            Problem(
                check="storage-access",
                found=f"{who} could not {_STEPS[result.step]} {result.where}: {result.error}",
                why=why,
                fix="Give it the folder on the NFS server, with its path there, and export it without all_squash: "
                f"chown {request.uid}:{request.gid}; chmod u+rwx",
            )
        ]
    return []
