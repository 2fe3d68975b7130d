# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at every world that plans and faults can lead to, breadth first: a breach comes with its shortest story."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Callable, Optional

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Refusal
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade import plan as upgrade_plan
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    DEFAULT_OPTIONS,
    Mode,
    Observations,
    Options,
    Outcome,
    Plan,
)
from tests.unit.worlds.upgrade_outside import cut_power, lose_process, observe, start_by_hand, unlock
from tests.unit.worlds.upgrade_run import Run, advance, begin, gives_up, hands_over, settle, without_controller
from tests.unit.worlds.upgrade_world import NEW, NONE, A, Breach, Node, T, World, check, die

State = tuple[World, Optional[Run], int]
"""The world, the run under way, and how often a person may still interfere."""

Planner = Callable[[Observations, Options], Outcome]

MAY_REFUSE = {"unfinished-rollback", "restore-point", "rollback-to"}
"""The only refusals in a world where everything is reachable and nobody else holds the lock."""


def real_upgrade(observed: Observations, options: Options) -> Outcome:
    """Plan the upgrade with the planner under test (looked up late, so that a planted fault is used)."""
    return upgrade_plan.plan_upgrade(observed, NEW, options)


def real_rollback(observed: Observations, options: Options) -> Outcome:
    """Plan the rollback with the planner under test."""
    return upgrade_plan.plan_rollback(observed, options)


@dataclass(frozen=True)
class Search:
    """What to look through.

    nodes: how many. hands: how often a person may start a node. rollback: whether the operator may choose it any time.
    details: whether the load balancer, the package's hold and a broken lock are part of the world.
    symmetric: worlds that differ by the order of the nodes after the first count as one. others: other options, which
    a run may have instead.
    """

    nodes: int
    hands: int = 1
    rollback: bool = True
    details: bool = False
    symmetric: bool = True
    options: Options = DEFAULT_OPTIONS
    others: tuple[Options, ...] = ()
    upgrade_planner: Planner = real_upgrade
    rollback_planner: Planner = real_rollback
    plans: dict[tuple[World, int, Options], Outcome] = field(default_factory=dict)

    def plan(self, world: World, goal: int, options: Options | None = None) -> Outcome:
        """Return what the planner says to this world."""
        options = options or self.options
        nodes = tuple(node._replace(by_hand=0) for node in world.nodes)
        key = (world._replace(nodes=nodes, schema_by_hand=0, proof=0, back=0), goal, options)
        if key not in self.plans:
            planner = self.upgrade_planner if goal == T else self.rollback_planner
            self.plans[key] = planner(observe(world), options)
        return self.plans[key]

    def choices(self, world: World) -> Iterator[tuple[int, Outcome]]:
        """Yield every run that may begin, each with where it leads."""
        for goal in (T, A) if self.rollback else (T,):
            for options in (self.options, *self.others):
                yield goal, self.plan(world, goal, options)

    def canonical(self, world: World, run: Run | None) -> tuple[World, Run | None]:
        """Return the world that stands for all that differ only by the order of the nodes after the first."""
        if not self.symmetric:
            return world, run
        if run is None:
            return world._replace(nodes=(world.nodes[0], *sorted(world.nodes[1:]))), None
        hosts = list(zip(world.nodes, run.columns, run.ats))
        hosts[1:] = sorted(hosts[1:])
        nodes, columns, ats = zip(*hosts)
        return world._replace(nodes=nodes), run._replace(columns=columns, ats=ats)


@dataclass(frozen=True)
class Found:
    """What a search has seen: the number of states, the worlds without a run, and the refusals by their checks."""

    states: int
    idle: frozenset[World]
    refusals: frozenset[str]


