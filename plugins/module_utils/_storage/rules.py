# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the nodes can work with the shared storage, and what to do with its mount.

Sources: the HA guide (one shared data directory on NFS 3 or 4, new files seen within about 5 s) and the
vendor's pages on files (the service user owns the data directory, mode 0701, and may chmod and rename in it).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import (
    MountEntry,
    OptionDifference,
    cache_settings,
    mount_at,
    mount_of,
    nfs_options,
    option_differences,
    security_of,
)

NEGATIVE_LOOKUP_LIMIT = 5
DATA_DIR_MODE = 0o701
# What a module is told of the storage, for argument_spec
STORAGE_OPTIONS: dict[str, dict[str, Any]] = {
    "kind": {"type": "str", "choices": ["nfs", "existing", "local"], "required": True},
    "path": {"type": "path", "required": True},
    "server": {"type": "str", "default": ""},
    "export": {"type": "str", "default": ""},
    "nfs_version": {"type": "str", "choices": ["3", "4", "4.1", "4.2"], "default": "4.2"},
    "cache": {"type": "str", "default": "lookupcache=pos"},
    "security": {"type": "str", "choices": ["sys", "krb5", "krb5i", "krb5p"], "default": "sys"},
    "options": {"type": "list", "elements": "str", "default": []},
}
# Below the storage's path: the lock, the restore point and the migration's record, as the service account.
OWN_FOLDER = ".rspm-ha"

_VISIBILITY = (
    "A package that another node publishes stays unknown to this one for as long as its NFS client remembers that the "
    "file was not there, and the guide allows about 5 s"
)
_CACHE_FIX = "Use lookupcache=pos, or actimeo or acdirmax (with acdirmin) of at most 5"


@dataclass(frozen=True)
class Place:
    """A folder that the service account needs on the storage. relative: its path as seen from where that is mounted."""

    folder: str
    relative: str


@dataclass(frozen=True)
class StorageRequest:
    """The storage that a node should have.

    kind: "nfs" (the mount is ours), "existing" (the team mounts it) or "local" (a disk of a single node's own).
    source: "server:/export", empty but for "nfs". options: of the mount in fstab, empty but for "nfs".
    uid, gid: numeric ids of the service account.
    """

    kind: str
    path: str
    data_dir: str
    source: str
    options: tuple[str, ...]
    uid: int
    gid: int

    def places(self, mount_point: str) -> tuple[Place, ...]:
        """Return the folders that the service account needs. mount_point: of the mount that the path lies on."""
        base = mount_point if self.kind == "existing" else self.path
        folders = [self.data_dir] if self.kind == "local" else [self.data_dir, f"{self.path}/{OWN_FOLDER}"]
        return tuple(Place(folder, posixpath.relpath(folder, base)) for folder in folders)


@dataclass(frozen=True)
class ServerProbe:
    """Whether a TCP port answered; error is empty when it did."""

    host: str
    port: int
    error: str


@dataclass(frozen=True)
class Holder:
    """A process that keeps a mount from being unmounted. holds: the path, or why it counts."""

    pid: int
    name: str
    holds: str

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.name} (pid {self.pid}, {self.holds})"


def storage_request(
    kind: str,
    path: str,
    data_dir: str,
    server: str,
    export: str,
    nfs_version: str,
    cache: str,
    options: Sequence[str],
    uid: int,
    gid: int,
    security: str = "sys",
) -> StorageRequest:
    """Return the request, or raise DomainError where the options contradict each other."""
    for name, value in (("path", path), ("data directory", data_dir)):
        if posixpath.normpath(value) != value or not value.startswith("/") or value.startswith("//") or value == "/":
            raise DomainError(
                Problem(
                    check="storage-path",
                    found=f"The {name} of the shared storage is {value!r}",
                    why="It has to be one absolute path, without a slash at its end, and not /",
                    fix="Correct rspm_storage_path or rspm_data_dir",
                )
            )
    if not data_dir.startswith(path + "/"):
        raise DomainError(
            Problem(
                check="storage-path",
                found=f"The data directory {data_dir} is not below the mount point {path}",
                why="Only below a mount point can nothing be written to the local disk while the mount is absent",
                fix=f'Set rspm_data_dir to a folder below it, such as "{path}/data"',
            )
        )
    if kind in ("existing", "local"):
        return StorageRequest(kind, path, data_dir, "", (), uid, gid)
    if not server or not export.startswith("/"):
        raise DomainError(
            Problem(
                check="storage-server",
                found=f"The NFS server is {server!r} and its export {export!r}",
                why="Every node mounts the same export, named by its server and its absolute path",
                fix="Set rspm_nfs_server and rspm_nfs_export, or give the group rspm_nfs_server a host",
            )
        )
    if not options and not re.fullmatch(r"lookupcache=(pos|positive|none)|(actimeo|acdirmax)=[0-5]", cache):
        raise DomainError(
            Problem(
                "storage-cache",
                f"rspm_nfs_cache is {cache!r}",
                _VISIBILITY,
                "Use lookupcache=pos, actimeo=N or acdirmax=N with N of at most 5",
            )
        )
    if options and security_of(options) != security:
        raise DomainError(
            Problem(
                "storage-security",
                f"rspm_nfs_options means sec={security_of(options)}, and rspm_nfs_security is {security}",
                "What the export and the mount do has to be one thing, or the nodes are refused",
                f"Set rspm_nfs_security to {security_of(options)}, or write sec={security} into rspm_nfs_options",
            )
        )
    wanted = tuple(options) or tuple(nfs_options(nfs_version, cache, security))
    problem = judge_visibility(wanted, "The mount options asked for")
    if problem:
        raise DomainError(problem)
    host = f"[{server}]" if ":" in server and not server.startswith("[") else server
    return StorageRequest(kind, path, data_dir, f"{host}:{export}", wanted, uid, gid)


