# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host does to folders and mounts: on a folder of this machine, as the user who runs the tests."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._storage import host
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_holders import list_holders
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, nfs_options
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import Place, StorageRequest


@pytest.fixture
def local(tmp_path: Path) -> StorageRequest:
    root = str(tmp_path)
    return StorageRequest("existing", root, f"{root}/data", "", (), os.getuid(), os.getgid())


def device_of(path: str) -> str:
    found = os.stat(path).st_dev
    return f"{os.major(found)}:{os.minor(found)}"


def mounted(request: StorageRequest, at: str = "") -> MountEntry:
    at = at or request.path
    return MountEntry(device_of(at), "/", at, (), "nfs4", "nfs:/srv", ())


def data(request: StorageRequest) -> Place:
    return request.places(request.path)[0]


def test_the_account_tries_everything_and_leaves_nothing(local: StorageRequest) -> None:
    result = host.try_access(local, data(local), local.path, device_of(local.path), 10)
    assert (result.step, result.error, result.uid, result.folder_mode) == ("done", "", os.getuid(), -1)
    assert os.listdir(local.path) == []


def test_two_who_look_at_once_are_not_in_each_others_way(local: StorageRequest) -> None:
    device = device_of(local.path)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _number: host.try_access(local, data(local), local.path, device, 30), range(80)))
    assert {(result.step, result.error) for result in results} == {("done", "")}
    assert os.listdir(local.path) == []


def test_what_a_killed_probe_left_is_cleared_away(local: StorageRequest) -> None:
    # no process has this number
    left = Path(local.path) / f".rspm-probe-{socket.gethostname()}-{2**22 + 1}"
    left.mkdir()
    (left / "new").write_text("rspm")
    assert host.try_access(local, data(local), local.path, device_of(local.path), 10).step == "done"
    assert os.listdir(local.path) == []


def test_the_data_directory_is_made_with_its_mode_and_found_again(local: StorageRequest) -> None:
    device = device_of(local.path)
    assert host.make_place(local, data(local), mounted(local), 10).step == "done"
    assert stat.S_IMODE(os.stat(local.data_dir).st_mode) == 0o701
    result = host.try_access(local, data(local), local.path, device, 10)
    assert (result.where, result.folder_mode, result.folder_uid) == (local.data_dir, 0o701, os.getuid())
    os.chmod(local.data_dir, 0o755)
    assert host.make_place(local, data(local), mounted(local), 10).folder_mode == 0o701


def test_nothing_is_made_on_another_file_system_than_the_mount(local: StorageRequest) -> None:
    elsewhere = replace(mounted(local), device="0:9999")
    for result in (
        host.try_access(local, data(local), local.path, "0:9999", 10),
        host.make_place(local, data(local), elsewhere, 10),
    ):
        assert (result.step, result.error) == ("device", "EXDEV")
    assert os.listdir(local.path) == []


def test_without_write_nothing_is_written(local: StorageRequest) -> None:
    before = os.stat(local.path).st_mtime_ns
    assert host.try_access(local, data(local), local.path, device_of(local.path), 10, write=False).step == "done"
    assert os.stat(local.path).st_mtime_ns == before


def test_a_storage_that_does_not_answer_is_given_up(local: StorageRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host._Steps, "open_folder", lambda *_args, **_options: time.sleep(60))
    assert host.try_access(local, data(local), local.path, "0:1", 0.2).step == "wait"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_account_is_the_service_and_not_root(local: StorageRequest) -> None:
    stranger = StorageRequest("existing", local.path, local.data_dir, "", (), 54321, 54321)
    result = host.try_access(stranger, data(local), local.path, device_of(local.path), 10)
    assert result.error == "EACCES"


STRANGER = 54321


def below(mount: Path, mode: int) -> StorageRequest:
    """Return a storage that is a folder of a mount whose root is root's."""
    mount.chmod(mode)
    return StorageRequest("existing", f"{mount}/team/rspm", f"{mount}/team/rspm/data", "", (), STRANGER, STRANGER)


@pytest.fixture
def reachable() -> Iterator[Path]:
    # pytest's own folders are closed to everybody else
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "mount").mkdir()
        yield Path(folder) / "mount"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("mode", [0o755, 0o711])
