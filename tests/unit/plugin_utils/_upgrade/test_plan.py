# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans and refusals of the cases that people meet, and what holds for any observation at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import (
    CLUSTER,
    Balancer,
    LockObservation,
    Package,
    Refusal,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    Action,
    DatabaseObservation,
    Mode,
    NodeObservation,
    Observations,
    Options,
    PhaseName,
    Plan,
    RestorePoint,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.plan import plan_rollback, plan_upgrade
from tests.unit.worlds.upgrade_clusters import NEW, OLD, OURS, cluster, halted, serving, told

OLDER, NEWER = "2025.09.2-10", "2026.08.0"
FREE = LockObservation()


def test_a_healthy_cluster_is_upgraded_in_the_order_of_the_guide() -> None:
    outcome = plan_upgrade(cluster(serving("a"), serving("b"), serving("c")), NEW)
    assert told(outcome) == [
        "lock: take_lock",
        "stage: stage a b c",
        "restore_point: create_restore_point",
        "drain: lb_drain b c",
        "stop: stop_and_block b c",
        "prove: prove_stopped",
        "commit: mark_restore_point_in_use",
        "first: upgrade_first a",
        "first_back: lb_ready a",
        "rest: upgrade b c",
        "rest_back: lb_ready b c",
        "hold: hold a b c",
        "unlock: release_lock",
    ]
    assert isinstance(outcome, Plan)
    assert (outcome.first, outcome.from_version, outcome.to_version) == ("a", OLD, NEW)


def test_the_team_may_choose_the_first_node_and_stop_all_at_once() -> None:
    lines = told(plan_upgrade(cluster(serving("a"), serving("b")), NEW, Options(Mode.STOP_ALL, "b")))
    assert "stop: stop_and_block a b" in lines
    assert "first: upgrade_first b" in lines


def test_where_all_stop_first_the_restore_point_is_made_anew_when_that_is_proved() -> None:
    lines = told(plan_upgrade(cluster(serving("a"), serving("b")), NEW, Options(Mode.STOP_ALL)))
    assert [line.split(":")[0] for line in lines[2:9]] == [
        *("restore_point", "drain", "stop", "prove", "final_restore_point", "commit", "first")
    ]
    # one that was made before the stop doesn't hold what was written until then
    observed = cluster(halted("a"), halted("b"), point=(RestoreState.COMPLETE, "run1"), lock=OURS)
    lines = told(plan_upgrade(observed, NEW, Options(Mode.STOP_ALL)))
    assert lines[:3] == ["prove: prove_stopped", "final_restore_point: create_restore_point", lines[2]]
    assert lines[2].startswith("commit")


def test_a_cluster_that_is_there_needs_nothing() -> None:
    assert told(plan_upgrade(cluster(serving("a", NEW), serving("b", NEW)), NEW)) == []


def test_an_rpm_with_a_packaging_revision_is_the_same_version() -> None:
    assert told(plan_upgrade(cluster(serving("a", NEW, installed_version="2026.04.0-1")), NEW)) == []


@pytest.mark.parametrize(
    ("leftover", "repair"),
    [
        ({"blocked": True, "process": False, "healthy": False, "running_version": ""}, "rest: start b"),
        ({"blocked": True}, "rest: start b"),
        ({"enabled": False}, "rest: start b"),
        ({"held": False}, "hold: hold b"),
        ({"balancer": Balancer.DRAIN}, "first_back: lb_ready b"),
        ({"balancer": Balancer.MAINT}, "first_back: lb_ready b"),
        ({"healthy": False}, "first: start b"),
        ({"running_version": ""}, "first: start b"),
    ],
)
def test_what_a_run_left_behind_is_repaired(leftover: dict[str, Any], repair: str) -> None:
    lines = told(plan_upgrade(cluster(serving("a", NEW), serving("b", NEW, **leftover)), NEW))
    assert repair in lines
    assert lines[0] == "lock: take_lock"
    assert not [line for line in lines if "stop" in line or "upgrade" in line or "restore" in line]


def test_a_lock_left_at_the_end_is_taken_over_and_released() -> None:
    lock = LockObservation(LockView.TAKEABLE, "run1")
    assert told(plan_upgrade(cluster(serving("a", NEW), lock=lock), NEW)) == ["lock: take_lock", "unlock: release_lock"]


def test_a_run_that_died_after_the_first_node_goes_on_with_the_rest() -> None:
    observed = cluster(serving("a", NEW), halted("b"), halted("c"), point=(RestoreState.IN_USE, "run1"), lock=OURS)
    assert told(plan_upgrade(observed, NEW)) == [
        "rest: upgrade b c",
        "rest_back: lb_ready b c",
        "hold: hold b c",
        "unlock: release_lock",
    ]


