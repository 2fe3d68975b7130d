# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change of one node's version in one call, on a simulated machine that breaks when the order is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._service import host
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState
from tests.unit.worlds.node_upgrade_machine import FIRST, NEW, OLD, OTHERS, Machine, run, simulated, steps, stopped


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return simulated(tmp_path, monkeypatch)


def test_the_first_node_in_its_order(machine: Machine) -> None:
    result = run(machine, **FIRST)
    assert machine.events == ["others_gone", "stop", "own_gone", "others_gone", "close", "install", "start"]
    assert steps(result) == [
        *("others_gone", "block", "stop", "prove", "sessions", "install", "unblock", "start", "healthy"),
        "reload",
    ]
    assert result["changed"] and result["version"] == NEW and result["before_version"] == OLD
    assert result["actions"] == ["block", "stop", "prove", "install", "unblock", "start", "wait"]
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
        patch.setattr(host, "load_api", late)
        patch.setattr(host, "_UNIT_INTERVAL", 0)
        assert run(machine)["version"] == NEW


def test_a_node_that_others_still_work_beside_is_not_stopped(machine: Machine) -> None:
    machine.others = DomainError(OTHERS)
    result = run(machine, **FIRST)
    assert result["problems"][0]["check"] == "database-sessions" and steps(result) == ["others_gone"]
    assert machine.running == OLD and not machine.blocked


def test_a_node_that_comes_back_meanwhile_keeps_the_package_from_changing(machine: Machine) -> None:
    machine.others_after_stop = DomainError(OTHERS)
    result = run(machine, **FIRST)
    assert steps(result)[-1] == "sessions" and "install" not in machine.events
    assert machine.version == OLD and machine.blocked and not machine.running


def test_the_first_needs_the_databases(machine: Machine) -> None:
    assert "database" in run(machine, first=True)["msg"]
    assert machine.events == []


def test_the_old_server_that_runs_on_over_the_new_package_is_stopped(machine: Machine) -> None:
    machine.version = NEW
    assert run(machine)["actions"] == ["block", "stop", "prove", "unblock", "start", "wait"]
    assert machine.running == NEW and "install" not in machine.events


def test_the_first_proves_also_where_only_the_start_is_left(machine: Machine) -> None:
    machine.version, machine.running = NEW, ""
    assert run(machine, **FIRST)["actions"] == ["block", "prove", "unblock", "start", "wait"]
    assert machine.events == ["others_gone", "own_gone", "others_gone", "close", "start"]


def test_a_disk_that_is_full_leaves_the_node_blocked(machine: Machine) -> None:
    machine.install_fails = True
    result = run(machine)
    assert result["problems"][0]["check"] == "package-install" and "No space left" in result["problems"][0]["found"]
    assert machine.blocked and not machine.running and steps(result)[-1] == "install"
    machine.install_fails = False
    assert run(machine)["version"] == NEW


def test_an_installation_that_was_cut_off_is_finished(machine: Machine) -> None:
    machine.version, machine.status, machine.running = NEW, "half-configured ok", ""
    result = run(machine)
    assert result["version"] == NEW and machine.events == ["dpkg", "install", "start"]


def test_nothing_stops_without_a_staged_file(machine: Machine) -> None:
    machine.staged.unlink()
    assert run(machine)["problems"][0]["check"] == "package-staged"
    assert run(machine, path="")["problems"][0]["check"] == "package-staged"
    assert machine.running == OLD and machine.events == [] and not machine.blocked


def test_check_mode_changes_nothing(machine: Machine) -> None:
    result = run(machine, **FIRST, _ansible_check_mode=True)
    assert result["changed"] and result["timeline"] == [] and machine.events == [] and not machine.blocked
    assert result["diff"] == {
        "before": f"rstudio-pm {OLD}, running, not blocked\n",
        "after": f"rstudio-pm {NEW}, running, not blocked\n",
    }


def test_check_mode_where_nothing_was_staged_or_stopped(machine: Machine) -> None:
    machine.staged.unlink()
    assert run(machine, **FIRST, _ansible_check_mode=True)["changed"]
    assert run(machine, start=False, _ansible_check_mode=True)["actions"] == ["prove", "install"]
    assert machine.events == []


def test_only_installed_it_stays_blocked(machine: Machine) -> None:
    stopped(machine)
    result = run(machine, start=False, purpose="rollback")
    assert result["changed"] and machine.events == ["install"] and machine.blocked and not machine.running
    assert "rollback" in machine.block.read_text()
    assert not run(machine, start=False, purpose="rollback")["changed"]


@pytest.mark.parametrize("spoil", [lambda m: setattr(m, "running", NEW), lambda m: m.block.unlink()])
def test_only_installed_is_refused_where_it_may_have_run(machine: Machine, spoil: Callable[[Machine], None]) -> None:
    stopped(machine)
    spoil(machine)
    assert run(machine, start=False, purpose="rollback")["problems"][0]["check"] == "node-stopped"
    assert machine.events == []


def test_unpacked_it_is_finished_by_the_next_call(machine: Machine) -> None:
    stopped(machine)
    assert run(machine, start=False, unpack=True, purpose="rollback")["changed"]
    assert machine.events == ["unpack"] and machine.blocked
    assert run(machine, start=False, purpose="rollback")["changed"]
    assert machine.events == ["unpack", "configure"] and machine.blocked and not machine.running
    assert not run(machine, start=False, unpack=True, purpose="rollback")["changed"]


def test_a_package_that_refuses_says_how_to_stay_and_how_to_go(machine: Machine) -> None:
    stopped(machine)
    machine.refuses = True
    problem = run(machine, start=False, unpack=True, purpose="rollback")["problems"][0]
    assert problem["check"] == "package-refused" and "no downgrade" in problem["found"]
    assert f"rspm.ha.upgrade -e rspm_version={OLD}" in problem["fix"] and "dpkg --remove" in problem["fix"]
    assert "Nothing was restored" in problem["why"] and machine.blocked and machine.version == OLD