def test_root_makes_what_the_account_may_not(reachable: Path, mode: int) -> None:
    request = below(reachable, mode)
    entry = mounted(request, str(reachable))
    tried = host.try_places(request, entry, 10)
    assert [place.relative for place, _result in tried] == ["team/rspm/data", "team/rspm/.rspm-ha"]
    assert {(result.is_left_to_root, result.root_may) for _place, result in tried} == {(True, True)}
    assert os.listdir(reachable) == []
    for place, _result in tried:
        made = host.make_place(request, place, entry, 10)
        assert (made.step, made.folder_uid, made.folder_gid, made.folder_mode) == ("done", STRANGER, STRANGER, 0o701)
    assert {result.step for _place, result in host.try_places(request, entry, 10)} == {"done"}
    assert os.stat(request.path).st_uid == STRANGER


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be squashed")
def test_a_root_that_is_squashed_makes_nothing(reachable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, "squashed")

    monkeypatch.setattr(os, "fchown", refuse)
    request = below(reachable, 0o755)
    entry = mounted(request, str(reachable))
    for place, result in host.try_places(request, entry, 10):
        assert (result.is_left_to_root, result.root_may) == (True, False)
        assert host.make_place(request, place, entry, 10).error == "EPERM"
    assert os.listdir(reachable) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be misled")
def test_root_follows_no_link(reachable: Path) -> None:
    request = below(reachable, 0o755)
    (reachable.parent / "elsewhere").mkdir()
    (reachable / "team").symlink_to(reachable.parent / "elsewhere")
    entry = mounted(request, str(reachable))
    for place in request.places(str(reachable)):
        assert host.make_place(request, place, entry, 10).step != "done"
    assert os.listdir(reachable.parent / "elsewhere") == []


def test_parents_are_passable_whatever_the_umask_is(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    request = StorageRequest("local", str(path), f"{path}/data", "", (), os.getuid(), os.getgid())
    old = os.umask(0o077)
    try:
        host.make_local(request)
        host.mount_from_fstab(
            lambda *_arguments, **_more: CompletedCommand(0, "", ""), replace(request, path=f"{tmp_path}/c/d"), 5
        )
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE(path.stat().st_mode) == 0o701
    for made in ("c", "c/d"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o755


def test_who_holds_a_mount_is_found(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.write(writer, b"x")
        signal.pause()
    try:
        os.read(reader, 1)
        holders = list_holders(str(tmp_path), 54321)
        assert [(holder.pid, holder.holds) for holder in holders] == [(child, str(tmp_path))]
        assert list_holders(str(tmp_path) + "x", 54321) == []
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_the_trial_leaves_nothing_whatever_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    ran: list[list[str]] = []

    def make(**_options: Any) -> str:
        folder.mkdir()
        return str(folder)

    def run(argv: list[str], **_options: Any) -> CompletedCommand:
        ran.append(argv)
        return CompletedCommand(0, "", "")

    options = tuple(nfs_options("4.2", "lookupcache=pos"))
    request = StorageRequest("nfs", "/mnt/x", "/mnt/x/data", "nfs:/srv/rstudio-pm", options, 940, 940)
    monkeypatch.setattr(tempfile, "mkdtemp", make)

    monkeypatch.setattr(host, "read_mounts", lambda: [MountEntry("0:1", "/", str(folder), (), "nfs4", "s", ())])
    with pytest.raises(RuntimeError), host.trial_mount(run, request, 5):
        raise RuntimeError
    assert not folder.exists()
    told = "rw,hard,vers=4.2,lookupcache=pos,retry=0"
    assert ran == [["mount", "-t", "nfs", "-o", told, "nfs:/srv/rstudio-pm", str(folder)], ["umount", str(folder)]]


def test_systemd_is_asked_whether_it_knows_fstab() -> None:
    def run_with(shown: str) -> Any:
        def run(argv: list[str], **_options: Any) -> CompletedCommand:
            return CompletedCommand(0, shown if argv[0] == "systemctl" else "mnt-rstudio\\x2dpm.mount\n", "")

        return run

    assert not host.unit_is_outdated(run_with("SourcePath=/etc/fstab\nNeedDaemonReload=no\n"), "/mnt/rstudio-pm")
    assert host.unit_is_outdated(run_with("SourcePath=/etc/fstab\nNeedDaemonReload=yes\n"), "/mnt/rstudio-pm")
    assert host.unit_is_outdated(run_with("SourcePath=\nNeedDaemonReload=no\n"), "/mnt/rstudio-pm")


@pytest.mark.parametrize(("times", "step"), [(1, "done"), (2, "enter")])
def test_a_folder_that_the_server_made_anew_is_looked_up_again(
    local: StorageRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int, step: str
) -> None:
    real, asked = os.stat, tmp_path.parent / f"{tmp_path.name}-asked"

    def stale(path: Any, **options: Any) -> os.stat_result:
        if options:
            with open(asked, "a+", encoding="ascii") as file:
                file.write("x")
            if real(asked).st_size <= times:
                raise OSError(errno.ESTALE, "stale")
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stale)
    assert host.try_access(local, data(local), local.path, device_of(local.path), 10).step == step