def test_a_first_node_cut_in_the_middle_of_its_installation_goes_first_again() -> None:
    broken = halted("b", NEW, package=Package.BROKEN)
    observed = cluster(halted("a"), broken, point=(RestoreState.IN_USE, "run1"), lock=OURS)
    lines = told(plan_upgrade(observed, NEW))
    assert "first: upgrade_first b" in lines
    assert "restore_point: create_restore_point" not in lines


def test_a_first_node_that_is_still_moving_the_schema_is_waited_for() -> None:
    starting = serving("a", NEW, running_version="", healthy=False)
    observed = cluster(starting, halted("b"), point=(RestoreState.IN_USE, "run1"), lock=OURS)
    assert told(plan_upgrade(observed, NEW))[0] == "first: start a"


def test_an_old_node_started_by_hand_is_stopped_before_anything_else() -> None:
    observed = cluster(serving("a", NEW), serving("b"), halted("c"), point=(RestoreState.IN_USE, "run1"), lock=OURS)
    assert told(plan_upgrade(observed, NEW))[0] == "stop: stop_and_block b"


@pytest.mark.parametrize(("run_id", "lock"), [("run1", OURS), ("run0", OURS), ("run1", FREE)])
@pytest.mark.parametrize("a", [serving("a"), halted("a")])
def test_a_restore_point_is_kept_only_if_it_is_this_runs_and_none_served_since(run_id: str, lock: Any, a: Any) -> None:
    observed = cluster(a, halted("b"), point=(RestoreState.COMPLETE, run_id), lock=lock)
    kept = "restore_point: create_restore_point" not in told(plan_upgrade(observed, NEW))
    assert kept is (run_id == "run1" and lock is OURS and not a.process)


def test_the_next_upgrade_replaces_the_restore_point_of_the_one_before() -> None:
    observed = cluster(serving("a", NEW), serving("b", NEW), point=(RestoreState.IN_USE, "run0"))
    assert "restore_point: create_restore_point" in told(plan_upgrade(observed, NEWER))


def test_a_rollback_before_the_first_node_started_only_starts_the_nodes_again() -> None:
    observed = cluster(serving("a"), halted("b"), halted("c"), point=(RestoreState.COMPLETE, "run1"), lock=OURS)
    assert told(plan_rollback(observed)) == ["rest: start b c", "rest_back: lb_ready b c", "unlock: release_lock"]


def test_a_rollback_restores_before_it_starts() -> None:
    failed = serving("a", NEW, process=False, healthy=False, running_version="")
    observed = cluster(failed, halted("b", staged=False), point=(RestoreState.IN_USE, "run1"), lock=OURS)
    assert told(plan_rollback(observed)) == [
        "stage: stage a",
        "stop: stop_and_block a",
        "prove: prove_stopped",
        "restore: restore",
        "install: install_previous a b",
        "first: start a",
        "first_back: lb_ready a",
        "rest: start b",
        "rest_back: lb_ready b",
        "hold: hold a b",
        "unlock: release_lock",
    ]


def test_a_rollback_that_died_after_its_restore_does_not_restore_again() -> None:
    observed = cluster(halted("a", NEW), halted("b"), point=(RestoreState.RESTORED, "run1"), lock=OURS)
    lines = told(plan_rollback(observed))
    assert "restore: restore" not in lines
    assert "install: install_previous a b" in lines


