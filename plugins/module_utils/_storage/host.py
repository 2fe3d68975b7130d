# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at mounts and touches what lies on them, so that a dead NFS server can't hang the caller.

Whatever touches a mount does so in a child process with the ids of the service account (root may be squashed), under a
time limit: a process that waits for an NFS server can be killed, but does not come back by itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable

from ansible_collections.rspm.ha.plugins.module_utils._core.host_child import in_child
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import (
    give_folder,
    make_folder,
    read_text,
    write_file,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_process import lives
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage.access import AccessResult
from ansible_collections.rspm.ha.plugins.module_utils._storage.fstab import FSTAB
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import (
    MountEntry,
    kernel_options,
    mount_at,
    mount_of,
    parse_mountinfo,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import (
    DATA_DIR_MODE,
    Place,
    ServerProbe,
    StorageRequest,
    judge_mount_failure,
)

Tried = list[tuple[Place, AccessResult]]


def read_mounts(path: str = "", timeout: float = 30) -> list[MountEntry]:
    """Return the mount table; an automount at path is triggered first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        entries = parse_mountinfo(table.read())
    entry = mount_of(entries, path) if path else None
    if entry is None or entry.fstype != "autofs":
        return entries
    in_child(lambda: {"names": len(os.listdir(path))}, os.geteuid(), os.getegid(), timeout)
    return read_mounts()


def probe_nfs_server(host: str, version: str, timeout: float) -> list[ServerProbe]:
    """Connect to the TCP ports that an NFS client of this version needs; timeout in seconds for each."""
    probes = []
    for port in (2049, 111) if version == "3" else (2049,):
        try:
            socket.create_connection((host, port), timeout).close()
            error = ""
        except OSError as failure:
            error = failure.strerror or str(failure)
        probes.append(ServerProbe(host, port, error))
    return probes


def answers(entry: MountEntry, timeout: float) -> bool:
    """Tell whether the NFS server of a mount can be connected to."""
    server = entry.source.rpartition(":/")[0].strip("[]")
    return bool(server) and not any(probe.error for probe in probe_nfs_server(server, "4", timeout))


def read_delegations() -> bool:
    """Tell whether this kernel asks for NFS directory delegations; known once a mount has loaded its module."""
    try:
        with open("/sys/module/nfsv4/parameters/directory_delegations", encoding="ascii") as parameter:
            return parameter.read().strip() == "Y"
    except OSError:
        return False


def list_names(path: str) -> list[str]:
    """Return the entries of a local folder, none when it does not exist."""
    return os.listdir(path) if os.path.isdir(path) else []


class _Steps:
    """Remembers how far a child came on the way to a place, for AccessResult."""

    def __init__(self, root: str, place: Place, device: str) -> None:
        self.root, self.place, self.device = root, place, device
        self.result: dict[str, Any] = {"step": "enter", "error": "", "where": root}

    def open_folder(self, make: Callable[[str, int], None] | None = None, *, follow: bool = False) -> int:
        """Return the deepest folder on the way that exists, all of it with make, which makes one.

        It need not be readable. follow: whether through links, which nobody else than the account may.
        """
        flags = os.O_PATH | os.O_DIRECTORY
        folder = os.open(self.root, flags)
        found = os.fstat(folder).st_dev
        if self.device != f"{os.major(found)}:{os.minor(found)}":
            self.result["step"] = "device"
            raise OSError(errno.EXDEV, "another file system")
        names = self.place.relative.split("/")
        for number, name in enumerate(names, 1):
            if make:
                self.result["step"] = "create"
                with contextlib.suppress(FileExistsError):
                    make(name, folder)
            try:
                facts = os.stat(name, dir_fd=folder)
            except FileNotFoundError:
                break
            self.result["where"] += "/" + name
            if number == len(names):
                self.note_folder(facts)
            folder = os.open(name, flags | (0 if follow else os.O_NOFOLLOW), dir_fd=folder)
        return folder

    def note_folder(self, facts: os.stat_result) -> None:
        """Note owner and mode of the folder itself."""
        self.result["folder_uid"], self.result["folder_gid"] = facts.st_uid, facts.st_gid
        self.result["folder_mode"] = stat.S_IMODE(facts.st_mode)

    def run(self, work: Callable[[], None]) -> dict[str, Any]:
        """Do work; what it raises goes into the result."""
        try:
            work()
        except OSError as error:
            self.result["error"] = errno.errorcode.get(error.errno or 0, str(error))
        else:
            self.result["step"] = "done"
        return self.result


def _access_result(answer: dict[str, Any] | None, root: str) -> AccessResult:
    if answer is None:
        return AccessResult("wait", "", root)
    if "errno" in answer:
        return AccessResult("enter", errno.errorcode.get(answer["errno"], str(answer["errno"])), root)
    return AccessResult(**answer["result"])


def try_access(
    request: StorageRequest, place: Place, root: str, device: str, timeout: float, write: bool = True
) -> AccessResult:
    """Let the service account look at a place below root and, with write, work with a file of its own.

    root: where the storage is mounted now. device: "major:minor" of that mount, so that the local disk below an absent
    mount is never touched. Where the folder is absent the file is made, and removed, in the one that would hold it.
    Where the account may not, root tries whether it could make a folder there and give it away.
    """

    def work() -> dict[str, Any]:
        steps = _Steps(root, place, device)

        def act() -> None:
            folder = steps.open_folder(follow=True)
            if write:
                _work_with_a_file(folder, request.uid, steps)

        return steps.run(act)

    def give_away() -> dict[str, Any]:
        steps = _Steps(root, place, device)

        def act() -> None:
            folder = steps.open_folder()
            name = f".rspm-probe-{socket.gethostname()}-{os.getpid()}"
            _make_for(request, name, folder)
            os.rmdir(name, dir_fd=folder)

        return steps.run(act)

    result = _access_result(in_child(work, request.uid, request.gid, timeout), root)
    if result.error == "ESTALE":
        # a folder below the mount that the server has made anew is looked up again now
        result = _access_result(in_child(work, request.uid, request.gid, timeout), root)
    if write and result.is_left_to_root:
        root_may = _access_result(in_child(give_away, os.geteuid(), os.getegid(), timeout), root).step == "done"
        return replace(result, root_may=root_may)
    return result


def _make_for(request: StorageRequest, name: str, folder: int) -> None:
    """Make a folder and give it to the service account; where that is denied there is none afterwards."""
    os.mkdir(name, DATA_DIR_MODE, dir_fd=folder)
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        if os.listdir(made):
            # who may write here has put another one in its place
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        os.fchmod(made, DATA_DIR_MODE)
        if os.geteuid() != request.uid:
            os.fchown(made, request.uid, request.gid)
    except OSError:
        os.rmdir(name, dir_fd=folder)
        raise
    finally:
        os.close(made)


def try_places(request: StorageRequest, entry: MountEntry, timeout: float, write: bool = True, root: str = "") -> Tried:
    """Let the service account try every folder that it needs. root: of a trial mount, where it is not the real one."""
    root = root or (entry.mount_point if request.kind == "existing" else request.path)
    return [
        (place, try_access(request, place, root, entry.device, timeout, write))
        for place in request.places(entry.mount_point)
    ]


def _work_with_a_file(folder: int, uid: int, steps: _Steps) -> None:
    result = steps.result
    # two people may look at one node at once
    prefix = f".rspm-probe-{socket.gethostname()}-"
    name = f"{prefix}{os.getpid()}"
    result["step"] = "create"
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    # one that had to be killed while it waited for the server left its folder behind
    for left in os.listdir(folder):
        process = left[len(prefix) :]
        if left.startswith(prefix) and process.isdigit() and not lives(int(process)):
            _remove_probe(folder, left)
    os.mkdir(name, 0o700, dir_fd=folder)
    probe = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        file = os.open("new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=probe)
        try:
            os.write(file, b"rspm")
            os.fsync(file)
            result["step"] = "chmod"
            os.chmod("new", 0o600, dir_fd=probe)
            result["step"] = "rename"
            os.rename("new", "old", src_dir_fd=probe, dst_dir_fd=probe)
            result["step"] = "read"
            os.lseek(file, 0, os.SEEK_SET)
            if os.read(file, 4) != b"rspm" or stat.S_IMODE(os.fstat(file).st_mode) != 0o600:
                raise OSError(errno.EIO, "it does not keep what it is given")
            result["uid"], result["gid"] = os.fstat(file).st_uid, os.fstat(file).st_gid
        finally:
            os.close(file)
        result["step"] = "remove"
        os.unlink("old", dir_fd=probe)
    finally:
        os.close(probe)
        _remove_probe(folder, name)
    if result["uid"] != uid:
        result["step"] = "owner"
        raise OSError(errno.EPERM, "another owner")


def _remove_probe(folder: int, name: str) -> None:
    # another one clears the same away
    with contextlib.suppress(FileNotFoundError):
        probe = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        try:
            for left in os.listdir(probe):
                os.unlink(left, dir_fd=probe)
        finally:
            os.close(probe)
        os.rmdir(name, dir_fd=folder)


def make_place(request: StorageRequest, place: Place, entry: MountEntry, timeout: float) -> AccessResult:
    """Make a folder for the service account, with its mode: as that account, or as root where it may not."""
    root = entry.mount_point if request.kind == "existing" else request.path

    def work() -> dict[str, Any]:
        steps = _Steps(root, place, entry.device)

        def act() -> None:
            folder = steps.open_folder(make=lambda name, parent: _make_for(request, name, parent))
            steps.result["step"] = "chmod"
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            facts = os.fstat(folder)
            if facts.st_uid == os.geteuid():
                os.fchmod(folder, DATA_DIR_MODE)
            steps.note_folder(os.fstat(folder))

        return steps.run(act)

    result = _access_result(in_child(work, request.uid, request.gid, timeout), root)
    if result.is_left_to_root:
        result = _access_result(in_child(work, os.geteuid(), os.getegid(), timeout), root)
    return result


def make_local(request: StorageRequest) -> None:
    """Make the folder on a local disk that the data directory will lie in, for the service account."""
    make_folder(request.path, DATA_DIR_MODE)
    give_folder(request.path, request.uid, request.gid, DATA_DIR_MODE)


@contextmanager
def trial_mount(run: Runner, request: StorageRequest, timeout: float) -> Iterator[MountEntry]:
    """Mount the storage at a private folder for as long as the context lasts."""
    folder = tempfile.mkdtemp(prefix="rspm-trial-", dir="/run")
    try:
        options = ",".join([*kernel_options(request.options), "retry=0"])
        _mount(run, ["mount", "-t", "nfs", "-o", options, request.source, folder], request.source, timeout)
        try:
            entry = mount_at(read_mounts(), folder)
            if entry is None:
                raise DomainError(judge_mount_failure(request.source, 0, "it is not in the mount table afterwards"))
            yield entry
        finally:
            if run(["umount", folder], timeout=timeout).rc != 0:
                run(["umount", "-l", folder], timeout=timeout)
    finally:
        os.rmdir(folder)


def try_unmounted(run: Runner, request: StorageRequest, timeout: float) -> tuple[MountEntry, Tried]:
    """Try every folder at a trial mount, which is returned too; the results name the source in its place."""
    with trial_mount(run, request, timeout) as entry:
        tried = try_places(request, entry, timeout, root=entry.mount_point)
    return entry, [
        (place, replace(result, where=result.where.replace(entry.mount_point, request.source, 1)))
        for place, result in tried
    ]


def mount_from_fstab(run: Runner, request: StorageRequest, timeout: float) -> None:
    """Mount what fstab has for the path, with one attempt instead of the boot's many."""
    # with its parents, which the service account has to pass
    make_folder(request.path)
    _mount(run, ["mount", "-o", "retry=0", request.path], request.source, timeout)


def _mount(run: Runner, argv: list[str], source: str, timeout: float) -> None:
    done = run(argv, timeout=timeout)
    if done.rc != 0:
        raise DomainError(judge_mount_failure(source, done.rc, done.stderr))


def unmount(run: Runner, path: str, timeout: float) -> None:
    """Unmount path, or raise DomainError when it is busy."""
    run(["umount", path], check=True, timeout=timeout)


def read_fstab() -> str:
    """Return the text of /etc/fstab, nothing where there is none."""
    return read_text(FSTAB) or ""


def write_fstab(text: str) -> None:
    """Replace /etc/fstab."""
    mode = stat.S_IMODE(os.stat(FSTAB).st_mode) if os.path.exists(FSTAB) else 0o644
    write_file(os.path.realpath(FSTAB), text, mode)


def unit_is_outdated(run: Runner, path: str) -> bool:
    """Tell whether systemd does not know the mount as fstab has it now."""
    unit = run(["systemd-escape", "--path", "--suffix=mount", path], check=True).stdout.strip()
    shown = run(["systemctl", "show", unit, "--property=NeedDaemonReload,SourcePath"], check=True).stdout.split()
    return "NeedDaemonReload=yes" in shown or "SourcePath=/etc/fstab" not in shown


def reload_units(run: Runner) -> None:
    """Let systemd read fstab again."""
    run(["systemctl", "daemon-reload"], check=True)
