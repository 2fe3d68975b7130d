# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service's account plants at the names that root's modules use: links, pipes, files of its own.

Whatever a module makes of it, files of root's are as they were, and nothing is read out. tree_copy and the restore
point have tests of their own for that, and so have the packages (test_account_files).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account, find_account
from ansible_collections.rspm.ha.plugins.module_utils._config.host import Candidate, load_file, save
from ansible_collections.rspm.ha.plugins.module_utils._core import host_user
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder, read_text, sum_of, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host_tools
from ansible_collections.rspm.ha.plugins.module_utils._licence import host as licence
from ansible_collections.rspm.ha.plugins.module_utils._licence.rules import FILE_NAME, FOLDER
from ansible_collections.rspm.ha.plugins.module_utils._lock import host as lock_host
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord
from ansible_collections.rspm.ha.plugins.module_utils._migration import host_record
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import host as restore_point_host
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import rules as point
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._service import host_existing as existing_server
from ansible_collections.rspm.ha.plugins.module_utils._storage import host as storage_host
from ansible_collections.rspm.ha.plugins.module_utils._storage import host_export
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import mount_of, parse_mountinfo
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import Place, StorageRequest
from tests.unit.worlds.tree_copies import seen

SECRET = "root's secret"


def runner(argv: list[str], *, input: str | None = None, **_options: Any) -> CompletedCommand:
    done = subprocess.run(argv, capture_output=True, text=True, input=input, check=False, timeout=20)
    return CompletedCommand(done.returncode, done.stdout, done.stderr)


@dataclass
class World:
    """A folder of the account's beside files that only root may read."""

    top: Path
    account: Account

    @property
    def theirs(self) -> Path:
        return self.top / "theirs"

    @property
    def victim(self) -> Path:
        return self.top / "victim"

    def own(self) -> None:
        """Give what was planted to the account."""
        runner(["chown", "-hR", f"{self.account.uid}:{self.account.gid}", str(self.theirs)])

    def link(self, *names: str) -> None:
        """Plant links to root's file at these names."""
        for name in names:
            (self.theirs / name).parent.mkdir(parents=True, exist_ok=True)
            (self.theirs / name).symlink_to(self.victim / "file")
        self.own()

    def link_folder(self, name: str) -> None:
        """Plant a link to root's folder."""
        (self.theirs / name).symlink_to(self.victim)
        self.own()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    account = find_account("nobody")
    assert account is not None, "make test-fast runs as root, and nobody is everywhere"
    top = Path(tempfile.mkdtemp(prefix="rspm-planted-"))
    top.chmod(0o755)
    made = World(top, account)
    made.theirs.mkdir()
    made.victim.mkdir()
    (made.victim / "file").write_text(SECRET)
    (made.victim / "file").chmod(0o600)
    (made.victim / "empty").mkdir()
    made.own()
    for module in (host_user, restore_point_host, licence):
        monkeypatch.setattr(module, "ACCOUNT", "nobody")
    before = seen(made.victim)
    yield made
    assert seen(made.victim) == before
    shutil.rmtree(top)


def said(work: Callable[[], object]) -> str:
    """Return what comes of the work, its failure included."""
    try:
        return repr(work())
    except (DomainError, OSError) as error:
        return str(error)


def test_a_small_file_is_neither_read_nor_written_through_a_link(world: World) -> None:
    world.link("config", "new.rspm-ha-new")
    world.link_folder("in")
    path = f"{world.theirs}/config"
    with pytest.raises(DomainError, match="is a link that another user"):
        read_text(path)
    assert read_text(f"{world.theirs}/in/file") is None
    write_file(path, "ours", 0o644)
    assert read_text(path) == "ours" and not os.path.islink(path)
    write_file(f"{world.theirs}/new", "ours", 0o644)
    with pytest.raises(OSError):
        write_file(f"{world.theirs}/in/file", "ours", 0o644)
    with pytest.raises(OSError):
        make_folder(f"{world.theirs}/in/more/folders")


def test_a_pipe_is_not_waited_for(world: World) -> None:
    os.mkfifo(world.theirs / "config")
    world.own()
    assert read_text(f"{world.theirs}/config") == ""