HELD = LockObservation(LockView.HELD, "x", "locked by anna@ops1")
REFUSED: dict[str, tuple[Observations, str, Options, list[str]]] = {
    "node-reachable": (cluster(serving("a"), serving("b", reachable=False)), NEW, Options(), ["b", "rspm.ha.site"]),
    "node-busy": (cluster(serving("a"), serving("b", busy=True)), NEW, Options(), ["b"]),
    "load-balancer": (cluster(serving("a", balancer=Balancer.UNKNOWN)), NEW, Options(), ["a", "Start the load"]),
    "database-reachable": (
        cluster(serving("a"), database=DatabaseObservation("db1", False)),
        NEW,
        Options(),
        ["db1", "Start PostgreSQL"],
    ),
    "foreign-session": (
        cluster(serving("a"), database=DatabaseObservation("db1", foreign_sessions=("10.0.0.9",))),
        NEW,
        Options(),
        ["10.0.0.9", "systemctl mask --now rstudio-pm"],
    ),
    "shared-address": (
        cluster(
            serving("a"),
            serving("b"),
            database=DatabaseObservation("db1", shared_addresses=(("10.0.0.1", ("a", "b")),)),
        ),
        NEW,
        Options(),
        ["the database on db1 sees a, b with the same address, 10.0.0.1", "rspm_database_host"],
    ),
    "cluster-lock": (cluster(serving("a"), lock=HELD), NEW, Options(), ["locked by anna@ops1", "unlock"]),
    "first-node": (cluster(serving("a")), NEW, Options(first="z"), ["z", "rspm_nodes"]),
    "nodes": (cluster(), NEW, Options(), ["rspm_nodes"]),
    "downgrade": (cluster(serving("a"), serving("b", NEWER)), NEW, Options(), ["b has 2026.08.0", "rollback"]),
    "package-source": (
        cluster(serving("a", package_source="url"), serving("b", package_source="file")),
        NEW,
        Options(),
        ["file on b; url on a", "group_vars"],
    ),
    "one-version": (
        cluster(serving("a", asked_version=NEW), serving("b", asked_version=NEWER)),
        NEW,
        Options(),
        ["2026.08.0 on b", "host_vars"],
    ),
    "version-syntax": (cluster(serving("a")), "latest", Options(), ["latest", "rspm_version"]),
    "mixed-versions": (
        cluster(serving("a"), serving("b", NEW)),
        NEW,
        Options(),
        ["2025.12.0-14 on a; 2026.04.0 on b", "Bring a to 2026.04.0", "systemctl mask --now rstudio-pm"],
    ),
    "package-state": (cluster(serving("a"), serving("b", package=Package.BROKEN)), NEW, Options(), ["b", "dpkg"]),
    "running-version": (
        cluster(serving("a"), serving("b", running_version=OLDER)),
        NEW,
        Options(),
        ["b runs 2025.09.2-10", "systemctl stop rstudio-pm"],
    ),
    "unfinished-upgrade": (
        cluster(halted("a"), halted("b"), point=(RestoreState.IN_USE, "run1")),
        NEWER,
        Options(),
        ["2026.04.0 is unfinished", "rspm.ha.upgrade -e rspm_version=2026.04.0", "rspm.ha.rollback"],
    ),
    "unfinished-rollback": (
        cluster(halted("a", NEW), point=(RestoreState.RESTORING, "run1")),
        NEW,
        Options(),
        ["unfinished", "rspm.ha.rollback"],
    ),
}


@pytest.mark.parametrize("check", REFUSED)
def test_what_can_not_be_is_refused_with_what_to_type(check: str) -> None:
    observed, target, options, wanted = REFUSED[check]
    outcome = plan_upgrade(observed, target, options)
    assert isinstance(outcome, Refusal)
    assert [problem.check for problem in outcome.problems] == [check]
    for text in wanted:
        assert text in str(outcome.problems[0])


