# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans that are carried out in the small world.

It knows what the actions promise (their docstrings) and nothing of how a plan is made. Every action is a list of small
operations; between any two of them, on any node, the controller may die, a node may lose power (and starts by itself
whatever is installed and not blocked), or a person may unblock and start a node. Operations of one phase interleave
freely.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import CLUSTER
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Action, Plan
from tests.unit.worlds.upgrade_world import (
    ABSENT,
    BROKEN,
    COMPLETE,
    IN_USE,
    INCOMPLETE,
    LEFT,
    NAMES,
    NONE,
    OURS,
    RESTORED,
    RESTORING,
    A,
    Abort,
    Breach,
    Node,
    T,
    World,
    die,
    migrate,
    written,
)

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
    Action.HAND_OVER: (
        "block",
        "stop",
        "prove_own",
        "give_proof",
        "await_back",
        "prove_unused",
        "unblock",
        "start_again",
    ),
    Action.UPGRADE: ("block", "stop", "unpack", "configure", "unblock", "start"),
    Action.START: ("unblock", "start"),
    Action.LB_AWAIT: ("await",),
    Action.LB_READY: ("ready",),
    Action.HOLD: ("hold",),
    Action.RESTORE: ("restoring", "restored"),
    Action.INSTALL_PREVIOUS: ("unpack_blocked", "configure"),
    Action.RELEASE_LOCK: ("release",),
}

TAKE_OVER = ("await_proof", "prove_all", "unblock", "start")
"""What the node that goes first does while the other hands over."""

TAKE_BACK = ("block", "end", "prove_own", "prove_all", "observe", "take_back", "give_back")
"""What it does where its start has failed. A process that is left may move the schema until its end."""

_ACTIONS: tuple[Action | None, ...] = (None, *PROGRAMS)
_PROGRAMS = (*(PROGRAMS[action] if action else () for action in _ACTIONS), TAKE_OVER, TAKE_BACK)
_UPGRADE_FIRST = _ACTIONS.index(Action.UPGRADE_FIRST)
_HAND_OVER = _ACTIONS.index(Action.HAND_OVER)
_TAKE_OVER = len(_ACTIONS)
_TAKE_BACK = _TAKE_OVER + 1

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
    world = world._replace(proof=min(world.proof, 1), back=min(world.back, 1))
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
            if operation == "await_back" and not is_back(world):
                if not _takes(run):
                    # nothing is left to wait for
                    yield world, _ended(run, number)
                continue
            yield _operate(world, run, operation, number)
            if operation == "start" and column[0] == _TAKE_OVER:
                yield _fail_to_start(world, run, number)
            if operation == "end":
                after, left = _operate(world, run, operation, number)
                # its last act was to move the schema
                yield migrate(after, world.nodes[number].process), left
    if not pending:
        if len(run.cluster) == 1:
            yield world, None
        else:
            columns = tuple(column[1:] for column in run.columns)
            yield world, Run(run.goal, run.cluster[1:], 0, columns, (0,) * len(columns))


def is_proved(world: World) -> bool:
    """Whether the node that goes first finds the word that it waits for."""
    return world.proof == 2


def is_back(world: World) -> bool:
    """Whether the node that handed over finds the word that it may start again."""
    return world.back == 2


def _takes(run: Run) -> bool:
    """Whether a node is at work on taking over, or on undoing that."""
    return any(
        column[0] in (_TAKE_OVER, _TAKE_BACK) and at < len(_PROGRAMS[column[0]])
        for column, at in zip(run.columns, run.ats)
    )


def _ended(run: Run, number: int) -> Run:
    """Return the run in which a node has nothing more to do in this phase."""
    ats = list(run.ats)
    ats[number] = len(_PROGRAMS[run.columns[number][0]])
    return run._replace(ats=tuple(ats))


def _fail_to_start(world: World, run: Run, number: int) -> tuple[World, Run]:
    """Return what is when the newer version is there, has not moved the schema yet, and will not get healthy."""
    nodes = list(world.nodes)
    nodes[number] = nodes[number]._replace(process=nodes[number].package)
    columns = [column[:1] for column in run.columns]
    columns[number] = (_TAKE_BACK,)
    ats = list(run.ats)
    ats[number] = 0
    # the run fails, whoever of the two goes on
    return die(world._replace(nodes=tuple(nodes))), Run(run.goal, (0,), 0, tuple(columns), tuple(ats))


def settle(world: World, run: Run | None) -> World:
    """Return the world in which nobody keeps a newer version from moving the schema that has not done so yet."""
    failing = run is not None and any(column[0] == _TAKE_BACK for column in run.columns)
    newer = any(node.process == T for node in world.nodes)
    return migrate(world, T) if newer and not failing else world


def hands_over(run: Run) -> bool:
    """Whether two nodes are at work on the phase under way that wait for each other, not for the controller."""
    return any(column[0] in (_HAND_OVER, _TAKE_OVER, _TAKE_BACK) for column in run.columns)


def without_controller(run: Run, ended: int | None = None) -> Run:
    """Return what goes on of this phase where the controller is gone. ended: the node whose half has ended, too."""
    columns = tuple((0,) if number == ended else column[:1] for number, column in enumerate(run.columns))
    return Run(run.goal, (0,), 0, columns, tuple(0 if number == ended else at for number, at in enumerate(run.ats)))


def gives_up(world: World, run: Run) -> Iterator[tuple[World, Run]]:
    """Yield what is when a half that waits has run out of time; the other goes on, and the run ends after it."""
    for number, column in enumerate(run.columns):
        program, at = _PROGRAMS[column[0]], run.ats[number]
        if at < len(program) and program[at] in ("await_proof", "await_back"):
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
    if node.process != world.nodes[number].process and operation != "end":
        world = written(migrate(world, node.process), node.process)
    world = world._replace(nodes=(*world.nodes[:number], node, *world.nodes[number + 1 :]))
    if operation == "give_proof":
        world = world._replace(proof=2)
    if operation == "take_back":
        world = world._replace(point=COMPLETE)
    if operation == "give_back":
        world = world._replace(back=2)
    ats = (*run.ats[:number], run.ats[number] + 1, *run.ats[number + 1 :])
    return world, run._replace(ats=ats)


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
    if operation in ("await", "ready"):
        if operation == "await" and node.process:
            raise Breach("the load balancer sends requests to a node that is to be stopped")
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
    if operation in ("give_proof", "await_proof", "await_back", "give_back"):
        return node
    if operation == "end":
        return node._replace(process=NONE)
    if operation == "observe":
        if world.schema != A:
            raise Abort
        return node
    if operation == "take_back":
        if world.point != IN_USE:
            raise Abort
        return node
    if operation == "prove_unused":
        if world.point != COMPLETE:
            raise Abort
        return node
    if operation == "start_again":
        _may_start(world, node.package, number)
        return node._replace(process=node.process or node.package)
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
    if version == A and world.point in (IN_USE, RESTORING):
        raise Breach("the older version is started while the restore point is in use")