def judge_visibility(options: Sequence[str], subject: str) -> Problem | None:
    """Return a Problem when options let a new file stay unseen for longer than NEGATIVE_LOOKUP_LIMIT seconds."""
    seconds = cache_settings(options).negative_lookup_seconds
    if seconds <= NEGATIVE_LOOKUP_LIMIT:
        return None
    return Problem(
        check="storage-cache",
        found=f"{subject} ({','.join(options)}) let a new file stay unseen for up to {seconds} s",
        why=_VISIBILITY,
        fix=_CACHE_FIX,
    )


def judge_delegations(live: Sequence[str], delegations: bool) -> list[Problem]:
    """Return a Problem when the times for caching do not count.

    live: options in force. delegations: whether this kernel asks for directory delegations (Linux 6.19 and newer do,
    of NFS 4.1 and newer). While it has one it does not ask for changes at all. Measured with Linux 7.2 on both sides:
    a file made by another client stayed unseen for as long as was waited (40 s with actimeo=5, 130 s with the
    defaults), and was seen at once with lookupcache=pos or actimeo=0; without delegations it took 5 and 31 s.
    """
    cache = cache_settings(live)
    if not delegations or cache.negative_lookup_seconds == 0 or {"vers=3", "vers=4.0"} & set(live):
        return []
    return [
        Problem(
            check="storage-cache",
            found="The kernel of this node takes directory delegations, and lookupcache=pos is not in force",
            why=_VISIBILITY,
            fix="Use lookupcache=pos, or turn them off on every node: "
            "echo options nfsv4 directory_delegations=0 > /etc/modprobe.d/rspm-nfs.conf, and reboot",
        )
    ]


def judge_server(probes: Sequence[ServerProbe]) -> list[Problem]:
    """Return a Problem for each port of the NFS server that does not answer."""
    return [
        Problem(
            check="storage-server",
            found=f"The NFS server {probe.host} does not answer on TCP port {probe.port}: {probe.error}",
            why="The data directory lies on it, and no node can start without it",
            fix="Start the NFS server, open the port to this node, or correct rspm_nfs_server",
        )
        for probe in probes
        if probe.error
    ]


def judge_mount_failure(source: str, rc: int, said: str) -> Problem:
    """Return the problem of a failed mount(8) of source. said: its standard error in the C locale."""
    text = " ".join(said.split())
    why = "The data directory of every node lies on this mount"
    if rc == 124:
        found, fix = (
            "did not finish in time",
            "See whether the NFS server answers this node: rpcinfo -p with its address",
        )
    elif "access denied" in text or "Permission denied" in text or "not permitted" in text:
        found, fix = "was denied", "Export it to this node's address on the NFS server, and run exportfs -ra there"
    elif "No such file or directory" in text:
        found, fix = "found no such export", "Correct rspm_nfs_export, or export the folder on the NFS server"
    elif "not supported" in text or "incorrect mount option" in text:
        found, fix = "asked for what is not supported", "Correct rspm_nfs_version, or the mount options"
    elif "bad option" in text or "need a /sbin/mount" in text or "unknown filesystem type" in text:
        found, fix = "found no NFS client", "Install the NFS client's package, and a kernel that has NFS"
    else:
        found, fix = "failed", "Start the NFS server, open its ports to this node, or correct rspm_nfs_server"
    return Problem(check="storage-mount", found=f"The mount of {source} {found} ({rc}: {text})", why=why, fix=fix)


