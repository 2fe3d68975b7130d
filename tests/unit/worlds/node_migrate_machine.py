# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node that stays alone: real trees, record, lock and configuration, a simulated service, and databases as told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config import host as config_host
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand, command_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import sum_of
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.host import LockFolder
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord
from ansible_collections.rspm.ha.plugins.module_utils._migration import host_move, host_record
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_record import RecordStore
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import Host
from ansible_collections.rspm.ha.plugins.module_utils._postgres.node_sessions import End
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import Session
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._service import host_apply
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy import compare, plan
from ansible_collections.rspm.ha.plugins.modules import node_migrate
from tests.unit.worlds import node_upgrade_machine
from tests.unit.worlds.module_run import run_module
from tests.unit.worlds.node_upgrade_machine import OLD
from tests.unit.worlds.tree_copies import make_tree

CANARY = "canary;password"
_REAL = ("cat", "test", "mkdir", "dd", "mv", "sync", "rm", "rsync", "mount")
_TOOLS = ("pg_dump", "pg_restore")
_ELSEWHERE = Problem("database-sessions", "1 session is left at db1: node2", "w", "f")


class Machine(node_upgrade_machine.Machine):
    """The node. What outlives a call is in files, so that a call may be killed in a process of its own.

    looks: what is found elsewhere, one after another, each time that it is looked whether another node works on the
    old databases. while_copying: what happens while the databases are copied. fails: why that fails, unprepared: why
    it can't begin. visited: whether another node works on them right now.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(folder)
        self.looks: list[bool] = []
        self.while_copying: Callable[[], object] = lambda: None
        self.fails: list[Problem] = []
        self.unprepared: list[Problem] = []
        self.visited = False
        self.record = RecordStore(str(folder / "storage/.rspm-ha/migration"))
        self.config = folder / "etc/rstudio-pm.gcfg"

    @property
    def running(self) -> str:
        path = self.folder / "running"
        return path.read_text() if path.exists() else ""

    @running.setter
    def running(self, version: str) -> None:
        (self.folder / "running").write_text(version)

    def start(self) -> None:
        super().start()
        paths = [self.config, *self.block.parent.glob("rspm-ha.conf")]
        lines = [f"{sum_of(str(path))}  {path}\n" for path in paths]
        (self.folder / "started-with").write_text("".join(lines))

    def __call__(self, argv: list[str], **options: Any) -> CompletedCommand:
        assert CANARY not in " ".join(argv)
        if os.path.basename(argv[0]) in _TOOLS:
            return command_runner(print)(argv, **options)
        if argv[0] in _REAL:
            given = options.get("input")
            done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
            return CompletedCommand(done.returncode, done.stdout, done.stderr)
        return super().__call__(argv, **options)

    # the databases
    def prove_own_gone(self) -> int:
        assert not self.running and self.blocked
        return 0

    where = "db1:5432"

    def own_end(self) -> End:
        return End("192.0.2.1", 40000)

    def wait(self, _timeout: float, *, not_of: str) -> tuple[Session, ...]:
        assert not_of == "192.0.2.1"
        return (Session(7, "main", "pm", "node2", "192.0.2.2", "idle", "", ""),) if self.visited else ()

    def prove_others_gone(self) -> None:
        self.events.append("others_gone")
        if self.looks and self.looks.pop(0):
            raise DomainError(_ELSEWHERE)

    def copied(self) -> bool:
        """Return whether the databases were copied."""
        return (self.folder / "databases").exists()


def _copier(machine: Machine) -> type:
    """Return what copies no databases, and is called where they would be."""

    class Copier:
        parts: list[Any] = []
        contents: dict[str, Any] = {}
        sent: list[str] = []

        def __init__(self, *, timeline: Timeline, **_more: Any) -> None:
            self.timeline = timeline

        @contextmanager
        def prepared(self) -> Iterator[SimpleNamespace]:
            with self.timeline.step("observe"):
                if machine.unprepared:
                    raise DomainError(*machine.unprepared)
            yield SimpleNamespace(observed=None)

        def copy(self, _found: SimpleNamespace) -> dict[str, Any]:
            with self.timeline.step("restore main"):
                assert not machine.running and machine.blocked, "copied while it may run"
                machine.while_copying()
                if machine.fails:
                    raise DomainError(*machine.fails)
                (machine.folder / "databases").write_text("x")
            return {}

    return Copier


def simulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a node of a cluster whose migration has begun; all other nodes are stopped."""
    (folder / "etc").mkdir()
    (folder / "storage/.rspm-ha").mkdir(parents=True)
    # as the node upgrade has it, with what is asked of this module besides
    machine = Machine(folder)
    with monkeypatch.context() as patch:
        patch.setattr(node_upgrade_machine, "Machine", lambda _folder: machine)
        node_upgrade_machine.simulated(folder, monkeypatch)
    for module in (host_apply, host_move, service_host):
        for name, path in (
            ("CONFIG_PATH", machine.config),
            ("KEY_PATH", folder / "etc/rstudio-pm.key"),
            ("DROPIN_PATH", machine.block.parent / "rspm-ha.conf"),
            ("STARTED_WITH_PATH", folder / "started-with"),
        ):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, str(path))
    me = (os.getuid(), os.getgid())
    for module in (host_apply, config_host):
        monkeypatch.setattr(module, "account_ids", lambda _name: me)
    monkeypatch.setattr(host_apply, "has_cli", lambda: False)
    monkeypatch.setattr(host_apply.WantedFile, "rights", lambda self: f"rstudio-pm:rstudio-pm {self.mode:04o}")
    monkeypatch.setattr(config_host, "_user", lambda _uid: "rstudio-pm")
    monkeypatch.setattr(config_host, "_group", lambda _gid: "rstudio-pm")
    monkeypatch.setattr(host_record, "LOCAL_PATH", str(folder / "own/migration.json"))
    monkeypatch.setattr(plan, "STATE_FOLDER", f"{folder}/root")
    monkeypatch.setattr(compare, "SOURCE_SETTLE_NS", 0)
    monkeypatch.setattr(compare, "TARGET_SETTLE_NS", 0)
    monkeypatch.setattr(host_move, "load_host", lambda: Host("debian", "12", "x86_64"))
    monkeypatch.setattr(host_move, "open_watch", lambda _database: machine)
    monkeypatch.setattr(host_move, "Copier", _copier(machine))
    monkeypatch.setattr(host_move, "report", lambda *_arguments: {"changed": True, "tables": 9, "rows": 30})
    monkeypatch.setattr(node_migrate, "module_runner", lambda _module: machine)
    monkeypatch.setattr(node_migrate, "require_driver", lambda _module: None)
    make_tree(os.fsencode(folder / "storage/data"))
    lock = LockFolder(str(folder / "storage/.rspm-ha/lock"), *me)
    now = "2026-11-28T04:00:00Z"
    lock.create(1, LockRecord("r1", "boot/1/2", "anna@ops1", "migrate_to_single_node", "", now, now, "move", "node1"))
    return machine