@pytest.mark.parametrize("name", ["rstudio-pm.gcfg", "rstudio-pm.key"])
def test_server_config(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = f"{world.theirs}/{name}"
    world.link(name, f"{name}.rspm-ha-new", f"{name}.original", f"{name}.before")
    monkeypatch.setattr(service_host, "CONFIG_PATH", path)
    monkeypatch.setattr(service_host, "KEY_PATH", path)
    works = (
        lambda: load_file(path),
        lambda: existing_server.keep_copy(path, True),
        service_host.load_document,
        lambda: service_host.load_config(runner, {}),
        lambda: sum_of(path),
    )
    for work in works:
        assert SECRET not in (text := said(work)) and str(hash(SECRET)) not in text
    assert sum_of(path) == ""
    save(path, "ours", 0o600, (world.account.uid, world.account.gid))
    assert Path(path).read_text() == "ours" and os.stat(path).st_uid == world.account.uid


def test_a_candidate_can_not_be_swapped_by_whom_it_is_for(world: World) -> None:
    with Candidate("nobody", (world.account.uid, world.account.gid)) as candidate:
        path = candidate.put("pgpass", "password", 0o600)
        assert os.stat(path).st_uid == world.account.uid
        tried = ["ln", "-sf", str(world.victim / "file"), path]
        assert runner(["runuser", "-u", "nobody", "--", *tried]).rc != 0
        assert runner(["runuser", "-u", "nobody", "--", "cat", path]).stdout == "password"
    assert not os.path.exists(path)


@pytest.mark.parametrize("plant", ["folder", "file", "new", "pipe"])
def test_node_licence(world: World, monkeypatch: pytest.MonkeyPatch, plant: str) -> None:
    home = SimpleNamespace(pw_dir=str(world.theirs), pw_uid=world.account.uid, pw_gid=world.account.gid)
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: home)
    folder = world.theirs / FOLDER
    if plant == "folder":
        world.link_folder(FOLDER)
    elif plant == "pipe":
        folder.mkdir()
        os.mkfifo(folder / FILE_NAME)
        world.own()
    else:
        world.link(f"{FOLDER}/{FILE_NAME}{'.rspm-ha-new' if plant == 'new' else ''}")
    assert licence._read_ours() is None or plant == "pipe"
    with suppress(OSError):
        licence._write_ours("a licence")
        assert not (folder / FILE_NAME).is_symlink()
        assert licence._read_ours() == "a licence"
    assert plant != "folder" or folder.is_symlink()


def request_of(world: World, path: str) -> StorageRequest:
    return StorageRequest("local", path, f"{path}/data", "", (), world.account.uid, world.account.gid)


def test_storage_mount(world: World) -> None:
    entries = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    entry = mount_of(entries, str(world.theirs))
    assert entry is not None
    request = request_of(world, str(world.theirs))
    world.link_folder("data")
    world.link_folder("deep")
    os.chmod(world.theirs, 0o555)  # so that it is left to root
    for name in ("data", "data/new", "deep/new/er"):
        place = Place(f"{world.theirs}/{name}", name)
        said(partial(storage_host.make_place, request, place, entry, 10))
        said(partial(storage_host.try_access, request, place, request.path, entry.device, 10))
    for path in ("deep/new", "deep/empty"):
        said(partial(storage_host.make_local, request_of(world, f"{world.theirs}/{path}")))


def test_storage_mount_gives_away_no_folder_that_was_put_in_the_place_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.theirs / "roots").mkdir()
    (world.theirs / "roots/file").write_text(SECRET)
    real = os.mkdir

    def swap(name: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real(name, mode, dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
        os.rename("roots", name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", swap)
    folder = os.open(world.theirs, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError):
        storage_host._make_for(request_of(world, str(world.theirs)), "data", folder)
    os.close(folder)
    assert os.stat(world.theirs / "data").st_uid == 0


def test_nfs_export(world: World) -> None:
    world.link_folder("share")
    state = host_export.FolderState(world.account.uid, world.account.gid, 0o777)
    for path in ("share", "share/empty", "share/new"):
        with pytest.raises(OSError):
            host_export.make_folder(f"{world.theirs}/{path}", state)


def test_migration_record(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = host_record.RecordStore(f"{world.theirs}/migration")
    record = Written("begun", "r1", "node1", "keep", "move", "/var/x", "move", "")
    world.link("migration/migration.json", "migration/.migration.json.new")
    world.link("own.json", "own.json.rspm-ha-new")
    monkeypatch.setattr(host_record, "LOCAL_PATH", f"{world.theirs}/own.json")
    for work in (
        store.read_shared,
        lambda: store.write_shared(record),
        store.read_own,
        lambda: store.write_own(record),
        store.remove_shared,
    ):
        assert SECRET not in said(work)


def test_cluster_lock(world: World) -> None:
    record = LockRecord("r1", "p", "anna@ops1", "upgrade", "2026.08.0", "", "", "", "node1")
    folder = lock_host.LockFolder(f"{world.theirs}/lock", world.account.uid, world.account.gid, timeout=2)
    world.link("lock/000001.json", "lock/000001.released", "lock/000002.json", "lock/000001.alive")
    for work in (
        folder.read,
        lambda: folder.create(1, record),
        lambda: folder.create(3, record),
        lambda: folder.rewrite(1, record),
        lambda: folder.release(1, {"by": "me"}),
    ):
        assert SECRET not in said(work)


def test_restore_point_metadata(world: World) -> None:
    store = restore_point_host.Store(runner, f"{world.theirs}/point")
    world.link("point/restore-point.json", "point/.restore-point.json.new", "point/f/main.dump")
    made = point.Metadata(RestoreState.COMPLETE, "r1", "2026.04.0", "2026.08.0", "", "f", files={"main.dump": "0" * 64})
    for work in (store.read, lambda: store.write(made), lambda: store.verify(made)):
        assert SECRET not in said(work)


def test_database_copy(world: World) -> None:
    world.link(f"{host_tools._PREFIX}x")
    world.link_folder(f"{host_tools._PREFIX}y")
    said(lambda: host_tools._remove_leftovers(str(world.theirs)))
