# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans of an upgrade whose package is installed before the outage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import (
    Balancer,
    LockObservation,
    Package,
    Refusal,
    to_data,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.means import refuse_forks
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Mode, NodeObservation, Options, Plan
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.plan import _serves, plan_rollback, plan_upgrade
from tests.unit.worlds.upgrade_clusters import NEW, NOW, OLD, OURS, cluster, halted, serving, told, waiting

NEWER = "2026.08.0"
AHEAD = Options(Mode.INSTALL_BEFORE)
FIRST_HANDS = "first: hand_over a b"
FREE = LockObservation()


def test_where_it_is_installed_before_the_outage_one_node_serves_until_it_hands_over() -> None:
    outcome = plan_upgrade(cluster(serving("a"), serving("b"), serving("c")), NEW, AHEAD)
    assert told(outcome) == [
        "lock: take_lock",
        "stage: stage a b c",
        "restore_point: create_restore_point",
        "drain: lb_drain a c",
        "stop: stop_and_block a c",
        "prove: prove_stopped",
        "install: install_next a",
        # the balancer finds out by its checks when the first is back
        "first_awaited: lb_await a",
        "commit: mark_restore_point_in_use",
        "first: hand_over a b",
        "first_back: lb_ready a",
        "rest: upgrade b c",
        "rest_back: lb_ready b c",
        "hold: hold a b c",
        "unlock: release_lock",
    ]
    assert isinstance(outcome, Plan)
    assert (outcome.first, outcome.serves) == ("a", "b")


@pytest.mark.parametrize("nodes", [[serving("a")], [serving("a"), halted("b")], [serving("a"), serving("b")]])
def test_the_plan_says_which_node_is_not_proved_stopped_before_its_own_step(nodes: list[NodeObservation]) -> None:
    served = {mode: plan_upgrade(cluster(*nodes), NEW, Options(mode, "a")) for mode in Mode}
    names = {mode: plan.serves for mode, plan in served.items() if isinstance(plan, Plan)}
    giver = "b" if nodes[-1].process and len(nodes) > 1 else "a"
    assert names == {Mode.FIRST_SERVES: "a", Mode.STOP_ALL: "", Mode.INSTALL_BEFORE: giver}


INSTALLED = cluster(
    waiting("a", NEW),
    serving("b", staged=True),
    waiting("c"),
    point=(RestoreState.COMPLETE, "run1"),
    lock=OURS,
    now=NOW,
)


def test_a_run_that_died_after_the_installation_goes_on_with_the_same_nodes() -> None:
    assert told(plan_upgrade(INSTALLED, NEW, AHEAD))[:5] == [
        # b has written since
        "restore_point: create_restore_point",
        "prove: prove_stopped",
        "first_awaited: lb_await a",
        "commit: mark_restore_point_in_use",
        "first: hand_over a b",
    ]


def test_a_first_node_that_the_balancer_awaits_already_is_not_told_again() -> None:
    awaited = replace(INSTALLED.nodes[0], balancer=Balancer.READY)
    lines = told(plan_upgrade(replace(INSTALLED, nodes=(awaited, *INSTALLED.nodes[1:])), NEW, AHEAD))
    assert FIRST_HANDS in lines and not any("lb_await" in line or "lb_drain" in line for line in lines)


@pytest.mark.parametrize("before", [Balancer.READY, Balancer.DRAIN])
def test_where_a_command_tells_the_balancer_the_first_is_not_drained(before: Balancer) -> None:
    nodes = [serving(name, by_command=True, balancer=before) for name in "abc"]
    lines = told(plan_upgrade(cluster(*nodes), NEW, AHEAD))
    assert ("drain: lb_drain c" in lines) is (before is Balancer.READY)
    assert FIRST_HANDS in lines and not any("lb_await" in line for line in lines)


def test_an_installation_that_was_cut_is_repeated_on_the_same_node() -> None:
    nodes = (waiting("a", NEW, package=Package.BROKEN), *INSTALLED.nodes[1:])
    outcome = plan_upgrade(replace(INSTALLED, nodes=nodes), NEW, AHEAD)
    assert "install: install_next a" in told(outcome)
    assert isinstance(outcome, Plan) and outcome.from_version == OLD