def decide_mount(request: StorageRequest, entries: Sequence[MountEntry]) -> tuple[str, list[OptionDifference]]:
    """Return what is to be done with the mount: "mount", "change" (with what differs) or "keep".

    Raises DomainError where a mount is there that the collection must not change or can't use.
    """
    if request.kind == "existing":
        problems = judge_existing(request, entries)
        if problems:
            raise DomainError(problems[0])
        return "keep", []
    if request.kind == "local":
        problems = judge_local(request, entries)
        if problems:
            raise DomainError(problems[0])
        return "keep", []
    entry = mount_at(entries, request.path)
    if entry is None:
        return "mount", []
    if not entry.is_nfs or entry.source.rstrip("/") != request.source.rstrip("/"):
        raise DomainError(
            Problem(
                check="storage-type",
                found=f"{entry.source} of type {entry.fstype} is mounted at {request.path} instead of the NFS "
                f"export {request.source}",
                why="Another file system holds other data, and the nodes must all have the same",
                fix="Move the data if it is still wanted, take the mount out of /etc/fstab, and unmount it: "
                f"umount {request.path}",
            )
        )
    differences = option_differences(request.options, entry.live_options)
    return ("change", differences) if differences else ("keep", [])


def judge_existing(request: StorageRequest, entries: Sequence[MountEntry]) -> list[Problem]:
    """Return what is wrong with a mount that the team makes itself, as far as the mount table shows it."""
    entry = mount_of(entries, request.path)
    if entry is None or not entry.is_nfs:
        there = "nothing" if entry is None or entry.mount_point == "/" else f"{entry.source} of type {entry.fstype}"
        return [
            Problem(
                check="storage-type",
                found=f"{there[0].upper()}{there[1:]} is mounted at {request.path}, where an NFS mount was to be found",
                why="The data directory has to be one shared location, and the guide supports NFS 3 and 4 for it",
                fix="Mount the share there on every node, or set rspm_storage_kind to nfs to have it mounted",
            )
        ]
    problems = []
    if "ro" in entry.live_options:
        problems.append(read_only(request.path))
    problem = judge_visibility(entry.live_options, f"The options of the mount at {entry.mount_point}")
    if problem:
        problems.append(problem)
    return problems


def judge_local(request: StorageRequest, entries: Sequence[MountEntry]) -> list[Problem]:
    """Return a Problem where the local disk of a single node is not local."""
    entry = mount_of(entries, request.data_dir)
    if entry is None or not entry.is_nfs:
        return []
    return [
        Problem(
            check="storage-type",
            found=f"{entry.source} is mounted at {entry.mount_point}, where a local disk was to be found",
            why="Nothing makes sure then that the share is mounted before the server starts",
            fix="Set rspm_storage_kind to nfs or existing, or rspm_data_dir to a folder on a local disk",
        )
    ]


def judge_after_mount(request: StorageRequest, entries: Sequence[MountEntry]) -> list[Problem]:
    """Return a Problem when the mount that was just made is not the wanted one."""
    action, differences = decide_mount(request, entries)
    if action == "keep":
        return []
    found = "; ".join(str(difference) for difference in differences) or "it is not in the mount table"
    return [
        Problem(
            check="storage-options",
            found=f"{request.source} was mounted at {request.path}, but {found}",
            why="What is in /etc/fstab is not what came into force, and the same would happen at the next boot",
            fix=f"See what the kernel made of it, and correct the options: findmnt {request.path}; dmesg",
        )
    ]


def judge_hidden(path: str, names: Sequence[str]) -> list[Problem]:
    """Return a Problem when the folder to mount on holds files. names: its entries, while nothing is mounted there."""
    if not names:
        return []
    shown = ", ".join(sorted(names)[:5])
    return [
        Problem(
            check="storage-hidden",
            found=f"The mount point {path} holds {len(names)} entries on the local disk: {shown}",
            why="A mount would hide them, and they may be data that was written while the mount was absent",
            fix=f"Move them away, and run the playbook again: mv {path} {path}.local",
        )
    ]


def judge_holders(path: str, differences: Sequence[OptionDifference], holders: Sequence[Holder]) -> list[Problem]:
    """Return a Problem when the mount has to be taken away for a moment and somebody holds it."""
    if not holders:
        return []
    changes = "; ".join(str(difference) for difference in differences)
    held = ", ".join(str(holder) for holder in holders[:5])
    return [
        Problem(
            check="storage-busy",
            found=f"The mount at {path} has to be made anew ({changes}), and it is held by {held}",
            why="A remount does not take these options, and unmounting it under a running service breaks its requests",
            fix="Stop what holds it on this node only (systemctl stop rstudio-pm), run the playbook again with --limit "
            "for this node, and go on with the next node",
        )
    ]


def read_only(where: str) -> Problem:
    """Return the Problem of a place that can't be written to."""
    return Problem(
        check="storage-read-only",
        found=f"{where} is read-only",
        why="Every node writes packages and metadata into the data directory",
        fix="Mount it with rw, and export it with rw on the NFS server",
    )
