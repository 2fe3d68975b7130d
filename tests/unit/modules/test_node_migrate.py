# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one call that moves everything to a node, on one that breaks when the order is wrong; killed at every step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.host import LockFolder
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_beside import Beside
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_lookout import Lookout
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_record import RecordStore
from ansible_collections.rspm.ha.plugins.module_utils._service import host_stop
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host import TreeCopy
from tests.unit.worlds.node_migrate_machine import (
    Machine,
    arguments,
    as_before,
    begun,
    killed_at,
    run,
    simulated,
)
from tests.unit.worlds.node_upgrade_machine import OLD
from tests.unit.worlds.tree_copies import needs_rsync, seen

pytestmark = needs_rsync
EVERYTHING = "data and databases"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return simulated(tmp_path, monkeypatch)


def steps(result: dict[str, Any]) -> list[str]:
    return [step["step"] for step in result["timeline"]]


def has_moved(machine: Machine, moved: str = EVERYTHING) -> None:
    """Assert that the node serves with what it is to have, and that this is written down everywhere."""
    assert machine.running == OLD and not machine.blocked
    assert (
        f"DataDir = {machine.folder}/{'copy' if 'data' in moved.split() else 'storage/data'}"
        in machine.config.read_text()
    )
    for written in (machine.record.read_shared(), machine.record.read_own()):
        assert written is not None and written.state == "switched"
    if "data" in moved.split():
        assert seen(machine.folder / "copy") == seen(machine.folder / "storage/data")
    assert machine.copied() == ("databases" in moved.split())


def test_everything_in_its_order_and_a_second_call_does_nothing(machine: Machine) -> None:
    begun(machine, EVERYTHING)
    result = run(arguments(machine, EVERYTHING))
    assert not result.get("failed"), result["msg"]
    has_moved(machine)
    made = steps(result)
    assert made[:6] == ["databases observe", "others_gone", "block", "stop", "prove", "sessions"]
    assert made[-7:] == ["still_stopped", "switch", "configure", "unblock", "start", "healthy", "reload"]
    assert {"data compare", "data copy", "data verify", "databases restore main"} == {*made[6:-7]} - {"data sync"}
    assert [step["at"] for step in result["timeline"]] == sorted(step["at"] for step in result["timeline"])
    assert result["actions"] == [
        *("stop", "copy_data", "copy_databases", "switch", "configure", "unblock", "start", "wait"),
    ]
    assert result["record"]["state"] == "switched" and result["version"] == OLD and result["health_code"] == 200
    assert result["data"]["verified"] > 10 and result["databases"] == {"tables": 9, "rows": 30}
    assert str(machine.config) in result["configuration"]["files"]
    machine.while_copying = lambda: pytest.fail("copied again")
    (machine.folder / "copy/plain").write_text("what the node has written since")
    again = run(arguments(machine, EVERYTHING))
    assert not again["changed"] and again["actions"] == [] and steps(again) == ["configure"]


@pytest.mark.parametrize("moved", ["", "data", "databases"])
def test_what_is_kept_is_not_copied(machine: Machine, moved: str) -> None:
    begun(machine, moved)
    result = run(arguments(machine, moved))
    assert not result.get("failed"), result["msg"]
    has_moved(machine, moved)
    parts = {name.split()[0] for name in steps(result) if " " in name}
    assert parts == ({moved} if moved else set()) and (result["data"] == {}) == (moved != "data")


@pytest.mark.parametrize(("moved", "count"), [("", 12), (EVERYTHING, 14)])
def test_killed_at_any_step_the_same_call_goes_on(machine: Machine, moved: str, count: int) -> None:
    given, number = arguments(machine, moved), 0
    begun(machine, moved)
    while killed_at(number, given):
        # all that it was before, or everything and only forward
        if machine.record.read_own() is None:
            as_before(machine)
        elif machine.running:
            has_moved(machine, moved)
        assert not run(given).get("failed"), number
        has_moved(machine, moved)
        _begin_anew(machine, moved)
        number += 1
    assert number == count
    has_moved(machine, moved)


