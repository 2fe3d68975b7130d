# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No world that migrations, ways back and faults lead to is a breach or a dead end; planted faults are found."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Callable, Optional

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Options, RecordState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Phase, Refusal, Step
from ansible_collections.rspm.ha.plugins.plugin_utils._migration import plan as migration_plan
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import (
    Action,
    NodeObservation,
    Observations,
    Outcome,
    PhaseName,
    Plan,
)
from tests.unit.worlds import migration_world
from tests.unit.worlds.migration_world import (
    ABSENT,
    BEGUN,
    FINISHED,
    FREE,
    NEW,
    OLD,
    SWITCHED,
    Breach,
    Node,
    Run,
    World,
    advance,
    begin,
    check,
    cut_power,
    die,
    observe,
    start_by_hand,
    with_record,
)

Planner = Callable[[Observations, Options], Outcome]
State = tuple[World, Optional[Run], int]

EVERYTHING = Options("a", move_data=True, move_databases=True)
CHOICES = [
    Options("a", move_data=data, move_databases=databases, route=route)
    for data in (True, False)
    for databases in (True, False)
    for route in (True, False)
]


def forwards(observed: Observations, options: Options) -> Outcome:
    """Plan the migration with the planner under test (looked up late, so that a planted fault is used)."""
    return migration_plan.plan_migration(observed, options)


def backwards(observed: Observations, options: Options) -> Outcome:
    """Plan the way back with the planner under test."""
    return migration_plan.plan_abort(observed)


@dataclass(frozen=True)
class Search:
    """What to look through. hands: how often a person may start a node."""

    nodes: int = 2
    hands: int = 0
    options: Options = EVERYTHING
    forwards: Planner = forwards
    backwards: Planner = backwards

    def plan(self, world: World, planner: Planner) -> Outcome:
        """Return what a planner says to this world."""
        return planner(with_record(observe(world), world, self.options), self.options)


def search(what: Search) -> int:
    """Look at everything; raise Breach, with the way there, for the first one; return the number of states."""
    start: State = (World((Node(),) * what.nodes), None, what.hands)
    before: dict[State, tuple[State, str] | None] = {start: None}
    queue, idle = deque([start]), set()
    while queue:
        state = queue.popleft()
        try:
            if state[1] is None and state[0] not in idle:
                idle.add(state[0])
                _check_liveness(what, state[0])
            for story, world, run, hands in _next(what, *state):
                check(world, what.options)
                if (world, run, hands) not in before:
                    before[world, run, hands] = (state, story)
                    queue.append((world, run, hands))
        except Breach as breach:
            lines = [f"now: {state[0]}"]
            link = before[state]
            while link:
                lines.append(link[1])
                link = before[link[0]]
            raise Breach("\n  ".join([str(breach), *reversed(lines)])) from None
    return len(before)


def _next(what: Search, world: World, run: Run | None, hands: int) -> Iterator[tuple[str, World, Run | None, int]]:
    if run is None:
        for name, planner in (("migrate", what.forwards), ("abort", what.backwards)):
            outcome = what.plan(world, planner)
            if isinstance(outcome, Plan) and outcome.phases:
                yield name, *begin(world, outcome, what.options), hands
    else:
        for after, after_run in advance(world, run):
            yield f"advance {run.phases[0]}", after, after_run, hands
        yield "controller dies", die(world), None, hands
    for number in range(len(world.nodes)):
        after = cut_power(world, number)
        # a node that loses power while it works on a step ends the run
        at_work = run is not None and any(host == "abc"[number] for host, _action in run.phases[0])
        yield f"power cut of {number}", die(after) if at_work else after, None if at_work else run, hands
        if hands:
            started = start_by_hand(world, number, run)
            if started is not None:
                yield f"{number} is started by hand", started, run, hands - 1


def _run_to_end(what: Search, world: World, plan: Plan) -> World:
    world, run = begin(world, plan, what.options)
    while run is not None:
        world, run = next(iter(advance(world, run)))
        check(world, what.options)
    return die(world)


