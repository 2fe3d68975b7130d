# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small world of nodes, a database and a restore point, in which plans are carried out and everything can go wrong.

It knows what the actions promise (their docstrings) and nothing of how a plan is made. Every action is a list of small
operations; between any two of them, on any node, the controller may die, a node may lose power (and starts by itself
whatever is installed and not blocked), or a person may unblock and start a node. Operations of one phase interleave
freely.

Worlds are tuples, so that millions can be looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import CLUSTER
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    Action,
    Plan,
)

OLD, NEW = "2025.12.0-14", "2026.04.0"
NAMES = ("a", "b", "c", "d")
MADE, SAVED, RESTORED_AT = "2026-11-24T08:00:00Z", "2026-11-27T08:00:00Z", "2026-11-27T08:05:00Z"

NONE, A, T = 0, 1, 2
"""No version, the older, the newer."""
BROKEN = 3
"""A package cut in the middle, or databases in the middle of a restore."""

LEFT, OURS = 1, 2
"""A lock whose holder died; the lock of the run that is under way."""

ABSENT, INCOMPLETE, COMPLETE, IN_USE, RESTORING, RESTORED = range(6)
STATES = tuple(RestoreState)
assert [state.name for state in STATES] == ["ABSENT", "INCOMPLETE", "COMPLETE", "IN_USE", "RESTORING", "RESTORED"]


class Node(NamedTuple):
    """One node.

    package, process: a version. in_balancer, held: None = not looked at, which makes far fewer worlds.
    by_hand: 2 = a person started it, 1 = and the plan was made knowing it.
    """

    package: int = A
    process: int = A
    blocked: bool = False
    staged: bool = False
    in_balancer: bool | None = True
    held: bool | None = True
    by_hand: int = 0

    @property
    def startable(self) -> int:
        """The version that may run now or after a reboot."""
        return self.process or (NONE if self.blocked else self.package)


class World(NamedTuple):
    """What lasts.

    point_is_ours: the restore point was made under the lock that is there. exact: nobody has written since it was made
    (None = not looked at). worth: an upgrade has come to its end, so that people rely on what was written since. saved:
    1 = what is there was saved before a way back, 2 = and nobody has written since. sealed: a restore began since then.
    proof: the word of a node that handed over: 1 = of an earlier attempt, 2 = of this one.
    """

    nodes: tuple[Node, ...]
    schema: int = A
    point: int = ABSENT
    point_is_ours: bool = False
    lock: int = NONE
    schema_by_hand: int = 0
    exact: bool | None = None
    worth: bool = False
    saved: int = 0
    sealed: bool = False
    proof: int = 0


class Breach(Exception):
    """What must never happen, has."""


class Abort(Exception):
    """A step found that it must not go on; the run ends as when the controller dies."""


PROGRAMS: dict[Action, tuple[str, ...]] = {
    Action.TAKE_LOCK: ("lock",),
    Action.STAGE: ("stage",),
    Action.CREATE_RESTORE_POINT: ("begin_point", "complete_point"),
    Action.SAVE_PRESENT: ("save",),
    Action.LB_DRAIN: ("drain",),
    Action.STOP_AND_BLOCK: ("block", "stop"),
    Action.PROVE_STOPPED: ("prove",),
    Action.MARK_RESTORE_POINT_IN_USE: ("mark",),
    Action.UPGRADE_FIRST: ("block", "stop", "prove_all", "unpack", "configure", "unblock", "start"),
    Action.INSTALL_NEXT: ("unpack_blocked", "configure"),
    Action.HAND_OVER: ("block", "stop", "prove_own", "give_proof"),
    Action.UPGRADE: ("block", "stop", "unpack", "configure", "unblock", "start"),
    Action.START: ("unblock", "start"),
    Action.LB_READY: ("ready",),
    Action.HOLD: ("hold",),
    Action.RESTORE: ("restoring", "restored"),
    Action.INSTALL_PREVIOUS: ("unpack_blocked", "configure"),
    Action.RELEASE_LOCK: ("release",),
}

TAKE_OVER = ("await_proof", "prove_all", "unblock", "start")
"""What the node that goes first does while the other hands over."""

_ACTIONS: tuple[Action | None, ...] = (None, *PROGRAMS)
_PROGRAMS = (*(PROGRAMS[action] if action else () for action in _ACTIONS), TAKE_OVER)
_UPGRADE_FIRST = _ACTIONS.index(Action.UPGRADE_FIRST)
_HAND_OVER = _ACTIONS.index(Action.HAND_OVER)
_TAKE_OVER = len(_ACTIONS)

Column = tuple[int, ...]
"""What one host still has to do, phase by phase (places in _ACTIONS; 0 = nothing)."""


class Run(NamedTuple):
    """A plan under way: the version it leads to; for the cluster and each node its column and place in the phase."""

    goal: int
    cluster: Column
    at: int
    columns: tuple[Column, ...]
    ats: tuple[int, ...]