def begun(machine: Machine, moved: str) -> None:
    """Write down that the migration has begun. moved: of data and databases."""
    data, database = ("move" if part in moved.split() else "keep" for part in ("data", "databases"))
    machine.record.write_shared(Written("begun", "r1", "node1", "keep", data, "", database, "2026-11-28T04:00:00Z"))


def arguments(machine: Machine, moved: str, **more: Any) -> dict[str, Any]:
    """Return what the module is given."""
    folder = machine.folder
    databases = {"name": "main", "usage_name": "usage", "user": "pm", "password": CANARY, "sslmode": "disable"}
    given = {
        "version": OLD,
        "record_path": machine.record.folder,
        "lock": {
            "path": f"{folder}/storage/.rspm-ha/lock",
            "uid": os.getuid(),
            "gid": os.getgid(),
            "run_id": "r1",
            "holder": "boot/1/2",
        },
        "source": {"host": "db1", **databases},
        "configuration": {
            "data_dir": f"{folder}/{'copy' if 'data' in moved.split() else 'storage/data'}",
            "database": {"host": "node1" if "databases" in moved.split() else "db1", "password": CANARY},
            "config": {"Git": {"PollInterval": "5m"}},
        },
        "health_timeout": 1,
        "work_path": str(folder),
    }
    if "databases" in moved.split():
        given["target"] = {"host": "node1", **databases}
    if "data" in moved.split():
        given["data"] = {"source": f"{folder}/storage/data", "destination": f"{folder}/copy"}
    return {**given, **more}


def run(given: dict[str, Any]) -> dict[str, Any]:
    """Run the module in this process and return its result, in which no secret may be."""
    result = run_module(node_migrate, given)
    assert "canary" not in json.dumps(result)
    return result


def killed_at(number: int, given: dict[str, Any]) -> bool:
    """Run the module in a process of its own, killed as the step of this number begins; False where it ended before."""
    child = os.fork()
    if child == 0:
        with _killed_in(number):
            run(given)
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    assert ended in (0, signal.SIGKILL), ended
    return ended != 0


@contextmanager
def _killed_in(number: int) -> Iterator[None]:
    step, me, left = Timeline.step, os.getpid(), [number]

    @contextmanager
    def counted(timeline: Timeline, name: str) -> Iterator[None]:
        if os.getpid() == me:
            left[0] -= 1
            if left[0] < 0:
                os.kill(me, signal.SIGKILL)
        with step(timeline, name):
            yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Timeline, "step", counted)
        try:
            yield
        except BaseException:
            os._exit(3)


def as_before(machine: Machine) -> None:
    """Assert that the old cluster could be started again with what it had."""
    written = machine.record.read_shared()
    assert written is not None and written.state == "begun" and not written.switched
    assert not (machine.folder / "own/migration.json").exists()
    assert not machine.config.exists() and "start" not in machine.events
