# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of the one call that moves everything, by what is written down and what runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord
from ansible_collections.rspm.ha.plugins.module_utils._migration.move_rules import (
    PURPOSE,
    judge_lock,
    judge_still,
    plan_move,
    start_after,
    switched_record,
)
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import block_text, parse_unit
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import Remains
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import VERB

BEGUN = Written("begun", "r1", "a", "keep", "move", "/var/x/data", "keep", begun="2026-11-28T04:00:00Z")
SWITCHED = replace(BEGUN, state="switched", switched="2026-11-28T05:00:00Z")
FINISHED = replace(SWITCHED, state="finished", finished="2026-11-28T06:00:00Z")
HELD = {"run_id": "r1", "holder": "boot/1/2"}
LOCK = LockRecord("r1", "boot/1/2", "anna@ops1", VERB, "", "2026-11-28T04:00:00Z", "2026-11-28T04:00:00Z", "move", "a")


def remains(pid: int = 0, blocked: str = "") -> Remains:
    state = "active" if pid else "inactive"
    text = f"LoadState=loaded\nUnitFileState=enabled\nActiveState={state}\nSubState=x\nMainPID={pid}\n"
    return Remains(parse_unit(text, block_text(blocked) if blocked else "", 0), (pid,) if pid else (), ())


def test_it_is_blocked_for_the_playbook_that_a_person_types() -> None:
    assert PURPOSE == VERB


@given(st.sampled_from([BEGUN, SWITCHED]), st.integers(0, 1), st.sampled_from(["", PURPOSE, "upgrade"]))
def test_what_was_switched_is_never_stopped_for_copying_or_copied_again(found: Written, pid: int, blocked: str) -> None:
    plan = plan_move(found, remains(pid, blocked), move_data=True, move_databases=False, planning=False)
    assert plan.switched == (found is SWITCHED)
    assert plan.copy_data != plan.switched and not plan.copy_databases
    assert plan.stop == (not plan.switched and (pid > 0 or blocked != PURPOSE))
    actions = plan.actions(True, [])
    assert actions[-1] == "configure" and ("switch" in actions) != plan.switched
    # nothing is configured before the switch, and nothing switched before the copy
    assert plan.switched or actions.index("copy_data") < actions.index("switch") < actions.index("configure")


@pytest.mark.parametrize("found", [None, FINISHED])
def test_what_has_not_begun_or_is_over_is_refused(found: Written | None) -> None:
    with pytest.raises(DomainError, match="was to become switched"):
        plan_move(found, remains(), move_data=True, move_databases=False, planning=False)
    with pytest.raises(DomainError, match="was to become switched"):
        switched_record(found, "t")


def test_a_check_needs_no_record() -> None:
    plan = plan_move(None, remains(1), move_data=True, move_databases=True, planning=True)
    assert plan.actions(False, ["start"]) == ["stop", "copy_data", "copy_databases", "switch", "start"]


@pytest.mark.parametrize(("data", "databases", "word"), [(False, False, "data: move"), (True, True, "database: keep")])
def test_other_choices_than_those_written_down_are_refused(data: bool, databases: bool, word: str) -> None:
    with pytest.raises(DomainError, match=word):
        plan_move(BEGUN, remains(), move_data=data, move_databases=databases, planning=False)


def test_the_switch_keeps_all_that_was_written() -> None:
    assert switched_record(BEGUN, SWITCHED.switched) == SWITCHED
    assert switched_record(SWITCHED, "later") == SWITCHED


def test_a_lock_that_is_another_runs_is_lost() -> None:
    judge_lock(LOCK, HELD)
    for found in (None, replace(LOCK, holder="boot/3/4"), replace(LOCK, run_id="r2")):
        with pytest.raises(DomainError, match="no longer this run's"):
            judge_lock(found, HELD)


def test_only_a_node_that_is_stopped_and_blocked_is_as_it_was_left() -> None:
    assert judge_still("a", remains(0, PURPOSE)) == []
    for found in (remains(), remains(7), remains(7, PURPOSE)):
        (problem,) = judge_still("a", found)
        assert problem.check == "node-stopped" and "copies would lack" in problem.why


def test_what_a_check_expects_to_start_the_node() -> None:
    plan = plan_move(BEGUN, remains(1), move_data=True, move_databases=False, planning=True)
    assert start_after(plan, False, ["enable", "wait"]) == ["unblock", "enable", "start", "wait"]
    switched = replace(plan, switched=True)
    assert start_after(switched, False, ["wait"]) == ["wait"]
    assert start_after(switched, True, []) == ["stop", "unblock", "start", "wait"]
