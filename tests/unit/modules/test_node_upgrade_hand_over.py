# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two nodes that change places, and the installation before, on a simulated machine that breaks in a wrong order."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core import host_work
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._node import host_change
from ansible_collections.rspm.ha.plugins.module_utils._node.hand_over import Said
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import DryRun
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import Metadata, RestoreState
from ansible_collections.rspm.ha.plugins.modules import node_upgrade
from tests.unit.worlds.node_upgrade_machine import FIRST, NEW, OLD, OTHERS, Machine, run, simulated, steps

NODES = {
    "path": "/srv/x",
    "attempt": "run1-a",
    "taker": "node1",
    "giver": "node2",
    "uid": 0,
    "gid": 0,
    "restore_point": "/srv/restore-point",
}
TAKES = {**FIRST, "hand_over": NODES}
GIVES = {**TAKES, "first": False}
SILENT = DomainError(Problem("hand-over", "node2 is silent", "w", "f"))


class Storage:
    """The file on the shared storage: what was said is among the machine's events."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.fails: DomainError | None = None
        self.patience = 0.0
        self.taker = self.giver = self.restore_point = ""
        self.moved_nothing = False

    def __call__(self, *, stop_timeout: float, start_timeout: float, **given: Any) -> Storage:
        assert given == NODES and start_timeout > stop_timeout
        self.patience = stop_timeout
        self.taker, self.giver, self.restore_point = given["taker"], given["giver"], given["restore_point"]
        return self

    def say(self, said: Said) -> None:
        if said is Said.STOPPED:
            assert self.machine.blocked and not self.machine.running and "own_gone" in self.machine.events
        self.machine.events.append(said.value)

    def _wait(self, what: str) -> None:
        self.machine.events.append(what)
        if self.fails:
            raise self.fails

    def await_taker(self) -> None:
        self._wait("await_taker")

    def await_giver(self) -> None:
        assert self.machine.blocked and not self.machine.running and self.machine.loaded, "ready to start at once"
        self._wait("await_giver")

    def await_end(self) -> bool:
        assert not self.machine.running, "it waits while it is stopped"
        self.machine.events.append("await_end")
        return self.moved_nothing

    @contextmanager
    def at_work(self) -> Iterator[list[Said]]:
        last = [Said.GONE]
        try:
            yield last
        finally:
            if last[-1] is Said.MOVED_NOTHING:
                assert self.machine.blocked and not self.machine.running and self.machine.events[-1] == "complete"
            self.machine.events.append(last[-1].value)

    @contextmanager
    def announced(self) -> Iterator[None]:
        try:
            yield
        except DomainError:
            self.machine.events.append("gone")
            raise


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return simulated(tmp_path, monkeypatch)


@pytest.fixture
def storage(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Storage:
    found = Storage(machine)
    monkeypatch.setattr(node_upgrade, "HandOver", found)
    return found


class Databases:
    """What was written since the first reading, and the restore point, which a plan believes."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.written = ""
        self.state = RestoreState.IN_USE

    def begin(self) -> None:
        assert not self.machine.running and "own_gone" in self.machine.events and "start" not in self.machine.events
        self.machine.events.append("first_reading")

    def doubt(self) -> str:
        assert self.machine.blocked and not self.machine.running
        self.machine.events.append("last_reading")
        return self.written

    def close(self) -> None:
        pass

    def read(self) -> Metadata:
        return Metadata(self.state, "run1", OLD, NEW, "2026-11-24T08:00:00Z", "x")

    def write(self, metadata: Metadata) -> None:
        self.state = metadata.state
        self.machine.events.append(metadata.state.value)