def test_another_mode_may_go_on_after_the_installation() -> None:
    lines = told(plan_upgrade(INSTALLED, NEW))
    assert "stop: stop_and_block b" in lines and "first: upgrade_first a" in lines


def test_once_the_schema_may_have_moved_an_older_node_serves_only_for_the_run_that_left_it_so() -> None:
    observed = replace(INSTALLED, restore_point=replace(INSTALLED.restore_point, state=RestoreState.IN_USE))
    lines = told(plan_upgrade(observed, NEW, AHEAD))
    assert lines[0] == "stop: stop_and_block b" and "first: upgrade_first a" in lines
    assert told(plan_upgrade(observed, NEW, replace(AHEAD, serves="b")))[:2] == ["prove: prove_stopped", FIRST_HANDS]


def test_a_newer_node_that_a_person_has_started_is_written_down_before_anything_stops() -> None:
    observed = replace(INSTALLED, nodes=(serving("a", NEW), *INSTALLED.nodes[1:]))
    assert told(plan_upgrade(observed, NEW, AHEAD))[:2] == [
        "commit: mark_restore_point_in_use",
        "stop: stop_and_block b",
    ]
    # without the lock of the upgrade nobody knows who has installed it
    outcome = plan_upgrade(replace(observed, lock=FREE), NEW, AHEAD)
    assert isinstance(outcome, Refusal) and [each.check for each in outcome.problems] == ["mixed-versions"]


def test_a_rollback_after_the_installation_restores_nothing_and_loses_nothing() -> None:
    outcome = plan_rollback(INSTALLED)
    assert told(outcome) == [
        "install: install_previous a",
        "rest: start a c",
        "rest_back: lb_ready a c",
        "hold: hold a",
        "unlock: release_lock",
    ]
    assert isinstance(outcome, Plan) and outcome.gives_up == ""


GIVEN_BACK = cluster(
    waiting("a", NEW),
    serving("b"),
    waiting("c"),
    point=(RestoreState.COMPLETE, "run1"),
    lock=OURS,
    now=NOW,
)


def test_after_a_first_node_that_did_not_start_the_same_command_and_the_way_back_are_open() -> None:
    lines = told(plan_upgrade(GIVEN_BACK, NEW, AHEAD))
    # b has written since it serves again
    assert lines[:6] == [
        "stage: stage b",
        "restore_point: create_restore_point",
        "prove: prove_stopped",
        "first_awaited: lb_await a",
        "commit: mark_restore_point_in_use",
        FIRST_HANDS,
    ]
    back = told(plan_rollback(GIVEN_BACK))
    assert "rest: start a c" in back and not any("restore:" in line or "stop" in line for line in back)


def test_where_the_one_that_served_did_not_come_back_either_both_are_open_too() -> None:
    nodes = (GIVEN_BACK.nodes[0], waiting("b"), GIVEN_BACK.nodes[2])
    observed = replace(GIVEN_BACK, nodes=nodes)
    assert "first: upgrade_first a" in told(plan_upgrade(observed, NEW, AHEAD))
    assert [line for line in told(plan_rollback(observed)) if line.startswith(("first", "rest:"))] == [
        "first: start a",
        "first_back: lb_ready a",
        "rest: start b c",
    ]


def test_two_nodes_can_not_change_places_one_after_the_other() -> None:
    planned = plan_upgrade(INSTALLED, NEW, AHEAD)
    assert isinstance(planned, Plan) and not refuse_forks(planned, 2) and not refuse_forks(Plan(), 1)
    (problem,) = refuse_forks(planned, 1)
    assert "a and b" in problem.found and "forks" in problem.fix and "first_serves_until_its_turn" in problem.fix


def test_no_third_version_comes_in_between() -> None:
    outcome = plan_upgrade(INSTALLED, NEWER, AHEAD)
    assert isinstance(outcome, Refusal)
    assert [problem.check for problem in outcome.problems] == ["unfinished-upgrade"]
    assert f"installed {NEW} on a, where it has moved nothing" in str(outcome.problems[0])


def test_a_run_that_looks_again_knows_which_node_it_has_left_serving() -> None:
    planned = plan_upgrade(INSTALLED, NEW, AHEAD)
    assert isinstance(planned, Plan)
    assert _serves(to_data(planned.phases), planned.first) == "b"
    assert _serves([], "a") == _serves([{"name": "first", "steps": {"a": "upgrade_first"}}], "a") == ""
