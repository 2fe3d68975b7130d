# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order in which the module storage_mount does things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import OUT_OF_TIME, CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage import host as storage_host
from ansible_collections.rspm.ha.plugins.module_utils._storage.access import AccessResult
from ansible_collections.rspm.ha.plugins.module_utils._storage.fstab import detached_text, with_mount
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_fstab import take_away
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, parse_mountinfo
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import (
    Holder,
    Place,
    ServerProbe,
    StorageRequest,
)
from ansible_collections.rspm.ha.plugins.modules import storage_mount
from ansible_collections.rspm.ha.plugins.modules.storage_mount import Storage
from tests.unit.worlds.storage_requests import ASKED, LIVE, NO_MOUNT, asked, table


class Recorder:
    """Stands for the storage_host: answers from what a test sets, and writes down what is done to the host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, entries: list[MountEntry]) -> None:
        self.entries, self.done = entries, list[str]()
        self.umount_codes: dict[str, int] = {}
        self.seconds = 0.0
        self.holders: list[Holder] = []
        self.names: list[str] = []
        self.probes: list[ServerProbe] = []
        self.access = AccessResult("done", "", "/m", 940, 940, 940, 940, 0o701)
        self.own = AccessResult("done", "", "/m/.rspm-ha", 940, 940, 940, 940, 0o750)
        self.mount_gives = self.trial_gives = table()
        monkeypatch.setattr(storage_host, "read_mounts", lambda *_args: self.entries)
        monkeypatch.setattr(storage_mount, "list_holders", lambda *_args: self.holders)
        monkeypatch.setattr(storage_host, "list_names", lambda *_args: self.names)
        monkeypatch.setattr(storage_host, "probe_nfs_server", lambda *_args: self.probes)
        self.fstab = with_mount("", asked().source, asked().path, asked().options)
        monkeypatch.setattr(storage_host, "read_fstab", lambda: self.fstab)
        monkeypatch.setattr(storage_host, "write_fstab", self.write_fstab)
        monkeypatch.setattr(storage_host, "reload_units", lambda _run: self.done.append("reload"))
        self.delegations = False
        monkeypatch.setattr(storage_host, "read_delegations", lambda: self.delegations)
        monkeypatch.setattr(storage_host, "try_places", self.try_places)
        monkeypatch.setattr(storage_host, "make_place", self.make_place)
        monkeypatch.setattr(storage_host, "trial_mount", self.trial_mount)
        monkeypatch.setattr(storage_host, "mount_from_fstab", self.mount)
        monkeypatch.setattr(storage_host, "unmount", self.unmount)
        monkeypatch.setattr(storage_host, "unit_is_outdated", lambda *_args: False)

    def try_places(
        self, request: StorageRequest, entry: MountEntry, _timeout: float, write: bool = True, root: str = ""
    ) -> list[tuple[Place, AccessResult]]:
        self.done.append("write" if write else "look")
        data, own = request.places(entry.mount_point)
        return [(data, self.access), (own, self.own)]

    def make_place(self, _request: StorageRequest, place: Place, *_args: Any) -> AccessResult:
        self.done.append("make data" if place.folder.endswith("/data") else "make own")
        return AccessResult("done", "", "/m", folder_uid=940, folder_gid=940, folder_mode=0o701)

    @contextmanager
    def trial_mount(self, *_args: Any) -> Iterator[MountEntry]:
        self.done.append("trial")
        yield self.trial_gives[1]

    def write_fstab(self, text: str) -> None:
        self.done.append("fstab")
        self.fstab = text

    def mount(self, *_args: Any) -> None:
        self.done.append("mount")
        self.entries = self.mount_gives

    def unmount(self, *_args: Any) -> None:
        self.done.append("unmount")
        self.entries = NO_MOUNT

    def umount(self, argv: list[str], **options: Any) -> CompletedCommand:
        self.done.append(" ".join(argv))
        self.seconds += options["timeout"]
        code = self.umount_codes.get(argv[1], 0)
        if code == 0:
            self.entries = NO_MOUNT
        return CompletedCommand(code, "", "target is busy" if code == 32 else "")


def module(check_mode: bool = False) -> Any:
    params = {**ASKED, "timeout": 5}
    warnings: list[str] = []
    return SimpleNamespace(params=params, check_mode=check_mode, warn=warnings.append, warnings=warnings)


def no_commands(*_args: Any, **_options: Any) -> CompletedCommand:
    raise AssertionError("a command was run")


def storage(check_mode: bool = False) -> Storage:
    return Storage(module(check_mode), asked(), no_commands)


def test_a_new_mount_is_tried_before_anything_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, NO_MOUNT)
    call = storage()
    call.check_ready()
    assert host.done == ["trial", "write"] and not call.changed
    assert call.result()["options"] == list(asked().options)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"names": ["old.txt"]}, "storage-hidden"),
        ({"probes": [ServerProbe("nfs", 2049, "Connection refused")]}, "storage-server"),
        ({"access": AccessResult("create", "EROFS", "/run/trial")}, "storage-read-only"),
        ({"access": AccessResult("owner", "EPERM", "/run/trial", 65534, 65534)}, "storage-ids"),
        ({"entries": table(fstype="ext4")}, "storage-type"),
    ],
)
def test_a_fault_stops_it_with_nothing_changed(
    monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], check: str
) -> None:
    host = Recorder(monkeypatch, NO_MOUNT)
    vars(host).update(fault)
    with pytest.raises(DomainError) as error:
        storage().check_ready()
    assert error.value.problems[0].check == check
    assert not {"mount", "unmount", "make data"} & set(host.done)


def test_a_missing_mount_is_made_with_its_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, NO_MOUNT)
    host.access = AccessResult("done", "", "/m", 940, 940)
    call = storage()
    call.bring_up()
    assert host.done == ["mount", "write", "make data"]
    result = call.result()
    assert result["changed"] and result["source"] == "nfs:/srv/rstudio-pm"
    assert result["diff"]["before"] == {"mounted": False, "data_dir_mode": "absent"}
    assert result["diff"]["after"] == {"mounted": True, "data_dir_mode": "0701"}


def test_a_server_that_is_gone_is_named_before_anything_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table())
    host.probes = [ServerProbe("nfs", 2049, "timed out")]
    for check_mode in (False, True):
        with pytest.raises(DomainError) as error:
            storage(check_mode).check_ready()
        assert error.value.problems[0].check == "storage-server"
    assert host.done == []


def test_times_that_do_not_count_on_this_kernel_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LIVE.replace("lookupcache=pos", "acregmin=5,acregmax=5,acdirmin=5,acdirmax=5")
    for entries in (table(live), NO_MOUNT):
        host = Recorder(monkeypatch, entries)
        host.delegations, host.trial_gives = True, table(live)
        with pytest.raises(DomainError) as error:
            Storage(module(), asked(cache="actimeo=5"), no_commands).check_ready()
        assert error.value.problems[0].check == "storage-cache"
        assert "directory delegations" in error.value.problems[0].found


def test_a_second_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table())
    for work in ("check_ready", "bring_up"):
        call = storage()
        getattr(call, work)()
        assert not call.changed
    assert host.done == ["write", "write"]


def test_other_options_are_changed_only_while_nobody_holds_the_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    other = table(LIVE.replace("lookupcache=pos,", ""))
    host = Recorder(monkeypatch, other)
    host.holders = [Holder(7, "rstudio-pm", "/mnt/rstudio-pm/data/db")]
    for work in ("check_ready", "bring_up"):
        with pytest.raises(DomainError) as error:
            getattr(storage(), work)()
        assert error.value.problems[0].check == "storage-busy"
        assert "rstudio-pm (pid 7, /mnt/rstudio-pm/data/db)" in error.value.problems[0].found
    assert host.done == []
    host.holders = []
    call = storage()
    call.bring_up()
    assert host.done == ["unmount", "mount", "write"]
    assert call.result()["diff"]["before"] == {"mounted": True, "lookupcache": "all"}
    assert call.result()["diff"]["after"] == {"mounted": True, "lookupcache": "pos"}


def test_an_option_that_did_not_come_into_force_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, NO_MOUNT)
    host.mount_gives = table(LIVE.replace("vers=4.2", "vers=4.1"))
    with pytest.raises(DomainError) as error:
        storage().bring_up()
    assert error.value.problems[0].check == "storage-options"
    assert "vers is 4.1 instead of 4.2" in error.value.problems[0].found


@pytest.mark.parametrize("entries", [NO_MOUNT, table(LIVE.replace("lookupcache=pos,", ""))])
def test_check_mode_predicts_and_touches_nothing(monkeypatch: pytest.MonkeyPatch, entries: list[MountEntry]) -> None:
    host = Recorder(monkeypatch, entries)
    host.probes = [ServerProbe("nfs", 2049, "Connection refused")]
    call = storage(check_mode=True)
    call.check_ready()
    assert not call.changed and call.module.warnings == []
    call = storage(check_mode=True)
    call.bring_up()
    assert call.changed and host.done == []


def test_check_mode_looks_at_a_mount_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table())
    host.access = AccessResult("done", "", "/m", -1, -1, 940, 940, 0o755)
    call = storage(check_mode=True)
    call.bring_up()
    assert call.changed and host.done == ["look"]


SUB = {"kind": "existing", "path": "/mnt/rstudio-pm/a", "data_dir": "/mnt/rstudio-pm/a/data"}


def existing() -> Storage:
    return Storage(module(), asked(**SUB), no_commands)


def test_what_the_account_may_not_make_is_made_by_root(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table())
    host.access = host.own = AccessResult("create", "EACCES", "/mnt/rstudio-pm", root_may=True)
    existing().check_ready()
    call = existing()
    call.bring_up()
    assert call.changed and host.done == ["write", "write", "make data", "make own"]


def test_what_nobody_on_the_node_may_make_is_refused_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table())
    host.access = host.own = AccessResult("create", "EACCES", "/mnt/rstudio-pm")
    for work in ("check_ready", "bring_up"):
        with pytest.raises(DomainError) as error:
            getattr(existing(), work)()
        assert error.value.problems[0].check == "storage-access"
        assert error.value.problems[0].fix.endswith(
            "install -d -m 0701 -o 940 -g 940 /srv/rstudio-pm/a/data /srv/rstudio-pm/a/.rspm-ha"
        )
    assert host.done == ["write", "write"]


def test_a_lock_that_nobody_could_take_is_refused_although_the_data_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, NO_MOUNT)
    host.own = AccessResult("create", "EACCES", "/run/rspm-trial-x")
    with pytest.raises(DomainError) as error:
        storage().check_ready()
    assert error.value.problems[0].fix.endswith("install -d -m 0701 -o 940 -g 940 /srv/rstudio-pm/.rspm-ha")
    assert "/mnt/rstudio-pm/.rspm-ha can't be made" in error.value.problems[0].found
    assert host.done == ["trial", "write"]


def test_the_lock_makes_its_own_folder_where_the_account_may(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table())
    host.own = AccessResult("done", "", "/mnt/rstudio-pm", 940, 940)
    call = storage()
    call.bring_up()
    assert not call.changed and host.done == ["write"]


def test_the_mount_is_in_fstab_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, NO_MOUNT)
    host.fstab = "UUID=1 / ext4 rw 0 1\n"
    check = storage(check_mode=True)
    check.bring_up()
    assert check.changed and host.done == []
    call = storage()
    call.bring_up()
    assert host.done == ["fstab", "mount", "write"]
    line = "nfs:/srv/rstudio-pm /mnt/rstudio-pm nfs " + ",".join(asked().options) + " 0 0"
    assert host.fstab == f"UUID=1 / ext4 rw 0 1\n{line}\n"
    assert call.result()["diff"]["after"]["fstab"] == [line]
    again = storage()
    again.bring_up()
    assert not again.changed


def test_fstab_is_not_changed_under_a_mount_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Recorder(monkeypatch, table(LIVE.replace("lookupcache=pos,", "")))
    host.fstab, host.holders = "", [Holder(7, "rstudio-pm", "/mnt/rstudio-pm/data/db")]
    with pytest.raises(DomainError):
        storage().bring_up()
    assert host.done == []


def test_a_mount_is_taken_away_for_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "mnt")
    (tmp_path / "mnt").mkdir()
    host = Recorder(monkeypatch, parse_mountinfo(f"201 20 0:39 / {path} rw - nfs4 nfs:/srv {LIVE}\n"))
    host.fstab = with_mount("UUID=1 / ext4 rw 0 1\n", "nfs:/srv", path, ["rw"])
    for check_mode in (True, False, False):
        before = list(host.done)
        result = take_away(host.umount, path, 5, check_mode)
        if check_mode:
            assert result["changed"] and host.done == before == [] and (tmp_path / "mnt").is_dir()
    assert host.done == [f"umount {path}", "fstab", "reload"] and not result["changed"] and not result["detached"]
    assert host.fstab == "UUID=1 / ext4 rw 0 1\n" and not (tmp_path / "mnt").exists()


@pytest.mark.parametrize(("deaf", "how"), [([], "-f"), (["-f"], "-l"), (["-f", "-l"], "")])
def test_a_mount_of_a_dead_server_goes_in_time_and_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deaf: list[str], how: str
) -> None:
    path = str(tmp_path / "mnt")
    host = Recorder(monkeypatch, parse_mountinfo(f"201 20 0:39 / {path} rw - nfs4 nfs:/srv {LIVE}\n"))
    host.fstab = with_mount("", "nfs:/srv", path, ["rw"])
    host.umount_codes = {path: OUT_OF_TIME, **dict.fromkeys(deaf, 32)}
    if how:
        assert take_away(host.umount, path, 120, False)["detached"] == f"umount {how} {path}"
        assert host.fstab.strip() == ""
    else:
        with pytest.raises(DomainError, match=r"\[storage-unmount\] nfs:/srv at .* nor by umount -f and umount -l"):
            take_away(host.umount, path, 120, False)
        assert "fstab" not in host.done
    assert host.seconds <= 160
    assert "umount -f" in detached_text(path, "umount -f x") and "did not answer" in detached_text(path, "")


def test_a_mount_that_is_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "mnt")
    host = Recorder(monkeypatch, parse_mountinfo(f"201 20 0:39 / {path} rw - nfs4 nfs:/srv {LIVE}\n"))
    host.umount_codes = {path: 32}
    with pytest.raises(DomainError, match="target is busy"):
        take_away(host.umount, path, 120, False)
    assert host.done == [f"umount {path}"]
