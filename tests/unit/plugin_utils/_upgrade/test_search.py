# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No world that upgrades, rollbacks and faults lead to breaks the order or is a dead end; planted faults are found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Callable

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import (
    Balancer,
    LockObservation,
    Phase,
    Refusal,
    Step,
    once,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade import plan as upgrade_plan
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade import refuse
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    Action,
    Mode,
    NodeObservation,
    Observations,
    Options,
    Outcome,
    PhaseName,
    Plan,
)
from tests.unit.worlds import upgrade_run
from tests.unit.worlds.upgrade_outside import observe
from tests.unit.worlds.upgrade_run import advance, begin
from tests.unit.worlds.upgrade_search import Planner, Search, real_rollback, real_upgrade, search
from tests.unit.worlds.upgrade_world import MADE, NAMES, Breach, Node, T, World

AHEAD = Options(Mode.INSTALL_BEFORE)
GIVE_UP = Options(rollback_to=MADE)
SEARCHES = {
    "one node": Search(nodes=1, hands=1, details=True),
    "two nodes, two started by hand": Search(nodes=2, hands=2),
    "two nodes, with load balancer, hold and broken locks": Search(nodes=2, hands=0, details=True),
    "three nodes, one started by hand": Search(nodes=3, hands=1),
    "three nodes, with load balancer, hold and broken locks": Search(nodes=3, hands=0, rollback=False, details=True),
    "three nodes, all stopped first": Search(nodes=3, hands=0, options=Options(Mode.STOP_ALL)),
    "one node, installed before": Search(nodes=1, hands=1, options=AHEAD),
    "two nodes, installed before, two started by hand": Search(nodes=2, hands=2, options=AHEAD),
    "two nodes, installed before, with load balancer, hold and broken locks": Search(
        nodes=2, hands=0, details=True, options=AHEAD
    ),
    "three nodes, installed before, one started by hand": Search(nodes=3, hands=1, options=AHEAD),
    "three nodes, installed before, or any other mode, the last one goes first": Search(
        nodes=3, hands=0, symmetric=False, options=replace(AHEAD, first="c"), others=(Options(),)
    ),
    "three nodes, installed before, or any other mode": Search(
        nodes=3, hands=0, options=AHEAD, others=(Options(), Options(Mode.STOP_ALL))
    ),
    "four nodes, installed before": Search(nodes=4, hands=0, options=AHEAD),
    "two nodes, a finished upgrade is given up by name": Search(nodes=2, hands=1, options=GIVE_UP),
    "three nodes, a finished upgrade is given up by name, with broken locks": Search(
        nodes=3, hands=0, details=True, options=GIVE_UP
    ),
    "three nodes, the last one goes first, no symmetry": Search(
        nodes=3, hands=0, symmetric=False, options=Options(first="c")
    ),
    "four nodes": Search(nodes=4, hands=0),
}


@pytest.mark.parametrize("what", SEARCHES.values(), ids=SEARCHES)
def test_no_reachable_state_breaks_the_order_or_is_a_dead_end(what: Search) -> None:
    found = search(what)
    print(f"{found.states} states, {len(found.idle)} of them between runs")
    assert found.states > 400 * what.nodes


def test_whatever_is_missing_is_refused_by_name_in_every_state() -> None:
    names = NAMES[:3]
    for world in search(Search(nodes=3, hands=0)).idle:
        observed = observe(world)
        for number, name in enumerate(names):
            for fault in ({"reachable": False}, {"busy": True}, {"balancer": Balancer.UNKNOWN}):
                broken = replace(observed.nodes[number], **fault)
                nodes = (*observed.nodes[:number], broken, *observed.nodes[number + 1 :])
                _assert_refused(replace(observed, nodes=nodes), name)
        _assert_refused(replace(observed, database=replace(observed.database, reachable=False)), observed.database.name)
        _assert_refused(
            replace(observed, database=replace(observed.database, foreign_sessions=("10.0.0.9",))), "10.0.0.9"
        )
        _assert_refused(replace(observed, lock=LockObservation(LockView.HELD, "x", "locked by anna@ops1")), "anna@ops1")


def _assert_refused(observed: Observations, named: str) -> None:
    for outcome in (real_upgrade(observed, Options()), real_rollback(observed, Options())):
        assert isinstance(outcome, Refusal)
        assert any(named in problem.found and problem.fix for problem in outcome.problems)