def begin(world: World, plan: Plan, goal: int) -> tuple[World, Run | None]:
    """Return the world and the run at the moment when a plan that was made in it begins."""
    cluster: list[int] = []
    columns: list[list[int]] = [[] for _node in world.nodes]
    for phase in plan.phases:
        for column in (cluster, *columns):
            column.append(0)
        for step in phase.steps:
            column = cluster if step.host == CLUSTER else columns[NAMES.index(step.host)]
            takes = step.action is Action.HAND_OVER and step.host == plan.first
            column[-1] = _TAKE_OVER if takes else _ACTIONS.index(step.action)
    if not cluster:
        return world, None
    known = tuple(node._replace(by_hand=min(node.by_hand, 1)) for node in world.nodes)
    world = world._replace(nodes=known, schema_by_hand=min(world.schema_by_hand, 1))
    # every attempt has a token of its own
    world = world._replace(proof=min(world.proof, 1))
    return world, Run(goal, tuple(cluster), 0, tuple(map(tuple, columns)), (0,) * len(columns))


def advance(world: World, run: Run) -> Iterator[tuple[World, Run | None]]:
    """Yield what may be next when nothing goes wrong: one operation on any host that has one left in this phase."""
    pending = False
    program = _PROGRAMS[run.cluster[0]]
    if run.at < len(program):
        pending = True
        yield _operate(world, run, program[run.at], -1)
    for number, column in enumerate(run.columns):
        program = _PROGRAMS[column[0]]
        if run.ats[number] < len(program):
            pending = True
            operation = program[run.ats[number]]
            if operation == "await_proof" and not is_proved(world):
                continue
            yield _operate(world, run, operation, number)
    if not pending:
        if len(run.cluster) == 1:
            yield world, None
        else:
            columns = tuple(column[1:] for column in run.columns)
            yield world, Run(run.goal, run.cluster[1:], 0, columns, (0,) * len(columns))


def is_proved(world: World) -> bool:
    """Whether the node that goes first finds the word that it waits for."""
    return world.proof == 2


def hands_over(run: Run) -> bool:
    """Whether two nodes are at work on the phase under way that wait for each other, not for the controller."""
    return _TAKE_OVER in [column[0] for column in run.columns]


def without_controller(run: Run, ended: int | None = None) -> Run:
    """Return what goes on of this phase where the controller is gone. ended: the node whose half has ended, too."""
    columns = tuple((0,) if number == ended else column[:1] for number, column in enumerate(run.columns))
    return Run(run.goal, (0,), 0, columns, tuple(0 if number == ended else at for number, at in enumerate(run.ats)))


def gives_up(world: World, run: Run) -> Iterator[tuple[World, Run]]:
    """Yield what is when a half that waits has run out of time; the other goes on, and the run ends after it."""
    for number, column in enumerate(run.columns):
        if column[0] == _TAKE_OVER and run.ats[number] == 0:
            yield die(world), without_controller(run, number)


def _operate(world: World, run: Run, operation: str, number: int) -> tuple[World, Run | None]:
    try:
        if number < 0:
            return _on_cluster(world, run, operation), run._replace(at=run.at + 1)
        node = _on_node(world, run, operation, number)
    except Abort:
        # what waits for no controller goes on
        return die(world), without_controller(run, number) if number >= 0 and hands_over(run) else None
    if node.blocked and not node.process:
        node = node._replace(by_hand=0)
    if node.process != world.nodes[number].process:
        world = written(migrate(world, node.process), node.process)
    world = world._replace(nodes=(*world.nodes[:number], node, *world.nodes[number + 1 :]))
    if operation == "give_proof":
        world = world._replace(proof=2)
    ats = (*run.ats[:number], run.ats[number] + 1, *run.ats[number + 1 :])
    return world, run._replace(ats=ats)


def migrate(world: World, started: int) -> World:
    """Return the world after a process of a version has met the schema (at once: the worst case)."""
    if started == T and world.schema == A:
        return world._replace(schema=T, schema_by_hand=0)
    return world


def written(world: World, started: int) -> World:
    """Return the world after a process of a version may have written."""
    if not started:
        return world
    return world._replace(exact=world.exact and False, saved=min(world.saved, 1))


