# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change of one node's version in one call, on a simulated machine that breaks when the order is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.rspm.ha.plugins.module_utils import _node_loader as node_loader
from ansible_collections.rspm.ha.plugins.module_utils import _node_upgrade_loader as loader
from ansible_collections.rspm.ha.plugins.module_utils import _service_loader as service_loader
from ansible_collections.rspm.ha.plugins.module_utils import _stop_loader as stop_loader
from ansible_collections.rspm.ha.plugins.module_utils._package import Host
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._runner_loader import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._service import ApiState
from ansible_collections.rspm.ha.plugins.modules import node_upgrade

OLD, NEW = "2026.04.0", "2026.08.0"
OTHERS = Problem("database-sessions", "1 session is left at db1:5432: node2", "w", "f")


class Machine:
    """systemd, dpkg, the server and the databases, as far as a change of version sees them."""

    def __init__(self, folder: Path) -> None:
        self.block = folder / "rstudio-pm.service.d/block.conf"
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
        self.events: list[str] = []

    @property
    def blocked(self) -> bool:
        return self.block.exists()

    def start(self) -> None:
        self.skipped = self.blocked
        if not self.blocked and not self.fails_to_start:
            self.running = self.version

    def show(self) -> str:
        """Return the unit, as it was before while systemd has not begun with a start."""
        hesitating = self.hesitates > 0 and "start" in self.events
        self.hesitates -= hesitating
        running = self.running and not hesitating
        state = "active" if running else "failed" if self.fails_to_start else "inactive"
        enabled, condition = "enabled" if self.enabled else "disabled", "no" if self.skipped or hesitating else "yes"
        return (
            f"LoadState=loaded\nUnitFileState={enabled}\nActiveState={state}\nSubState=x\n"
            f"MainPID={812 if running else 0}\nConditionResult={condition}\nJob={7 if hesitating else 0}\n"
        )

    def __call__(
        self,
        argv: list[str],
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> CompletedCommand:
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
                assert self.blocked, "stopped before it was masked"
                self.running = ""
            elif verb == "start":
                assert not self.blocked and self.version, "started while masked"
                self.start()
            elif verb == "enable":
                self.enabled = True
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
        return ApiState("http://127.0.0.1:4242", self.health, self.running)

    def processes(self, _group: str) -> tuple[int, ...]:
        return (812,) if self.running else ()

    # the databases
    def prove_own_gone(self) -> int:
        assert not self.running and self.blocked
        self.events.append("own_gone")
        return 0

    def prove_others_gone(self) -> None:
        self.events.append("others_gone")
        problem = self.others if self.running else self.others_after_stop
        if problem is not None:
            raise DomainError(problem.problem)

    def close(self) -> None:
        self.events.append("close")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(service_loader, "BLOCK_PATH", str(machine.block))
    monkeypatch.setattr(service_loader, "DROPIN_FOLDER", str(machine.block.parent))
    monkeypatch.setattr(service_loader, "load_api", machine.api)
    monkeypatch.setattr(node_loader, "load_api", machine.api)
    for module in (node_loader, node_upgrade):
        monkeypatch.setattr(module, "load_host", lambda: Host("debian", "12", "x86_64"))
    monkeypatch.setattr(stop_loader, "load_processes", machine.processes)
    monkeypatch.setattr(stop_loader, "_LINGER_SECONDS", 0.2)
    monkeypatch.setattr(loader, "open_watch", lambda _database: machine)
    monkeypatch.setattr(node_upgrade, "module_runner", lambda _module: machine)
    return machine


class Ended(Exception):
    """The end of a module run."""


def run(machine: Machine, **arguments: Any) -> dict[str, Any]:
    """Run the module in this process and return its result."""
    result: dict[str, Any] = {}

    def end(_module: object, **facts: Any) -> None:
        result.update(facts)
        raise Ended

    arguments = {"version": NEW, "path": str(machine.staged), "health_timeout": 1, **arguments}
    with patch_module_args(arguments), pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_upgrade.AnsibleModule, "exit_json", end)
        patch.setattr(node_upgrade.AnsibleModule, "fail_json", end)
        with pytest.raises(Ended):
            node_upgrade.main()
    return result


FIRST = {"first": True, "database": {"host": "db1", "databases": ["main"], "user": "pm", "password": "x"}}


def steps(result: dict[str, Any]) -> list[str]:
    return [step["step"] for step in result["timeline"]]


def test_the_first_node_in_its_order(machine: Machine) -> None:
    result = run(machine, **FIRST)
    assert machine.events == ["others_gone", "stop", "own_gone", "others_gone", "close", "install", "start"]
    assert steps(result) == [
        *("others_gone", "mask", "stop", "prove", "sessions", "install", "unmask", "start", "healthy"),
        "reload",
    ]
    assert result["changed"] and result["version"] == NEW and result["before_version"] == OLD
    assert result["actions"] == ["mask", "stop", "prove", "install", "unmask", "start", "wait"]
    assert machine.running == NEW and not machine.blocked
    again = run(machine, **FIRST)
    assert not again["changed"] and again["actions"] == [] and len(machine.events) == 7


@pytest.mark.parametrize("scripts_start", [True, False])
def test_another_node_whether_or_not_the_packages_scripts_start(machine: Machine, scripts_start: bool) -> None:
    machine.scripts_start = scripts_start
    machine.enabled = False
    result = run(machine)
    assert machine.events == ["stop", "install", "enable", "start"]
    assert result["health_code"] == 200 and machine.running == NEW