@pytest.mark.parametrize("mode", Mode)
def test_users_are_without_service_only_where_the_mode_says_so(mode: Mode) -> None:
    world = World((Node(), Node(), Node()))
    plan = real_upgrade(observe(world), Options(mode))
    assert isinstance(plan, Plan)
    names = [phase.name for phase in plan.phases]
    current, run = begin(world, plan, T)
    without: list[PhaseName] = []
    while run is not None:
        name = names[-len(run.cluster)]
        if not any(node.process and node.in_balancer for node in current.nodes) and name not in without:
            without.append(name)
        current, run = next(iter(advance(current, run)))
    expected = {
        Mode.FIRST_SERVES: [PhaseName.FIRST],
        Mode.STOP_ALL: [
            *(PhaseName.DRAIN, PhaseName.STOP, PhaseName.PROVE, PhaseName.FINAL_RESTORE_POINT),
            # drained, the first is back only with the balancer's own phase
            *(PhaseName.COMMIT, PhaseName.FIRST, PhaseName.FIRST_BACK),
        ],
        Mode.INSTALL_BEFORE: [PhaseName.FIRST],
    }[mode]
    assert without == expected


Patch = Callable[[pytest.MonkeyPatch], None]
Change = Callable[[Observations, Plan], Plan]


@dataclass(frozen=True)
class Fault:
    """A fault planted into the planner, and the search that has to find it."""

    where: Search
    patch: Patch


def _changed(planner: Planner, change: Change) -> Planner:
    def plan(observed: Observations, options: Options) -> Outcome:
        outcome = planner(observed, options)
        return change(observed, outcome) if isinstance(outcome, Plan) else outcome

    return plan


def _upgrade(change: Change, **search_options: Any) -> Fault:
    planner = _changed(real_upgrade, change)
    return Fault(Search(**{"nodes": 2, "hands": 0, "upgrade_planner": planner, **search_options}), lambda patch: None)


def _rollback(change: Change, **search_options: Any) -> Fault:
    planner = _changed(real_rollback, change)
    return Fault(Search(**{"nodes": 2, "hands": 0, "rollback_planner": planner, **search_options}), lambda patch: None)


def _inside(patch: Patch, **search_options: Any) -> Fault:
    return Fault(Search(**{"nodes": 2, "hands": 1, **search_options}), patch)


def _with(plan: Plan, phases: Iterable[Phase]) -> Plan:
    return replace(plan, phases=tuple(phases))


def _without(name: PhaseName) -> Change:
    return lambda observed, plan: _with(plan, (phase for phase in plan.phases if phase.name is not name))


def _after(name: PhaseName, other: PhaseName) -> Change:
    """Move a phase behind another one."""

    def change(observed: Observations, plan: Plan) -> Plan:
        moved = [phase for phase in plan.phases if phase.name is name]
        if not any(phase.name is other for phase in plan.phases):
            return plan
        phases: list[Phase] = []
        for phase in plan.phases:
            if phase.name is not name:
                phases.append(phase)
            if phase.name is other:
                phases += moved
        return _with(plan, phases)

    return change


def _replaced(action: Action, by: Action) -> Change:
    def change(observed: Observations, plan: Plan) -> Plan:
        return _with(
            plan,
            (
                Phase(phase.name, tuple(Step(s.host, by if s.action is action else s.action) for s in phase.steps))
                for phase in plan.phases
            ),
        )

    return change


def _one_node_less(name: PhaseName) -> Change:
    def change(observed: Observations, plan: Plan) -> Plan:
        return _with(
            plan,
            (Phase(phase.name, phase.steps[1:]) if phase.name is name else phase for phase in plan.phases),
        )

    return change


def _rest_with_the_first(observed: Observations, plan: Plan) -> Plan:
    rest = tuple(step for phase in plan.phases if phase.name is PhaseName.REST for step in phase.steps)
    return _with(
        plan,
        (
            Phase(phase.name, phase.steps + rest) if phase.name is PhaseName.FIRST else phase
            for phase in plan.phases
            if phase.name is not PhaseName.REST
        ),
    )


def _restore_point_always(observed: Observations, plan: Plan) -> Plan:
    phases = [phase for phase in plan.phases if phase.name is not PhaseName.RESTORE_POINT]
    if phases:
        phases.insert(1, once(PhaseName.RESTORE_POINT, Action.CREATE_RESTORE_POINT))
    return _with(plan, phases)