def test_a_session_over_the_databases_own_socket_is_looked_for_on_its_machine() -> None:
    outcome = plan_upgrade(cluster(serving("a"), database=DatabaseObservation("db1", foreign_sessions=("",))), NEW)
    assert isinstance(outcome, Refusal)
    assert "over the own socket of the server" in outcome.problems[0].found
    assert outcome.problems[0].fix.startswith("On the machine of db1 itself: ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    database = DatabaseObservation("db1", False)
    outcome = plan_upgrade(cluster(serving("a", reachable=False), serving("b", busy=True), database=database), NEW)
    assert isinstance(outcome, Refusal)
    assert [problem.check for problem in outcome.problems] == ["node-reachable", "node-busy", "database-reachable"]


def test_a_rollback_without_restore_point_says_how_to_start_what_is_there() -> None:
    outcome = plan_rollback(cluster(halted("a")))
    assert isinstance(outcome, Refusal) and f"rspm.ha.upgrade -e rspm_version={OLD}" in str(outcome.problems[0])


def test_a_rollback_past_a_node_of_a_third_version_is_refused_by_name() -> None:
    outcome = plan_rollback(cluster(halted("a"), halted("b", NEWER), point=(RestoreState.IN_USE, "run1")))
    assert isinstance(outcome, Refusal) and "b has 2026.08.0" in str(outcome.problems[0])


VERSIONS = st.sampled_from([OLDER, OLD, NEW, NEWER])


@st.composite
def any_node(draw: st.DrawFn, name: str) -> NodeObservation:
    package = draw(st.sampled_from(Package))
    process = draw(st.booleans())
    return NodeObservation(
        name=name,
        reachable=draw(st.integers(0, 19)) > 0,
        package=package,
        installed_version="" if package is Package.ABSENT else draw(VERSIONS),
        process=process,
        running_version=draw(VERSIONS | st.just("")) if process else "",
        blocked=draw(st.booleans()),
        blocked_for=draw(st.sampled_from(["", "upgrade", "rollback", "install"])),
        enabled=draw(st.booleans()),
        staged=draw(st.booleans()),
        held=draw(st.booleans()),
        healthy=process and draw(st.booleans()),
        balancer=draw(st.sampled_from([Balancer.READY, Balancer.DRAIN, Balancer.MAINT, Balancer.UNMANAGED])),
    )


@st.composite
def anything(draw: st.DrawFn) -> Observations:
    nodes = tuple(draw(any_node(name)) for name in ("a", "b", "c", "d")[: draw(st.integers(1, 4))])
    return Observations(
        nodes,
        DatabaseObservation(),
        LockObservation(draw(st.sampled_from(LockView)), draw(st.sampled_from(["", "run1"])), "locked by anna@ops1"),
        RestorePoint(draw(st.sampled_from(RestoreState)), draw(VERSIONS), draw(VERSIONS), "run1"),
    )


LATER = cluster(serving("a", NEW), serving("b"), halted("c"), point=(RestoreState.IN_USE, "run1"), lock=OURS)


@given(anything(), VERSIONS, st.sampled_from(Mode))
@example(LATER, NEW, Mode.FIRST_SERVES)
def test_every_plan_keeps_the_order(observed: Observations, target: str, mode: Mode) -> None:
    outcome = plan_upgrade(observed, target, Options(mode))
    assert outcome == plan_upgrade(observed, target, Options(mode))
    if isinstance(outcome, Refusal):
        assert outcome.problems and all(problem.fix and problem.found for problem in outcome.problems)
        assert any(node.name in problem.found for problem in outcome.problems for node in observed.nodes) or any(
            problem.check.startswith("unfinished") or "database" in problem.found for problem in outcome.problems
        )
        return
    order = [phase.name for phase in outcome.phases]
    places = {name: place for place, name in enumerate(order)}
    assert len(places) == len(order)
    assert order == [] or order[-1] is PhaseName.UNLOCK
    when = {(step.host, step.action): place for place, phase in enumerate(outcome.phases) for step in phase.steps}
    starts = [
        place
        for (_host, action), place in when.items()
        if action in (Action.UPGRADE_FIRST, Action.HAND_OVER, Action.UPGRADE, Action.START)
    ]
    opening = min(starts, default=len(order))
    for node in observed.nodes:
        assert node.reachable
        foreign = not node.has(target) or node.runs_other_than(target)
        first = when.get((node.name, Action.UPGRADE_FIRST)) == opening
        installed = when.get((node.name, Action.INSTALL_NEXT), opening) < opening
        gives = when.get((node.name, Action.HAND_OVER)) == opening and node.name != outcome.first
        if foreign and not first and not gives and not node.stays_stopped:
            assert when[node.name, Action.STOP_AND_BLOCK] < when.get((node.name, Action.INSTALL_NEXT), opening)
        if foreign:
            assert (node.name, Action.UPGRADE) in when or first or installed
        elif node.process:
            assert (node.name, Action.STOP_AND_BLOCK) not in when
    if any(not node.has(target) for node in observed.nodes):
        point = observed.restore_point
        used = point.state is RestoreState.IN_USE and point.to_version == target
        assert used or when.get((outcome.first, Action.INSTALL_NEXT), -1) < opening
        assert used or when[CLUSTER, Action.MARK_RESTORE_POINT_IN_USE] < opening
        assert not (used and PhaseName.RESTORE_POINT in places)


@given(anything())
def test_every_rollback_restores_before_the_older_version_starts(observed: Observations) -> None:
    outcome = plan_rollback(observed)
    if isinstance(outcome, Refusal):
        assert outcome.problems and all(problem.fix for problem in outcome.problems)
        return
    point = observed.restore_point
    when = {(step.host, step.action): place for place, phase in enumerate(outcome.phases) for step in phase.steps}
    opening = min((place for (_host, action), place in when.items() if action is Action.START), default=99)
    if point.state in (RestoreState.IN_USE, RestoreState.RESTORING):
        assert when[CLUSTER, Action.PROVE_STOPPED] < when[CLUSTER, Action.RESTORE] < opening
    for node in observed.nodes:
        if not node.has(point.from_version):
            assert when[node.name, Action.INSTALL_PREVIOUS] < opening
        if (CLUSTER, Action.RESTORE) in when and not node.stays_stopped:
            assert when[node.name, Action.STOP_AND_BLOCK] < when[CLUSTER, Action.RESTORE]