def test_a_start_that_the_mask_skipped_is_not_taken_for_the_one_after(machine: Machine) -> None:
    machine.scripts_start, machine.hesitates, machine.health = True, 3, 0
    patched = machine.api

    def late(*_target: object, **_more: object) -> ApiState:
        machine.health = 200 if machine.hesitates <= 0 else 0
        return patched()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_loader, "load_api", late)
        patch.setattr(service_loader, "_UNIT_INTERVAL", 0)
        assert run(machine)["version"] == NEW


def test_a_node_that_others_still_work_beside_is_not_stopped(machine: Machine) -> None:
    machine.others = DomainError(OTHERS)
    result = run(machine, **FIRST)
    assert result["problem"]["check"] == "database-sessions" and steps(result) == ["others_gone"]
    assert machine.running == OLD and not machine.blocked


def test_a_node_that_comes_back_meanwhile_keeps_the_package_from_changing(machine: Machine) -> None:
    machine.others_after_stop = DomainError(OTHERS)
    result = run(machine, **FIRST)
    assert steps(result)[-1] == "sessions" and "install" not in machine.events
    assert machine.version == OLD and machine.blocked and not machine.running


def test_the_first_needs_the_databases(machine: Machine) -> None:
    assert "database" in run(machine, first=True)["msg"]
    assert machine.events == []


@pytest.mark.parametrize("health", [0, 503])
def test_a_start_that_fails_is_undone(machine: Machine, health: int) -> None:
    machine.fails_to_start, machine.health = health == 0, health
    result = run(machine)
    problem = result["problem"]
    assert machine.blocked and not machine.running and machine.version == NEW
    assert machine.events[-1] == "stop" and steps(result)[-2:] == ["mask_again", "stop_again"]
    assert "is stopped and masked again" in problem["found"] and "panic: migration 42 failed" in problem["found"]
    assert "rspm.ha.rollback" in problem["fix"] and "rspm.ha.upgrade" in problem["fix"]
    machine.fails_to_start, machine.health = False, 200
    result = run(machine)
    assert result["actions"] == ["unmask", "start", "wait"] and machine.running == NEW and not machine.blocked


def test_what_runs_the_wanted_version_is_never_stopped(machine: Machine) -> None:
    machine.version = machine.running = NEW
    machine.health = 503
    result = run(machine, **FIRST)
    assert "is not healthy after" in result["problem"]["found"]
    assert machine.running == NEW and not machine.blocked and machine.events == []
    machine.health = 402
    assert not run(machine, allow_unlicensed=True)["changed"]


def test_the_old_server_that_runs_on_over_the_new_package_is_stopped(machine: Machine) -> None:
    machine.version = NEW
    assert run(machine)["actions"] == ["mask", "stop", "prove", "unmask", "start", "wait"]
    assert machine.running == NEW and "install" not in machine.events


def test_the_first_proves_also_where_only_the_start_is_left(machine: Machine) -> None:
    machine.version, machine.running = NEW, ""
    assert run(machine, **FIRST)["actions"] == ["mask", "prove", "unmask", "start", "wait"]
    assert machine.events == ["others_gone", "own_gone", "others_gone", "close", "start"]


def test_a_disk_that_is_full_leaves_the_node_masked(machine: Machine) -> None:
    machine.install_fails = True
    result = run(machine)
    assert result["problem"]["check"] == "package-install" and "No space left" in result["problem"]["found"]
    assert machine.blocked and not machine.running and steps(result)[-1] == "install"
    machine.install_fails = False
    assert run(machine)["version"] == NEW


def test_an_installation_that_was_cut_off_is_finished(machine: Machine) -> None:
    machine.version, machine.status, machine.running = NEW, "half-configured ok", ""
    result = run(machine)
    assert result["version"] == NEW and machine.events == ["dpkg", "install", "start"]


def test_nothing_stops_without_a_staged_file(machine: Machine) -> None:
    machine.staged.unlink()
    assert run(machine)["problem"]["check"] == "package-staged"
    assert run(machine, path="")["problem"]["check"] == "package-staged"
    assert machine.running == OLD and machine.events == [] and not machine.blocked


def test_check_mode_changes_nothing(machine: Machine) -> None:
    result = run(machine, **FIRST, _ansible_check_mode=True)
    assert result["changed"] and result["timeline"] == [] and machine.events == [] and not machine.blocked
    assert result["diff"] == {
        "before": f"rstudio-pm {OLD}, running, not masked\n",
        "after": f"rstudio-pm {NEW}, running, not masked\n",
    }


def test_check_mode_where_nothing_was_staged_or_stopped(machine: Machine) -> None:
    machine.staged.unlink()
    assert run(machine, **FIRST, _ansible_check_mode=True)["changed"]
    assert run(machine, start=False, _ansible_check_mode=True)["actions"] == ["prove", "install"]
    assert machine.events == []


def stopped(machine: Machine) -> None:
    machine.running = ""
    service_loader.block(machine, "rollback")


def test_only_installed_it_stays_masked(machine: Machine) -> None:
    stopped(machine)
    result = run(machine, start=False, purpose="rollback")
    assert result["changed"] and machine.events == ["install"] and machine.blocked and not machine.running
    assert "rollback" in machine.block.read_text()
    assert not run(machine, start=False, purpose="rollback")["changed"]


@pytest.mark.parametrize("spoil", [lambda m: setattr(m, "running", NEW), lambda m: m.block.unlink()])
def test_only_installed_is_refused_where_it_may_have_run(machine: Machine, spoil: Callable[[Machine], None]) -> None:
    stopped(machine)
    spoil(machine)
    assert run(machine, start=False, purpose="rollback")["problem"]["check"] == "node-stopped"
    assert machine.events == []