def _old_restore_point_will_do(patch: pytest.MonkeyPatch) -> None:
    real = upgrade_plan.plan_upgrade

    def plan(observed: Observations, target: str, options: Options) -> Outcome:
        point = replace(observed.restore_point, run_id=observed.lock.run_id)
        view = LockView.TAKEABLE if observed.lock.view is LockView.FREE else observed.lock.view
        return real(replace(observed, restore_point=point, lock=replace(observed.lock, view=view)), target, options)

    patch.setattr(upgrade_plan, "plan_upgrade", plan)


def _never_restores(state: RestoreState) -> Patch:
    real = upgrade_plan._needs_restore

    def needs(observed: Observations, changed: list[NodeObservation]) -> bool:
        return observed.restore_point.state is not state and real(observed, changed)

    return lambda patch: patch.setattr(upgrade_plan, "_needs_restore", needs)


def _forgets_where_it_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upgrade_plan, "continues_run", lambda observed, target: False)


def _says_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refuse, "is_finished", lambda observed: False)


def _forgets_what_it_saved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upgrade_plan, "is_saved", lambda observed: False)


def _observation(name: str, value: object) -> Patch:
    return lambda patch: patch.setattr(NodeObservation, name, value)


def _ahead(patch: Patch, **search_options: Any) -> Fault:
    return Fault(Search(**{"nodes": 2, "hands": 0, "options": AHEAD, **search_options}), patch)


def _world(name: str, value: object) -> Patch:
    return lambda patch: patch.setattr(upgrade_run, name, value)


def _operations(changed: dict[tuple[str, ...], tuple[str, ...]]) -> Patch:
    """Have the nodes do operations in another order than is promised, or without some of them."""
    return _world("_PROGRAMS", tuple(changed.get(program, program) for program in upgrade_run._PROGRAMS))