def _check_liveness(what: Search, world: World) -> None:
    """Raise Breach unless the same command ends in the end, and the way back is open exactly until the switch."""
    ahead, back = what.plan(world, what.forwards), what.plan(world, what.backwards)
    if isinstance(ahead, Refusal):
        if world.record == FINISHED and any(node.by_hand for node in world.nodes[1:]):
            return
        raise Breach(f"the migration is refused: {ahead.problems}")
    end = _run_to_end(what, world, ahead)
    if not _is_migrated(end, what.options):
        raise Breach(f"the migration ends in {end}")
    again = what.plan(end, what.forwards)
    if any(node.by_hand for node in end.nodes[1:]):
        return
    if isinstance(again, Refusal) or again.phases:
        raise Breach(f"after the migration the next still finds work: {again}")
    if world.record >= SWITCHED:
        if not isinstance(back, Refusal):
            raise Breach("what the new home has is given up")
        return
    if isinstance(back, Refusal):
        raise Breach(f"the way back is refused: {back.problems}")
    end = _run_to_end(what, world, back)
    if end.record != ABSENT or end.lock or not all(_serves_old(node) for node in end.nodes):
        raise Breach(f"the way back ends in {end}")
    again = what.plan(end, what.backwards)
    if isinstance(again, Refusal) or again.phases:
        raise Breach(f"after the way back the next still finds work: {again}")


def _serves_old(node: Node) -> bool:
    return node.process == OLD and not node.block and node.config == OLD and node.mounted and node.in_balancer


def _is_migrated(world: World, options: Options) -> bool:
    """Whether the target is alone. What a person or a power cut did after the end is the new inventory's business."""
    target, *others = world.nodes
    return (
        world.record == FINISHED
        and world.lock == FREE
        and world.closed
        and target.config == NEW
        and target.mounted == (not options.move_data)
        and all(node.by_hand or (not node.startable and not node.mounted) for node in others)
    )


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_no_reachable_state_of_two_nodes_is_a_breach_or_a_dead_end(options: Options) -> None:
    assert search(Search(options=options)) > 200


def test_no_reachable_state_with_a_person_who_starts_nodes() -> None:
    assert search(Search(hands=1)) > 500


def test_no_reachable_state_of_three_nodes() -> None:
    assert search(Search(nodes=3)) > 1000


Change = Callable[[Plan], Plan]


def _without(name: PhaseName) -> Change:
    return lambda plan: replace(plan, phases=tuple(each for each in plan.phases if each.name is not name))


def _before(name: PhaseName, other: PhaseName) -> Change:
    """Move a phase in front of another one."""

    def change(plan: Plan) -> Plan:
        moved = [each for each in plan.phases if each.name is name]
        phases: list[Phase] = []
        for each in plan.phases:
            if each.name is other:
                phases += moved
            if each.name is not name or not any(one.name is other for one in plan.phases):
                phases.append(each)
        return replace(plan, phases=tuple(phases))

    return change


def _instead(action: Action, by: Action) -> Change:
    return lambda plan: replace(
        plan,
        phases=tuple(
            Phase(each.name, tuple(Step(s.host, by if s.action is action else s.action) for s in each.steps))
            for each in plan.phases
        ),
    )


def _changed(planner: Planner, change: Change) -> Planner:
    def plan(observed: Observations, options: Options) -> Outcome:
        outcome = planner(observed, options)
        return change(outcome) if isinstance(outcome, Plan) else outcome

    return plan


def _ahead(change: Change) -> Search:
    return Search(forwards=_changed(forwards, change))


def _always_back(observed: Observations, options: Options) -> Outcome:
    return backwards(replace(observed, record=replace(observed.record, state=RecordState.BEGUN)), options)