def test_killed_between_both_records_it_goes_on_from_the_switch(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(machine, EVERYTHING)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(RecordStore, "write_own", lambda *_record: os.kill(os.getpid(), signal.SIGKILL))
        run(arguments(machine, EVERYTHING))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    written = machine.record.read_shared()
    assert written is not None and written.state == "switched" and not machine.running and machine.blocked
    machine.while_copying = lambda: pytest.fail("copied again")
    assert steps(run(arguments(machine, EVERYTHING))) == ["configure", "unblock", "start", "healthy", "reload"]


def _begin_anew(machine: Machine, moved: str) -> None:
    (machine.folder / "own/migration.json").unlink()
    (machine.folder / "databases").unlink(missing_ok=True)
    machine.config.unlink()
    machine.events.clear()
    begun(machine, moved)


def _broken(machine: Machine) -> None:
    lock = LockFolder(f"{machine.folder}/storage/.rspm-ha/lock", os.getuid(), os.getgid())
    lock.release(1, {"how": "broken"})


def _taken(machine: Machine) -> None:
    lock = LockFolder(f"{machine.folder}/storage/.rspm-ha/lock", os.getuid(), os.getgid())
    record = lock.read().record
    assert record is not None
    lock.create(2, replace(record, holder="boot/7/7"))


WHILE: dict[str, tuple[Callable[[Machine], object], str, str]] = {
    "another node is started": (lambda m: m.looks.append(True), "database-sessions", "what the copies would lack"),
    "it is unblocked": (lambda m: m.block.unlink(), "node-stopped", "what the copies would lack"),
    "it is started": (lambda m: setattr(m, "running", OLD), "node-stopped", "what the copies would lack"),
    "the lock is broken": (_broken, "cluster-lock", "is now free"),
    "the lock is taken over": (_taken, "cluster-lock", "no longer this run's"),
    "it is given up": (lambda m: m.record.remove_shared(), "migration-record", "was to become switched"),
}


@pytest.mark.parametrize(("act", "check", "word"), WHILE.values(), ids=WHILE)
def test_what_happens_while_it_is_copied_keeps_the_switch_from_being_written(
    machine: Machine, act: Callable[[Machine], object], check: str, word: str
) -> None:
    begun(machine, EVERYTHING)
    machine.while_copying = lambda: act(machine)
    result = run(arguments(machine, EVERYTHING))
    assert [problem["check"] for problem in result["problems"]] == [check] and word in result["msg"]
    assert not machine.config.exists() and "start" not in machine.events
    written = machine.record.read_shared()
    assert (written.state if written else "absent") == ("absent" if check == "migration-record" else "begun")
    assert result["record"]["state"] == "begun" and "switch" not in steps(result)[:-1]


def test_a_node_that_was_started_and_stopped_again_while_it_was_copied_is_not_overlooked(machine: Machine) -> None:
    begun(machine, EVERYTHING)

    def visit() -> None:
        machine.visited = True
        time.sleep(1.5)
        machine.visited = False

    machine.while_copying = visit
    result = run(arguments(machine, EVERYTHING))
    assert [problem["check"] for problem in result["problems"]] == ["database-sessions"]
    assert "node2 from 192.0.2.2" in result["msg"] and "what the copies would lack" in result["msg"]
    as_before(machine)
    machine.while_copying = lambda: None
    assert not run(arguments(machine, EVERYTHING)).get("failed")
    has_moved(machine)


def test_databases_that_are_away_for_a_while_end_no_lookout(machine: Machine) -> None:
    opened: list[bool] = []

    def open_watch() -> Any:
        opened.append(True)
        if len(opened) == 1:
            raise DomainError(Problem("database-sessions", "away", "w", "f"))
        return machine

    lookout = Lookout(open_watch)
    deadline = time.monotonic() + 20
    while len(opened) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lookout.end() == [] and len(opened) == 2


def test_a_node_beside_which_others_work_is_not_stopped(machine: Machine) -> None:
    begun(machine, EVERYTHING)
    machine.looks = [True]
    result = run(arguments(machine, EVERYTHING))
    assert steps(result) == ["databases observe", "others_gone"] and machine.running == OLD and not machine.blocked
    machine.looks = [False, True]
    result = run(arguments(machine, EVERYTHING))
    assert steps(result)[-1] == "sessions" and machine.blocked and not machine.copied()
    as_before(machine)


def test_a_node_that_somebody_unblocks_while_it_stops_is_not_taken_for_stopped(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(machine, EVERYTHING)
    load = host_stop.load_remains

    def unblocked(*arguments: Any) -> Any:
        machine.block.unlink(missing_ok=True)
        return load(*arguments)

    monkeypatch.setattr(host_stop, "load_remains", unblocked)
    result = run(arguments(machine, EVERYTHING))
    assert "somebody has unblocked it meanwhile" in result["msg"] and not machine.copied()
    as_before(machine)


def test_both_failures_are_told_and_what_was_copied_counts(machine: Machine) -> None:
    begun(machine, EVERYTHING)
    (machine.folder / "copy").mkdir()
    (machine.folder / "copy/theirs").write_text("x")
    machine.fails = [Problem("database-copy", "node1 is full", "w", "f")]
    result = run(arguments(machine, EVERYTHING))
    assert [problem["check"] for problem in result["problems"]] == ["tree-copy-destination", "database-copy"]
    as_before(machine)
    (machine.folder / "copy/theirs").unlink()
    result = run(arguments(machine, EVERYTHING))
    assert [problem["check"] for problem in result["problems"]] == ["database-copy"]
    assert result["data"]["copied_files"] == 12 and result["databases"] == {}
    machine.fails = []
    result = run(arguments(machine, EVERYTHING))
    assert result["data"]["copied_files"] == 0
    has_moved(machine)


def test_what_keeps_the_databases_from_being_copied_is_found_while_the_node_serves(machine: Machine) -> None:
    begun(machine, EVERYTHING)
    machine.unprepared = [Problem("database-copy", "the target is not empty", "w", "f")]
    result = run(arguments(machine, EVERYTHING))
    assert [problem["check"] for problem in result["problems"]] == ["database-copy"]
    assert steps(result) == ["databases observe"] and machine.running == OLD and not machine.blocked
    machine.unprepared = []
    assert not run(arguments(machine, EVERYTHING)).get("failed")
    has_moved(machine)


def test_both_are_copied_at_the_same_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(machine, EVERYTHING)
    sign, copy = machine.folder / "sign", TreeCopy.run
    machine.while_copying = sign.touch

    def late(self: TreeCopy) -> Any:
        deadline = time.monotonic() + 20
        while not sign.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sign.exists()
        return copy(self)

    monkeypatch.setattr(TreeCopy, "run", late)
    result = run(arguments(machine, EVERYTHING))
    assert not result.get("failed"), result["msg"]
    has_moved(machine)


def test_a_node_that_does_not_start_is_blocked_and_goes_on_from_there(machine: Machine) -> None:
    begun(machine, EVERYTHING)
    machine.fails_to_start = True
    result = run(arguments(machine, EVERYTHING))
    assert result["problems"][0]["check"] == "node-health" and result["record"]["state"] == "switched"
    assert steps(result)[-2:] == ["block_again", "stop_again"] and machine.blocked
    machine.fails_to_start = False
    machine.while_copying = lambda: pytest.fail("copied again")
    again = run(arguments(machine, EVERYTHING))
    assert steps(again) == ["configure", "unblock", "start", "healthy", "reload"]
    has_moved(machine)


def test_a_node_that_was_started_as_it_was_after_the_switch_is_stopped_first(machine: Machine) -> None:
    begun(machine, "")
    assert not run(arguments(machine, "")).get("failed")
    given = arguments(machine, "")
    given["configuration"]["config"] = {"Git": {"PollInterval": "9m"}}
    seen_by_check = run({**given, "_ansible_check_mode": True})
    assert seen_by_check["actions"] == ["configure", "stop", "unblock", "start", "wait"]
    result = run(given)
    assert steps(result)[:4] == ["configure", "block", "stop", "prove"] and result["changed"]
    has_moved(machine, "")


def test_a_check_changes_nothing_and_shows_what_would(machine: Machine) -> None:
    check = {"_ansible_check_mode": True, "_ansible_diff": True}
    # nothing was written down or copied before
    result = run(arguments(machine, EVERYTHING, **check))
    assert result["actions"] == [
        *("stop", "copy_data", "copy_databases", "switch", "configure", "unblock", "start", "wait"),
    ]
    (machine.folder / "etc/rstudio-pm.key").write_text("a key that is in the data too\n")
    assert "configure" not in run(arguments(machine, EVERYTHING, **check))["actions"]
    (machine.folder / "etc/rstudio-pm.key").unlink()
    begun(machine, "")
    result = run(arguments(machine, "", **check))
    assert result["actions"] == ["stop", "switch", "configure", "unblock", "start", "wait"]
    assert result["changed"] and result["timeline"] == [] and result["version"] == ""
    assert any("PollInterval = 5m" in line for line in result["configuration"]["changes"])
    assert result["diff"][0]["before"] == "rstudio-pm, running, not blocked\n"
    assert machine.running == OLD and machine.events == [] and not machine.config.exists()


def test_what_is_wrong_beforehand_stops_nothing(machine: Machine) -> None:
    given = arguments(machine, "")
    assert "migration is absent" in run(given)["msg"]
    begun(machine, EVERYTHING)
    assert run(given)["problems"][0]["check"] == "migration-choices"
    begun(machine, "")
    wrong = arguments(machine, "")
    wrong["configuration"]["config"] = {"Server": {"DataDir": "/elsewhere"}}
    assert run(wrong)["problems"][0]["check"] == "owned-setting"
    assert run({**given, "version": "2026.08.0"})["problems"][0]["check"] == "package-staged"
    assert machine.running == OLD and machine.events == [] and not machine.blocked


def test_what_works_beside_a_process_ends_with_it(tmp_path: Path) -> None:
    parent = os.fork()
    if parent == 0:

        def work() -> dict[str, Any]:
            (tmp_path / "pid").write_text(str(os.getpid()))
            time.sleep(60)
            return {}

        Beside(work).result()
        os._exit(0)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    child = int((tmp_path / "pid").read_text())
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_mistake_in_what_works_beside_is_not_lost() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        Beside(lambda: {"x": 1 // 0}).result()


def test_copying_that_was_killed_is_told_as_that(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(machine, EVERYTHING)
    with monkeypatch.context() as patch:
        patch.setattr(TreeCopy, "run", lambda _self: os.kill(os.getpid(), signal.SIGKILL))
        result = run(arguments(machine, EVERYTHING))
    assert [problem["check"] for problem in result["problems"]] == ["tree-copy"] and "was killed" in result["msg"]
    as_before(machine)
    assert not run(arguments(machine, EVERYTHING)).get("failed")
    has_moved(machine)