def _less(program: tuple[str, ...], *names: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {program: tuple(operation for operation in program if operation not in names)}


_GIVES, _TAKES_BACK = upgrade_run.PROGRAMS[Action.HAND_OVER], upgrade_run.TAKE_BACK
_UNLOOKED = _less(_GIVES, "prove_unused")


def _both(one: Patch, other: Patch) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        one(monkeypatch)
        other(monkeypatch)

    return patch


FAULTS = {
    "the others are not stopped": _upgrade(_without(PhaseName.STOP)),
    "one of the others is not stopped": _upgrade(_one_node_less(PhaseName.STOP), nodes=3),
    "the others are drained instead of blocked": _upgrade(_replaced(Action.STOP_AND_BLOCK, Action.LB_DRAIN)),
    "the first goes before the others are stopped": _upgrade(_after(PhaseName.STOP, PhaseName.FIRST)),
    "the first is upgraded like the rest, without proof": _upgrade(
        lambda observed, plan: _after(PhaseName.STOP, PhaseName.FIRST)(
            observed, _replaced(Action.UPGRADE_FIRST, Action.UPGRADE)(observed, plan)
        )
    ),
    "the rest goes with the first": _upgrade(_rest_with_the_first),
    "the first is started, not upgraded": _upgrade(_replaced(Action.UPGRADE_FIRST, Action.START)),
    "the rest is started, not upgraded": _upgrade(_replaced(Action.UPGRADE, Action.START)),
    "one of the rest is forgotten": _upgrade(_one_node_less(PhaseName.REST)),
    "nothing is staged": _upgrade(_without(PhaseName.STAGE)),
    "stops before everything is staged": _upgrade(_after(PhaseName.STAGE, PhaseName.STOP)),
    "no restore point": _upgrade(_without(PhaseName.RESTORE_POINT)),
    "the restore point comes after the stop": _upgrade(_after(PhaseName.RESTORE_POINT, PhaseName.STOP)),
    "the restore point is made anew when the schema has moved": _upgrade(_restore_point_always),
    "an earlier run's restore point will do": _inside(_old_restore_point_will_do, hands=0, details=True),
    "the restore point is not marked": _upgrade(_without(PhaseName.COMMIT)),
    "the restore point is marked after the first has started": _upgrade(_after(PhaseName.COMMIT, PhaseName.FIRST)),
    "nodes stay drained": _upgrade(_without(PhaseName.REST_BACK), details=True),
    "packages are not held": _upgrade(_without(PhaseName.HOLD), details=True),
    "the lock stays": _upgrade(_without(PhaseName.UNLOCK)),
    "a continued run is taken for a new one": _inside(_forgets_where_it_is),
    "what runs doesn't count, only what is installed": _inside(
        _observation("runs_other_than", lambda self, version: False)
    ),
    "stopped is enough": _inside(_observation("stays_stopped", property(lambda self: not self.process))),
    "blocked is enough": _inside(_observation("stays_stopped", property(lambda self: self.blocked))),
    "nothing is restored": _rollback(_without(PhaseName.RESTORE)),
    "the older version starts before the restore": _rollback(_after(PhaseName.RESTORE, PhaseName.FIRST)),
    "the package doesn't go back": _rollback(_without(PhaseName.INSTALL)),
    "one package doesn't go back": _rollback(_one_node_less(PhaseName.INSTALL)),
    "a rollback stops nothing": _rollback(_without(PhaseName.STOP)),
    "a restore point in use is not restored": _inside(_never_restores(RestoreState.IN_USE), hands=0),
    "half a restore is not repeated": _inside(_never_restores(RestoreState.RESTORING), hands=0),
    "a restore is trusted although a newer node ran since": _inside(_never_restores(RestoreState.RESTORED)),
    "a new need of a restore isn't written down": _rollback(_without(PhaseName.COMMIT), hands=1),
    "all stop, and the restore point of before will do": _upgrade(
        _without(PhaseName.FINAL_RESTORE_POINT), options=Options(Mode.STOP_ALL)
    ),
    "all stop, and the restore point is made before that is proved": _upgrade(
        _after(PhaseName.STOP, PhaseName.FINAL_RESTORE_POINT), options=Options(Mode.STOP_ALL)
    ),
    "a finished upgrade is given up without a word": _inside(_says_nothing, hands=0),
    "what is there is not saved before a finished upgrade is given up": _rollback(
        _without(PhaseName.FINAL_SAVE), options=GIVE_UP
    ),
    "a way back that was cut off forgets what is there": _inside(_forgets_what_it_saved, hands=0, options=GIVE_UP),
    "nothing is installed before the node that serves stops": _upgrade(_without(PhaseName.INSTALL), options=AHEAD),
    "it is installed before the nodes are stopped": _upgrade(
        _after(PhaseName.STOP, PhaseName.INSTALL), options=AHEAD, nodes=3
    ),
    "requests are sent to the first before it is stopped": _upgrade(
        _after(PhaseName.STOP, PhaseName.FIRST_AWAITED), options=AHEAD, details=True
    ),
    "the restore point is not marked before nodes change places": _upgrade(
        _after(PhaseName.COMMIT, PhaseName.FIRST), options=AHEAD
    ),
    "the first waits for no word of the node that serves": _ahead(_world("is_proved", lambda world: True)),
    "the word of an earlier attempt will do": _ahead(_world("is_proved", lambda world: world.proof > 0)),
    "the node that serves gives its word before it is blocked": _ahead(
        _operations({_GIVES: ("give_proof", "block", "stop", "prove_own")})
    ),
    "what a node has installed is taken for not run, whoever started it": _ahead(
        _observation("waits", property(lambda self: True)), hands=1
    ),
    "what a node has installed is taken for run": _ahead(
        _observation("waits", property(lambda self: False)), details=True
    ),
    "the one that served starts again without a word, and without looking at the restore point": _ahead(
        _both(_operations(_UNLOOKED), _world("is_back", lambda world: True))
    ),
    "for that the word of an earlier attempt will do": _ahead(
        _both(_operations(_UNLOOKED), _world("is_back", lambda world: world.back > 0))
    ),
    "it starts again while the restore point is in use": _ahead(
        _operations({**_UNLOOKED, **_less(_TAKES_BACK, "take_back")})
    ),
    "it starts again while the first may, too": _ahead(_operations(_less(_TAKES_BACK, "block", "prove_own"))),
    "whether the first has written is not looked at": _ahead(_operations(_less(_TAKES_BACK, "observe"))),
    "that is looked at before its last session has ended": _ahead(
        _operations({_TAKES_BACK: ("block", "observe", "end", "prove_own", "prove_all", "take_back", "give_back")})
    ),
    "the restore point is taken back before that is looked at": _ahead(
        _operations({_TAKES_BACK: ("block", "end", "prove_own", "prove_all", "take_back", "observe", "give_back")})
    ),
    "what is there is saved after the restore": _rollback(
        _after(PhaseName.FINAL_SAVE, PhaseName.RESTORE), options=GIVE_UP
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_search_finds_a_planted_fault(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.patch(monkeypatch)
    with pytest.raises(Breach) as breach:
        search(fault.where)
    print(breach.value)