def _on_cluster(world: World, run: Run, operation: str) -> World:
    going = [number for number, node in enumerate(world.nodes) if node.process]
    if operation == "lock":
        # a take-over keeps the run id
        return world._replace(lock=OURS, point_is_ours=world.point_is_ours and world.lock == LEFT)
    if operation == "release":
        done = run.goal == T and all(node.package == T for node in world.nodes)
        return world._replace(lock=NONE, point_is_ours=False, worth=world.worth or done)
    if operation == "begin_point":
        return world._replace(point=INCOMPLETE) if world.point == ABSENT else world
    if operation == "complete_point":
        if world.point in (IN_USE, RESTORING) or (world.schema != A and not world.schema_by_hand):
            raise Breach("a restore point is made when the schema may have moved")
        # the new one is whole before what a way back has saved goes
        exact = world.exact if world.exact is None else not going
        return world._replace(point=COMPLETE, point_is_ours=True, exact=exact, saved=0, sealed=False)
    if operation == "save":
        if world.schema != T or world.point != IN_USE:
            raise Breach("what is saved before a way back is not what people have worked with")
        return world._replace(saved=1 if going else 2, sealed=False)
    if operation == "mark":
        if run.goal == T and world.exact is False:
            raise Breach("nodes have written what the restore point does not hold, although all were to stop first")
        return world._replace(point=IN_USE)
    if operation == "prove":
        if any(not {_UPGRADE_FIRST, _HAND_OVER} & {*run.columns[number]} for number in going):
            raise Abort
        return world
    if going:
        raise Abort
    if operation == "restoring":
        if world.point not in (COMPLETE, IN_USE, RESTORING, RESTORED):
            raise Breach("a restore without a restore point")
        if world.worth and world.saved != 2:
            raise Breach("what was written since a finished upgrade is lost")
        return world._replace(point=RESTORING, schema=BROKEN, worth=False, sealed=True)
    assert operation == "restored"
    return world._replace(point=RESTORED, schema=A, schema_by_hand=0)


def _on_node(world: World, run: Run, operation: str, number: int) -> Node:
    node = world.nodes[number]
    if operation == "stage":
        return node._replace(staged=True)
    if operation == "drain":
        return node._replace(in_balancer=False)
    if operation == "ready":
        return node._replace(in_balancer=True)
    if operation == "hold":
        return node._replace(held=None if node.held is None else True)
    if operation == "block":
        if node.process == A and run.goal == T:
            _ready_to_stop(world)
        return node._replace(blocked=True)
    if operation == "unblock":
        return node._replace(blocked=False)
    if operation == "stop":
        if node.process == A and run.goal == T:
            _ready_to_stop(world)
        return node._replace(process=NONE)
    if operation == "prove_own":
        if node.process or not node.blocked:
            raise Abort
        return node
    if operation in ("give_proof", "await_proof"):
        return node
    if operation == "prove_all":
        if any(other.process for other in world.nodes):
            raise Abort
        return node
    if operation == "unpack_blocked" and not (node.blocked and not node.process):
        raise Abort
    if operation in ("unpack", "unpack_blocked"):
        return node if node.package == run.goal else node._replace(package=BROKEN)
    if operation == "configure":
        if node.package == run.goal:
            return node
        # a package's script starts the service, unless it is blocked
        process = node.process or (NONE if node.blocked else run.goal)
        return node._replace(package=run.goal, held=node.held and False, process=process)
    assert operation == "start"
    if node.process:
        if node.process != run.goal:
            raise Abort
        return node
    if node.package == BROKEN:
        raise Abort
    _may_start(world, node.package, number)
    if node.package != run.goal:
        raise Breach("a version is started that isn't the wanted one")
    return node._replace(process=node.package)


def _ready_to_stop(world: World) -> None:
    """Raise Breach where users lose a node although not everything is ready."""
    if world.point == IN_USE:
        return
    if world.point != COMPLETE or not world.point_is_ours:
        raise Breach("a node stops before this run's restore point is complete")
    if any(node.package != T and not node.staged for node in world.nodes):
        raise Breach("a node stops before the package is staged everywhere")


def _may_start(world: World, version: int, number: int) -> None:
    """Raise Breach where a plan starts a node next to one that it knew to be started by hand, or on a moved schema."""
    for other, node in enumerate(world.nodes):
        if other != number and node.by_hand == 1 and node.startable not in (NONE, version):
            raise Breach("a node is started while one that was started by hand may run another version")
    if version == A and world.schema != A and world.schema_by_hand < 2:
        raise Breach("the older version is started on a moved schema")


def die(world: World) -> World:
    """Return the world after the controller has died."""
    return world._replace(lock=LEFT) if world.lock == OURS else world


def check(world: World) -> None:
    """Raise Breach where two versions run, or one may start that doesn't fit the schema or another node.

    Nodes that a person started are their doing until a plan has stopped them; so is the schema that such a node moved.
    """
    old = new = False
    for node in world.nodes:
        if not node.by_hand:
            can = node.startable
            old = old or can in (A, BROKEN)
            new = new or can in (T, BROKEN)
    if old and new:
        raise Breach("two versions run or can start")
    if world.schema_by_hand:
        return
    if old and world.schema == T:
        raise Breach("the older version runs or can start while the schema is the newer one's")
    if (old or new) and world.schema == BROKEN:
        raise Breach("a node runs or can start while the databases are half restored")
