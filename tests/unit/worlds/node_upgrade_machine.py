# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated machine for the change of one node's version, which breaks when the order is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._node import host as node_host
from ansible_collections.rspm.ha.plugins.module_utils._node import host_change
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import Host
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._service import host_stop
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState
from ansible_collections.rspm.ha.plugins.modules import node_upgrade
from tests.unit.worlds.module_run import run_module

OLD, NEW = "2026.04.0", "2026.08.0"
OTHERS = Problem("database-sessions", "1 session is left at db1:5432: node2", "w", "f")


class Machine:
    """systemd, dpkg, the server and the databases, as far as a change of version sees them."""

    def __init__(self, folder: Path) -> None:
        self.block = folder / "rstudio-pm.service.d/block.conf"
        self.patience = folder / "rstudio-pm.service.d/patience.conf"
        self.staged = folder / f"rstudio-pm_{NEW}_amd64.deb"
        self.staged.write_text("package")
        self.version = self.running = OLD
        self.status = "installed ok"
        self.enabled = True
        self.install_fails = False
        self.scripts_start = False
        self.health = 200
        self.fails_to_start = False
        self.others: DomainError | None = None
        self.others_after_stop: DomainError | None = None
        self.skipped = False
        self.hesitates = 0
        self.restarts = 0
        self.lives = 1000
        self.starting = False
        self.refuses = False
        self.patient = self.loaded = False
        self.events: list[str] = []

    @property
    def blocked(self) -> bool:
        return self.block.exists()

    def start(self) -> None:
        self.skipped = self.blocked
        if not self.blocked and not self.fails_to_start:
            self.running, self.patient = self.version, self.loaded
            if not self.starting:
                self.patience.unlink(missing_ok=True)

    def show(self) -> str:
        """Return the unit, as it was before while systemd has not begun with a start."""
        hesitating = self.hesitates > 0 and "start" in self.events
        self.hesitates -= hesitating
        running = self.running and not hesitating
        state = "active" if running else "failed" if self.fails_to_start else "inactive"
        enabled, condition = "enabled" if self.enabled else "disabled", "no" if self.skipped or hesitating else "yes"
        return (
            f"LoadState=loaded\nUnitFileState={enabled}\nActiveState={state}\nSubState=x\n"
            f"MainPID={812 if running else 0}\nNRestarts={self.restarts}\n"
            f"ConditionResult={condition}\nJob={7 if hesitating else 0}\n"
        )

    def __call__(self, argv: list[str], **_options: Any) -> CompletedCommand:
        text = " ".join(argv)
        if argv[0] == "dpkg-query":
            status, flag = self.status.split()
            found = f"{status}\tinstall\t{flag}\t{self.version}\t{self.version}\n"
            return CompletedCommand(0 if self.version else 1, found if self.version else "", "")
        if argv[0] == "dpkg" and "--install" in argv:
            assert self.blocked and not self.running, "installed while it may run"
            self.events.append("install")
            if self.install_fails:
                return CompletedCommand(1, "", "dpkg: error: No space left on device")
            self.version, self.status = NEW, "installed ok"
            if self.scripts_start:
                self.start()
            return CompletedCommand(0, "", "")
        if argv[0] == "dpkg" and "--unpack" in argv:
            assert self.blocked and not self.running, "unpacked while it may run"
            if self.refuses:
                return CompletedCommand(1, "", "no downgrade")
            self.events.append("unpack")
            self.version, self.status = NEW, "unpacked ok"
            return CompletedCommand(0, "", "")
        if argv[0] == "dpkg" and "--configure" in argv and self.status == "unpacked ok":
            self.events.append("configure")
            self.status = "installed ok"
            return CompletedCommand(0, "", "")
        if argv[0] in ("apt-get", "dpkg"):
            self.events.append(argv[0])
            return CompletedCommand(1, "", "E: No space left on device")
        if argv[0] == "ss":
            return CompletedCommand(0, "LISTEN 0 1 *:4242 *:*\n" if self.running else "", "")
        if argv[:2] == ["systemctl", "show"]:
            return CompletedCommand(0, self.show(), "")
        if argv[0] == "systemctl":
            verb = next(word for word in argv[1:] if not word.startswith("-"))
            if verb == "stop":
                assert self.blocked, "stopped before it was blocked"
                self.running = ""
            elif verb == "start":
                assert not self.blocked and self.version, "started while blocked"
                self.start()
            elif verb == "enable":
                self.enabled = True
            elif verb == "daemon-reload":
                self.loaded = self.patience.exists()
            if verb not in ("daemon-reload", "reset-failed"):
                self.events.append(verb)
            return CompletedCommand(0, "", "")
        if argv[0] == "journalctl":
            return CompletedCommand(0, "panic: migration 42 failed\n", "")
        if "sha256sum" in argv:
            return CompletedCommand(1, "", "")
        raise AssertionError(text)

    def api(self, *_target: object, **_more: object) -> ApiState:
        if not self.running:
            return ApiState("http://127.0.0.1:4242", 0, "", "connection refused")
        return ApiState("http://127.0.0.1:4242", self.health, self.running, starting=self.starting)

    def processes(self, _group: str) -> tuple[int, ...]:
        if self.blocked and "start" in self.events and self.restarts:
            self.lives -= 1
            self.running = self.running if self.lives > 0 else ""
        return (812,) if self.running else ()

    # the databases
    def prove_own_gone(self) -> int:
        assert not self.running and self.blocked
        self.events.append("own_gone")
        return 0

    def end_left(self) -> int:
        assert self.running
        self.events.append("end_left")
        return 1

    def prove_others_gone(self) -> None:
        self.events.append("others_gone")
        problem = self.others if self.running else self.others_after_stop
        if problem is not None:
            raise DomainError(*problem.problems)

    def close(self) -> None:
        self.events.append("close")


def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine in the place of this one."""
    machine = Machine(tmp_path)
    monkeypatch.setattr(service_host, "BLOCK_PATH", str(machine.block))
    monkeypatch.setattr(service_host, "DROPIN_FOLDER", str(machine.block.parent))
    monkeypatch.setattr(service_host, "PATIENCE_PATH", str(machine.patience))
    monkeypatch.setattr(host_change, "_LAST_LIFE_SECONDS", 0.5)
    monkeypatch.setattr(service_host, "load_api", machine.api)
    monkeypatch.setattr(node_host, "load_api", machine.api)
    for module in (node_host, node_upgrade):
        monkeypatch.setattr(module, "load_host", lambda: Host("debian", "12", "x86_64"))
    monkeypatch.setattr(host_stop, "load_processes", machine.processes)
    monkeypatch.setattr(host_stop, "_LINGER_SECONDS", 0.2)
    monkeypatch.setattr(host_change, "open_watch", lambda _database: machine)
    monkeypatch.setattr(node_upgrade, "module_runner", lambda _module: machine)
    return machine


def run(machine: Machine, **arguments: Any) -> dict[str, Any]:
    """Run the module and return its result."""
    return run_module(node_upgrade, {"version": NEW, "path": str(machine.staged), "health_timeout": 1, **arguments})


FIRST = {"first": True, "database": {"host": "db1", "databases": ["main"], "user": "pm", "password": "x"}}


def steps(result: dict[str, Any]) -> list[str]:
    return [step["step"] for step in result["timeline"]]


def stopped(machine: Machine) -> None:
    machine.running = ""
    service_host.block(machine, "rollback")