FAULTS = {
    "the others are not stopped": _ahead(_without(PhaseName.STOP_OTHERS)),
    "all is moved before the others stop": _ahead(_before(PhaseName.MOVE, PhaseName.STOP_OTHERS)),
    "nothing is moved": _ahead(_without(PhaseName.MOVE)),
    "retired before it is moved": _ahead(_before(PhaseName.RETIRE, PhaseName.MOVE)),
    "the others are not retired": _ahead(_without(PhaseName.RETIRE)),
    "the old databases stay open": _ahead(
        lambda plan: _without(PhaseName.CLOSE_DATABASES)(_without(PhaseName.CLOSE_STORAGE)(plan))
    ),
    "it is not written down that it is done": _ahead(_without(PhaseName.FINISH)),
    "the lock stays": _ahead(_without(PhaseName.UNLOCK)),
    "the storage stays mounted": _ahead(_without(PhaseName.LEAVE)),
    "the others are started again": _ahead(_instead(Action.RETIRE, Action.START_AGAIN)),
    "the way back after the switch": Search(backwards=_always_back),
    "the way back forgets a node": Search(backwards=_changed(backwards, _without(PhaseName.START_AGAIN))),
    "the way back leaves nodes drained": Search(backwards=_changed(backwards, _without(PhaseName.READY))),
    "the way back is written down for good": Search(backwards=_changed(backwards, _without(PhaseName.FORGET))),
}


@pytest.mark.parametrize("what", FAULTS.values(), ids=FAULTS)
def test_the_search_finds_a_planted_fault(what: Search) -> None:
    with pytest.raises(Breach) as breach:
        search(what)
    print(breach.value)


Program = tuple[str, ...]
MOVE: Program = migration_world.PROGRAMS[Action.MOVE]


def _leaving_out(*names: str) -> Program:
    return tuple(name for name in MOVE if name not in names)


def _earlier(name: str, other: str) -> Program:
    """Return the program with an operation in front of another one."""
    rest = _leaving_out(name)
    at = rest.index(other)
    return (*rest[:at], name, *rest[at:])


# Of the one call on the target; how often a person may start a node.
PROGRAM_FAULTS: dict[str, tuple[Program, int]] = {
    "the target is not stopped": (_leaving_out("block", "stop", "stopped", "still"), 0),
    "the target is stopped and not blocked": (_leaving_out("block", "stopped", "still"), 0),
    "the data is copied before the stop": (_earlier("copy_data", "stop"), 0),
    "no last copy": (_leaving_out("copy_data"), 0),
    "databases are not copied": (_leaving_out("copy_databases"), 0),
    "configured before the switch": (_earlier("configure", "switch"), 0),
    "started before it is configured": (_earlier("start", "configure"), 0),
    "started on the old home beside the new one": (_leaving_out("stop_old"), 1),
    "the switch is not written down": (_leaving_out("switch"), 0),
    "switched before the copy": (_earlier("switch", "copy_data"), 0),
    "nothing is configured": (_leaving_out("configure"), 0),
    "nobody is looked for before the switch": (_leaving_out("still"), 1),
}


@pytest.mark.parametrize(("program", "hands"), PROGRAM_FAULTS.values(), ids=PROGRAM_FAULTS)
def test_the_search_finds_a_fault_in_the_call_on_the_target(
    monkeypatch: pytest.MonkeyPatch, program: Program, hands: int
) -> None:
    monkeypatch.setitem(migration_world.PROGRAMS, Action.MOVE, program)
    with pytest.raises(Breach) as breach:
        search(Search(hands=hands))
    print(breach.value)


def test_the_search_finds_that_what_was_switched_is_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = migration_world._ways

    def forgetful(world: World, action: Action, at: int) -> list[tuple[str, int]]:
        return ways(world._replace(record=BEGUN), action, at)

    monkeypatch.setattr(migration_world, "_ways", forgetful)
    with pytest.raises(Breach) as breach:
        search(Search())
    print(breach.value)


def test_the_search_finds_that_a_node_which_was_unblocked_meanwhile_counts_as_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(migration_world.PROGRAMS, Action.STOP_AND_BLOCK, ("block", "stop"))
    with pytest.raises(Breach):
        search(Search(hands=1))


def test_the_search_finds_that_blocked_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeObservation, "stays_stopped", property(lambda self: True))
    with pytest.raises(Breach):
        search(Search(hands=1))


def test_a_world_that_has_begun_is_known_as_such() -> None:
    world = World((Node(), Node()), record=BEGUN)
    observed = with_record(observe(world), world, EVERYTHING)
    outcome = forwards(observed, replace(EVERYTHING, target="b"))
    assert isinstance(outcome, Refusal) and [each.check for each in outcome.problems] == ["migration-choices"]
