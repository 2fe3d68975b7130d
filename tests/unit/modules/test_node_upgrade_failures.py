# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a node that was started and does not get healthy, on a simulated machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._node.change_rules import (
    AfterFailure,
    UpgradePlan,
    UpgradeRequest,
    after_failure,
)
from ansible_collections.rspm.ha.plugins.module_utils._service import host
from tests.unit.worlds.node_upgrade_machine import FIRST, NEW, Machine, run, simulated, steps


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return simulated(tmp_path, monkeypatch)


@pytest.mark.parametrize("health", [0, 503])
def test_a_start_that_fails_is_undone(machine: Machine, health: int) -> None:
    machine.fails_to_start, machine.health = health == 0, health
    result = run(machine)
    problem = result["problems"][0]
    assert machine.blocked and not machine.running and machine.version == NEW
    assert machine.events[-1] == "stop" and steps(result)[-2:] == ["block_again", "stop_again"]
    assert "is stopped and blocked again" in problem["found"] and "panic: migration 42 failed" in problem["found"]
    assert "rspm.ha.rollback" in problem["fix"] and "rspm.ha.upgrade" in problem["fix"]
    machine.fails_to_start, machine.health = False, 200
    result = run(machine)
    assert result["actions"] == ["unblock", "start", "wait"] and machine.running == NEW and not machine.blocked


@pytest.mark.parametrize("health", [0, 200, 503])
def test_the_first_is_left_alone_while_it_lives(machine: Machine, health: int) -> None:
    machine.health, machine.starting = health, True
    result = run(machine, **FIRST)
    problem = result["problems"][0]
    assert machine.running == NEW and not machine.blocked and machine.events[-1] == "start"
    assert machine.patient and machine.patience.exists(), "systemd would cut it"
    assert "was left alone, since it may be moving the schema" in problem["found"]
    assert "journalctl --follow --unit rstudio-pm" in problem["fix"] and "same command again" in problem["fix"]
    again = run(machine, **FIRST)
    assert "was left alone" in again["problems"][0]["found"]
    assert "start" not in steps(again) and machine.running == NEW
    machine.health, machine.starting = 200, False
    result = run(machine, **FIRST)
    assert result["version"] == NEW and result["actions"] == [] and machine.events.count("stop") == 1


def test_a_first_that_ended_by_itself_is_not_started_again(machine: Machine) -> None:
    machine.fails_to_start = True
    result = run(machine, **FIRST)
    assert machine.blocked and steps(result)[-2:] == ["block_again", "stop_again"]
    assert "is stopped and blocked again" in result["problems"][0]["found"]


@pytest.mark.parametrize(("lives", "left"), [(3, False), (1000, True)])
def test_a_life_that_follows_a_failed_one_ends_by_itself(machine: Machine, lives: int, left: bool) -> None:
    machine.health, machine.restarts, machine.lives = 503, 2, lives
    result = run(machine, **FIRST)
    assert machine.blocked and bool(machine.running) is left
    assert ("was left alone" in result["problems"][0]["found"]) is left
    assert steps(result)[-1] == ("block_again" if left else "stop_again")


def test_a_start_has_all_the_time_it_needs_also_where_the_block_is_there_already(machine: Machine) -> None:
    machine.version, machine.running = NEW, ""
    host.block(machine, "upgrade")
    assert run(machine, **FIRST)["version"] == NEW
    assert machine.patient and not machine.patience.exists()


def test_other_nodes_start_as_ever(machine: Machine) -> None:
    assert run(machine)["version"] == NEW and not machine.patient


def test_what_runs_the_wanted_version_is_never_stopped(machine: Machine) -> None:
    machine.version = machine.running = NEW
    machine.health = 503
    result = run(machine, **FIRST)
    assert "is not healthy after" in result["problems"][0]["found"] and "left alone" in result["problems"][0]["found"]
    # what its life before a power cut has locked may be all that it waits for
    assert machine.running == NEW and not machine.blocked and machine.events == ["end_left", "close"]
    assert steps(result) == ["sessions", "healthy"]
    machine.health = 402
    assert not run(machine, allow_unlicensed=True)["changed"]


@given(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 9))
def test_only_what_another_node_follows_is_stopped(start: bool, first: bool, alive: bool, restarts: int) -> None:
    request = UpgradeRequest(NEW, "", "upgrade", first=first)
    way = after_failure(UpgradePlan(start=start), request, restarts, alive=alive)
    assert way is not AfterFailure.STOP or (start and not first)
    assert way is AfterFailure.LEAVE or start, "what was found running is nobody's to stop"
    if first and start and alive and restarts == 0:
        assert way is AfterFailure.LEAVE