def search(what: Search) -> Found:
    """Look at everything; raise Breach, with the way there, for the first breach of safety or of liveness.

    Liveness: from every world, once nothing goes wrong any more, the same command ends where it should.
    """
    node = Node() if what.details else Node(in_balancer=None, held=None)
    exact = False if what.options.mode is Mode.STOP_ALL else None
    start: State = (World((node,) * what.nodes, exact=exact), None, what.hands)
    before: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    idle: set[World] = set()
    refusals: set[str] = set()
    while queue:
        state = queue.popleft()
        try:
            if state[1] is None and state[0] not in idle:
                idle.add(state[0])
                refusals |= _check_liveness(what, state[0])
            for story, world, run, hands in _next(what, *state):
                world = settle(world, run)
                check(world)
                following = (*what.canonical(world, run), hands)
                if following not in before:
                    before[following] = (state, story)
                    queue.append(following)
        except Breach as breach:
            raise Breach(f"{breach}\n{_tell(before, state)}") from None
    return Found(len(before), frozenset(idle), frozenset(refusals))


def _tell(before: dict[State, tuple[State, str] | None], state: State) -> str:
    lines = [f"  now: {state[0]}"]
    link = before[state]
    while link:
        lines.append(f"  {link[1]}")
        link = before[link[0]]
    return "\n".join(reversed(lines))


def _next(what: Search, world: World, run: Run | None, hands: int) -> Iterator[tuple[str, World, Run | None, int]]:
    if run is None:
        for goal, outcome in what.choices(world):
            if isinstance(outcome, Plan):
                begun, begun_run = begin(world, outcome, goal)
                agreed = what.options.rollback_to or world.saved
                if goal == A and world.worth and not agreed and outcome.phases:
                    raise Breach("a finished upgrade is given up without a word")
                yield f"run towards {goal}", begun, begun_run, hands
        if world.lock and what.details:
            yield "unlock", unlock(world), None, hands
    else:
        for after, after_run in advance(world, run):
            yield "advance", after, after_run, hands
        yield "controller dies", die(world), None, hands
        if hands_over(run):
            yield "controller dies alone", die(world), without_controller(run), hands
            for after, left in gives_up(world, run):
                yield "the first gives up", after, left, hands
    for number, node in enumerate(world.nodes):
        if number and what.symmetric and run is None and node in world.nodes[1:number]:
            continue
        after = cut_power(world, number)
        # a node that loses power while it works on a step ends the run
        broken = run is not None and run.columns[number][0] and run.ats[number]
        yield f"power cut of {number}", die(after) if broken else after, None if broken else run, hands
        if run is not None and hands_over(run) and run.columns[number][0]:
            # the other half goes on, and the node may not be back before that ends
            yield f"power cut of {number} alone", die(after), without_controller(run, number), hands
            if node.process == A:
                gone = lose_process(world, number)
                yield f"{number} is gone", gone, run, hands
                yield f"{number} is gone for good", die(gone), without_controller(run, number), hands
        if hands:
            started = start_by_hand(world, number)
            if started is not None:
                yield f"{number} is started by hand", started, run, hands - 1


def run_to_end(world: World, plan: Plan, goal: int) -> World:
    """Return the world after a plan was carried out and nothing went wrong."""
    world, run = begin(world, plan, goal)
    while run is not None:
        world, run = next(iter(advance(world, run)))
        check(world)
    return die(world)


def _check_liveness(what: Search, world: World) -> set[str]:
    """Raise Breach unless either command ends where it should when nothing goes wrong, or one refuses for the other."""
    refused = set()
    for goal, outcome in what.choices(world):
        if isinstance(outcome, Refusal):
            checks = {problem.check for problem in outcome.problems}
            refused |= checks
            if not checks <= MAY_REFUSE or (goal == A and "unfinished-rollback" in checks):
                raise Breach(f"a run towards {goal} is refused: {outcome.problems}")
            if goal == T and not isinstance(what.plan(world, A), Plan):
                raise Breach("neither way is open")
            if goal == A and not isinstance(what.plan(world, T), Plan):
                raise Breach("neither way is open")
            continue
        end = run_to_end(world, outcome, goal)
        if not _is_at(end, goal):
            raise Breach(f"a run towards {goal} ends in {end}")
        again = what.plan(end, goal)
        if isinstance(again, Refusal) or again.phases:
            raise Breach(f"after a run towards {goal} that has ended, the next still finds work: {again}")
    return refused


def _is_at(world: World, goal: int) -> bool:
    return world.lock == NONE and all(
        node.package == node.process == goal
        and not node.blocked
        and node.in_balancer is not False
        and node.held is not False
        for node in world.nodes
    )
