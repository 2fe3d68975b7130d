# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a way back gives up, when it needs a word, what it saves first, and what is refused before anything stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.space import Space
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import LockObservation, Refusal
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Mode, Options, Outcome, Plan, RestorePoint
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.plan import plan_rollback, plan_upgrade
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.way_back import duration
from tests.unit.worlds.upgrade_clusters import MADE, NEW, NOW, OLD, OURS, cluster, finished, halted, serving, told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "1 minute"),
        (61, "2 minutes"),
        (119 * 60, "119 minutes"),
        (120 * 60, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (23.1 * 86400, "24 days"),
    ],
)
def test_a_duration_is_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_finished_upgrade_is_given_up_only_by_name() -> None:
    for rollback_to in ("", "2026-11-01T08:00:01Z"):
        outcome = plan_rollback(finished(), Options(rollback_to=rollback_to))
        assert isinstance(outcome, Refusal)
        (problem,) = outcome.problems
        assert problem.check == "rollback-to"
        assert "a, b, c have come to 2026.04.0" in problem.found and "23 days old" in problem.found
        assert rollback_to in problem.found and "loses everything that was published" in problem.why
        assert f"rspm.ha.rollback -e rspm_rollback_to={MADE}" in problem.fix


def test_what_is_there_is_saved_before_a_finished_upgrade_is_given_up() -> None:
    outcome = plan_rollback(finished(), Options(rollback_to=MADE))
    assert told(outcome)[:8] == [
        "lock: take_lock",
        "stage: stage a b c",
        "save: save_present",
        "drain: lb_drain a b c",
        "stop: stop_and_block a b c",
        "prove: prove_stopped",
        "final_save: save_present",
        "restore: restore",
    ]
    assert isinstance(outcome, Plan)
    assert outcome.gives_up == (
        f"Gives up what was written since the restore point was made at {MADE}, until 2026-11-24T08:00:00Z: 23 days"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"process": False, "healthy": False, "running_version": ""},
        {"healthy": False},
        {"blocked": True},
    ],
)
def test_a_node_that_is_down_makes_no_finished_upgrade_an_interrupted_one(changes: dict[str, Any]) -> None:
    nodes = (serving("a", NEW), serving("b", NEW, **changes))
    outcome = plan_rollback(finished(nodes=nodes))
    assert isinstance(outcome, Refusal) and outcome.problems[0].check == "rollback-to"


def test_a_lock_that_a_later_run_left_makes_no_finished_upgrade_an_interrupted_one() -> None:
    lock = LockObservation(LockView.TAKEABLE, "run5")
    assert isinstance(plan_rollback(finished(lock=lock)), Refusal)
    nodes = (serving("a", NEW), serving("b", NEW, healthy=False))
    assert isinstance(plan_rollback(finished(lock=lock, nodes=nodes)), Plan)


def test_a_way_back_that_was_cut_off_needs_no_word_and_saves_again_what_was_written_since() -> None:
    stopped = [halted(name, NEW, blocked_for="upgrade") for name in "abc"]
    saved = RestorePoint(RestoreState.COMPLETE, NEW, OLD, "run5", "2026-11-20T08:00:00Z")
    observed = finished(nodes=tuple(stopped), lock=OURS, saved=saved)
    lines = told(plan_rollback(observed))
    assert "final_save: save_present" in lines and "save: save_present" not in lines
    # nor is what a restore has brought back saved over it
    for point in (
        replace(observed.restore_point, state=RestoreState.RESTORING),
        replace(observed.restore_point, restored="2026-11-20T08:01:00Z"),
    ):
        lines = told(plan_rollback(replace(observed, restore_point=point)))
        assert "restore: restore" in lines and "final_save: save_present" not in lines


def test_an_interrupted_or_failed_upgrade_is_given_up_without_a_word_or_a_second_dump() -> None:
    failed = halted("c", NEW, blocked_for="upgrade")
    observed = cluster(
        serving("a", NEW), serving("b", NEW), failed, point=(RestoreState.IN_USE, "run1"), lock=OURS, now=NOW
    )
    assert not [line for line in told(plan_rollback(observed)) if "save" in line]
    outcome = plan_rollback(observed, Options(rollback_to="2026-11-01T07:00:00Z"))
    assert isinstance(outcome, Refusal) and "It is not the restore point that was named" in str(outcome.problems[0])


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ((1793520600.0, 1793523600.0), f"made at {MADE}, until 2026-11-01T09:00:00Z: 60 minutes"),
        ((1793520600.0, 0), f"made at {MADE}, until the nodes stopped, of which nobody knows when: at most 23 days"),
        ((1793510000.0, 1793519999.0), f"Nothing was written since the restore point was made at {MADE}"),
    ],
)
def test_a_rollback_says_how_much_it_gives_up(ends: tuple[float, float], says: str) -> None:
    nodes = tuple(halted(name, NEW, blocked_for="upgrade", stopped_at=end) for name, end in zip("ab", ends))
    outcome = plan_rollback(cluster(*nodes, point=(RestoreState.IN_USE, "run1"), lock=OURS, now=NOW))
    assert isinstance(outcome, Plan) and outcome.gives_up.endswith(says)


MIB = 1024 * 1024


@pytest.mark.parametrize(("mode", "needed"), [(Mode.FIRST_SERVES, 1512), (Mode.STOP_ALL, 2512)])
def test_the_shared_storage_has_to_have_room_for_what_is_saved(mode: Mode, needed: int) -> None:
    def plan(free: int) -> Outcome:
        space = Space("/mnt/rspm", free * MIB, 1000 * MIB)
        return plan_upgrade(cluster(serving("a"), space=space), NEW, Options(mode))

    assert isinstance(plan(needed), Plan)
    outcome = plan(needed - 1)
    assert isinstance(outcome, Refusal)
    (problem,) = outcome.problems
    assert f"/mnt/rspm has {needed - 1} MiB free, and {needed} MiB are needed" in problem.found


def test_space_is_asked_only_where_something_is_saved() -> None:
    none = Space("/mnt/rspm", 0, 1000 * MIB)
    assert isinstance(plan_rollback(finished(space=none), Options(rollback_to=MADE)), Refusal)
    stopped = halted("a", NEW, blocked_for="upgrade")
    assert isinstance(plan_rollback(cluster(stopped, point=(RestoreState.IN_USE, "run1"), space=none)), Plan)
    assert isinstance(plan_upgrade(finished(space=none), NEW), Plan)
    outcome = plan_upgrade(cluster(serving("a"), space=Space(says="no login")), NEW)
    assert isinstance(outcome, Refusal) and "is not known: no login" in outcome.problems[0].found


def test_a_cluster_that_is_not_healthy_is_not_upgraded() -> None:
    observed = cluster(
        serving("a", healthy=False, answer="402"), serving("b", healthy=False, answer="503"), halted("c")
    )
    outcome = plan_upgrade(observed, NEW)
    assert isinstance(outcome, Refusal)
    (problem,) = outcome.problems
    assert problem.check == "cluster-health" and "a answers 402, b answers 503" in problem.found
    # one that is healthy is enough, none that runs is no answer, and what has begun is finished
    assert isinstance(plan_upgrade(cluster(serving("a", healthy=False), serving("b")), NEW), Plan)
    assert isinstance(plan_upgrade(cluster(halted("a"), halted("b")), NEW), Plan)
    begun = (RestoreState.IN_USE, "run1")
    assert isinstance(plan_upgrade(cluster(serving("a", healthy=False), point=begun, lock=OURS), NEW), Plan)
    assert isinstance(plan_upgrade(cluster(serving("a", NEW, healthy=False)), NEW), Plan)