@pytest.fixture
def databases(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Databases:
    found = Databases(machine)
    monkeypatch.setattr(host_change, "Witness", lambda _database: found)
    monkeypatch.setattr(host_change, "StateFile", lambda _runner, _path: found)
    return found


@pytest.fixture
def taker(machine: Machine, databases: Databases) -> Machine:
    machine.version, machine.running = NEW, ""
    machine.block.parent.mkdir()
    machine.block.write_text("# Blocked by rspm.ha for: upgrade\n")
    return machine


def test_the_node_that_serves_stops_when_it_is_waited_for_and_says_so_when_that_is_proved(
    machine: Machine, storage: Storage
) -> None:
    result = run(machine, **GIVES)
    assert machine.events == ["await_taker", "stops", "stop", "own_gone", "stopped", "close", "await_end"]
    assert steps(result) == ["asked", "block", "stop", "prove", "sessions", "watched"]
    assert result["changed"] and result["actions"] == ["block", "stop", "prove"] and result["version"] == ""
    assert machine.version == OLD and machine.blocked and not machine.running
    assert storage.patience > 120


def test_a_node_that_nobody_waits_for_goes_on_serving(machine: Machine, storage: Storage) -> None:
    storage.fails = SILENT
    assert run(machine, **GIVES)["problems"][0]["check"] == "hand-over"
    assert machine.running == OLD and not machine.blocked and machine.events == ["await_taker", "close"]


def test_a_node_that_has_the_newer_version_itself_is_not_stopped(machine: Machine, storage: Storage) -> None:
    machine.version = NEW
    assert "moving the schema" in run(machine, **GIVES)["problems"][0]["why"]
    assert machine.running == OLD and machine.events == []


def test_the_first_starts_after_the_other_ones_word_and_the_databases_proof(taker: Machine, storage: Storage) -> None:
    result = run(taker, **TAKES)
    assert taker.events == ["await_giver", "own_gone", "others_gone", "first_reading", "close", "start", "gone"]
    assert steps(result) == ["prove", "handed_over", "sessions", "unblock", "start", "healthy", "reload"]
    assert taker.running == NEW and not taker.blocked


def test_without_that_word_nothing_starts(taker: Machine, storage: Storage) -> None:
    storage.fails = SILENT
    assert run(taker, **TAKES)["problems"][0]["found"] == "node2 is silent"
    assert taker.blocked and not taker.running and taker.events == ["await_giver", "close", "gone"]


def test_with_the_word_alone_nothing_starts_either(taker: Machine, storage: Storage) -> None:
    taker.others_after_stop = DomainError(OTHERS)
    assert run(taker, **TAKES)["problems"][0]["check"] == "database-sessions"
    assert taker.blocked and not taker.running and taker.events[-1] == "gone"


@pytest.fixture
def failing(taker: Machine, storage: Storage) -> Machine:
    taker.fails_to_start = True
    return taker


def test_a_first_that_did_not_start_and_has_written_nothing_gives_the_place_back(
    failing: Machine, databases: Databases
) -> None:
    result = run(failing, **TAKES)
    problem = result["problems"][0]
    assert failing.events[-5:] == ["start", "stop", "last_reading", "complete", "moved_nothing"]
    assert failing.blocked and not failing.running and databases.state is RestoreState.COMPLETE
    assert steps(result)[-4:] == ["stop_again", "prove", "writes", "given_back"]
    assert "panic: migration 42 failed" in problem["found"] and "node2 is to serve again" in problem["found"]
    assert "loses nothing: ansible-playbook -i <inventory> rspm.ha.rollback" in problem["fix"]


def test_one_that_has_or_may_have_written_keeps_all_stopped(failing: Machine, databases: Databases) -> None:
    databases.written = "in main 3 rows inserted"
    problem = run(failing, **TAKES)["problems"][0]
    assert failing.events[-1] == "gone" and databases.state is RestoreState.IN_USE and failing.blocked
    assert "not started again, as the schema may have moved: in main 3 rows inserted" in problem["found"]


@pytest.mark.parametrize("state", [RestoreState.RESTORING, RestoreState.COMPLETE])
def test_a_restore_point_that_is_not_in_use_is_left_alone(
    failing: Machine, databases: Databases, state: RestoreState
) -> None:
    databases.state = state
    assert f"the restore point is {state.value}" in run(failing, **TAKES)["problems"][0]["found"]
    assert failing.events[-1] == "gone" and databases.state is state


def test_one_that_lives_and_is_not_healthy_is_left_alone(
    taker: Machine, storage: Storage, databases: Databases
) -> None:
    taker.health, taker.starting = 503, True
    assert "left alone" in run(taker, **TAKES)["problems"][0]["found"]
    assert taker.running == NEW and taker.events[-1] == "gone" and databases.state is RestoreState.IN_USE


def test_the_node_that_served_serves_again_where_the_first_says_so(
    machine: Machine, storage: Storage, databases: Databases
) -> None:
    storage.moved_nothing, databases.state = True, RestoreState.COMPLETE
    result = run(machine, **GIVES)
    assert machine.running == OLD and not machine.blocked and machine.events[-2:] == ["await_end", "start"]
    assert steps(result)[-5:] == ["watched", "unblock", "start", "healthy", "reload"]
    problem = result["problems"][0]
    assert f"serves with {OLD} again, because {NEW} did not start on node1" in problem["found"]
    assert re.search(r"it did not serve for \d+ s", problem["found"]) and "rspm.ha.rollback" in problem["fix"]


def test_it_stays_stopped_where_the_restore_point_is_in_use_by_then(
    machine: Machine, storage: Storage, databases: Databases
) -> None:
    storage.moved_nothing = True
    assert "the restore point is in use" in run(machine, **GIVES)["problems"][0]["found"]
    assert machine.blocked and not machine.running and machine.events[-1] == "await_end"


def test_one_that_does_not_come_back_is_told(machine: Machine, storage: Storage, databases: Databases) -> None:
    storage.moved_nothing, databases.state, machine.fails_to_start = True, RestoreState.COMPLETE, True
    problem = run(machine, **GIVES)["problems"][0]
    assert "was to serve with" in problem["found"] and "panic: migration 42" in problem["found"]


def test_check_mode_waits_for_nobody(taker: Machine, storage: Storage) -> None:
    assert run(taker, **TAKES, _ansible_check_mode=True)["actions"] == ["prove", "unblock", "start", "wait"]
    assert run(taker, **GIVES, _ansible_check_mode=True)["problems"]
    taker.version = taker.running = OLD
    result = run(taker, **GIVES, _ansible_check_mode=True)
    assert result["diff"]["after"] == f"rstudio-pm {OLD}, stopped, blocked\n" and taker.events == []


@dataclass
class Two:
    """What two calls came to, in two processes that share nothing but the file."""

    taker: dict[str, Any]
    giver: dict[str, Any]
    giver_events: list[str]


def both_run(taker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Databases) -> Two:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        nodes = {**NODES, "path": f"{folder}/hand-over", "uid": os.geteuid(), "gid": os.getegid()}
        child = os.fork()
        if child == 0:
            try:
                (tmp_path / "giver").mkdir()
                giver = simulated(tmp_path / "giver", monkeypatch)
                monkeypatch.setattr(host_work, "LOCK_PATH", str(tmp_path / "giver" / "lock"))
                databases.state = RestoreState.COMPLETE
                gave = run(giver, **{**GIVES, "hand_over": nodes})
                (tmp_path / "gave").write_text(json.dumps([gave, [*giver.events, giver.running]]))
            finally:
                os._exit(0)
        result = run(taker, **{**TAKES, "hand_over": nodes})
        os.waitpid(child, 0)
    return Two(result, *json.loads((tmp_path / "gave").read_text()))


def test_two_calls_meet_by_the_file_alone(
    taker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> None:
    two = both_run(taker, tmp_path, monkeypatch, databases)
    assert "problems" not in two.giver and two.giver_events == ["stop", "own_gone", "close", ""]
    assert taker.running == NEW and "problems" not in two.taker
    began = {step["step"]: step["at"] for step in two.taker["timeline"]}
    last = two.giver["timeline"][-2]
    assert last["step"] == "sessions" and last["at"] <= began["sessions"] < began["start"]


@pytest.mark.parametrize("written", ["", "in main 1 rows inserted"])
def test_the_place_is_given_back_by_the_file_alone(
    taker: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Databases, written: str
) -> None:
    taker.fails_to_start, databases.written = True, written
    two = both_run(taker, tmp_path, monkeypatch, databases)
    assert taker.blocked and not taker.running and two.taker["problems"]
    assert two.giver_events[-1] == ("" if written else OLD) and bool(two.giver.get("problems")) is not bool(written)


APART = {"start": False, "apart": True}


@pytest.fixture
def apart(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was run apart; what is run apart is told from what is not by the runner."""
    commands: list[str] = []

    def opened(runner: Machine, _host: str, _places: object) -> Any:
        def run_apart(argv: list[str], **options: Any) -> CompletedCommand:
            commands.append(argv[0])
            return runner(argv, **options)

        return run_apart

    monkeypatch.setattr(host_change, "open_apart", opened)
    monkeypatch.setattr(PackageTool, "simulate", lambda _tool, _path: DryRun((), (), ""))
    return commands


def test_what_is_installed_before_is_installed_apart(taker: Machine, apart: list[str]) -> None:
    taker.version = OLD
    result = run(taker, **APART)
    assert "dpkg" in apart and taker.events == ["install"] and taker.version == NEW
    assert steps(result) == ["prove", "install", "reload"] and taker.blocked and not taker.running
    assert not run(taker, **APART)["changed"]


def test_an_installation_that_was_cut_is_repaired_apart(taker: Machine, apart: list[str]) -> None:
    taker.status = "half-configured ok"
    run(taker, **APART)
    assert apart.count("dpkg") == 2 and taker.events == ["dpkg", "install"]


def test_a_script_that_needs_what_it_can_not_reach_is_told_of_the_other_order(taker: Machine, apart: list[str]) -> None:
    taker.version, taker.install_fails = OLD, True
    problem = run(taker, **APART)["problems"][0]
    assert problem["check"] == "package-install" and "first_serves_until_its_turn" in problem["fix"]


def test_a_package_that_brings_others_is_refused_while_nothing_has_stopped(
    machine: Machine, apart: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(machine, **APART, _ansible_check_mode=True)["actions"] == ["prove", "install"]
    monkeypatch.setattr(PackageTool, "simulate", lambda _tool, _path: DryRun(("libssl3",), (), ""))
    problem = run(machine, **APART, _ansible_check_mode=True)["problems"][0]
    assert problem["check"] == "package-dependencies" and "libssl3" in problem["found"]
    assert "first_serves_until_its_turn" in problem["fix"] and machine.running == OLD
