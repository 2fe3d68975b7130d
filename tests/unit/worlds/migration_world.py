# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small world of nodes, an old and a new home, in which migrations are carried out and everything can go wrong.

It knows what the actions promise (their docstrings) and nothing of how a plan is made. Between any two operations, on
any node, the controller may die, a node may lose power (and starts by itself unless it is blocked), or a person may
unblock and start a node. A node that runs on the old home writes to it all the time: the worst case for a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import RETIRED, Options, Record, RecordState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, LockObservation
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import (
    VERB,
    Action,
    NodeObservation,
    Observations,
    Plan,
)

NAMES = ("a", "b", "c")
NOTHING, OLD, NEW = 0, 1, 2
"""Homes: that of no process, the shared one, the target's own."""
FREE, LEFT, OURS = 0, 1, 2
ABSENT, BEGUN, SWITCHED, FINISHED = range(4)
_BLOCKS = ("", VERB, RETIRED)
_STATES = tuple(RecordState)


class Node(NamedTuple):
    """One node. process: on which home. block: 0, 1 for the migration, 2 for good. config: the home that it names.

    by_hand: a person started it, and nothing has stopped it since; 1 = and the plan was made knowing it.
    """

    process: int = OLD
    block: int = 0
    config: int = OLD
    mounted: bool = True
    in_balancer: bool = True
    by_hand: int = 0

    @property
    def startable(self) -> int:
        """The home that it works on now, or would after a reboot."""
        return self.process or (NOTHING if self.block else self.config)


class World(NamedTuple):
    """What lasts. The first node is the target. data, databases: whether what was copied is all there is.

    written: whether the new home may have been written to. astray: what a person's start has written to the old home
    after it was copied is theirs to look for.
    """

    nodes: tuple[Node, ...]
    record: int = ABSENT
    data: bool = False
    databases: bool = False
    written: bool = False
    closed: bool = False
    lock: int = FREE
    astray: bool = False


class Breach(Exception):
    """What must never happen, has."""


class Abort(Exception):
    """A step found that it must not go on; the run ends as when the controller dies."""


PROGRAMS: dict[Action, tuple[str, ...]] = {
    Action.TAKE_LOCK: ("lock",),
    Action.BEGIN: ("begin",),
    Action.WARM_COPY: (),
    Action.SERVE_DATABASES: (),
    Action.LB_DRAIN: ("drain",),
    Action.STOP_AND_BLOCK: ("block", "stop", "stopped"),
    Action.MOVE: (
        *("record", "others_gone", "block", "stop", "stopped", "others_gone", "copy_data", "copy_databases"),
        *("still", "switch", "configure", "stop_old", "unblock", "start"),
    ),
    Action.ROUTE: (),
    Action.RETIRE: ("retire", "stop", "unmount"),
    Action.CLOSE_DATABASES: ("close",),
    Action.RETIRE_DATABASES: (),
    Action.CLOSE_STORAGE: ("close",),
    Action.PROTECT_DATA: (),
    Action.WRITE_INVENTORY: (),
    Action.FINISH: ("finish",),
    Action.WITHDRAW: (),
    Action.LEAVE_STORAGE: ("unmount",),
    Action.START_AGAIN: ("unblock", "start"),
    Action.LB_READY: ("ready",),
    Action.FORGET: ("forget",),
    Action.RELEASE_LOCK: ("release",),
}


# The place of a node in MOVE's program that has copied the databases first: both are copied at the same time.
_DATABASES_FIRST = -1
# What MOVE does to, or asks of, more than its own node.
_OF_ALL = ("record", "others_gone", "copy_data", "copy_databases", "still", "switch")


def _ways(world: World, action: Action, at: int) -> list[tuple[str, int]]:
    """Return what may be next of an action, each with the place after it; none where it is done."""
    program = PROGRAMS[action]
    if action is not Action.MOVE:
        return [(program[at], at + 1)] if at < len(program) else []
    if at == _DATABASES_FIRST:
        return [("copy_data", program.index("copy_databases") + 1)]
    if at == len(program):
        return []
    if program[at] == "record" and world.record >= SWITCHED:
        return [("record", program.index("switch") + 1 if "switch" in program else at + 1)]
    ways = [(program[at], at + 1)]
    if program[at : at + 2] == ("copy_data", "copy_databases"):
        ways.append(("copy_databases", _DATABASES_FIRST))
    return ways


class Run(NamedTuple):
    """A plan under way: for each phase the action of each host ("" = once), and how far each is in the first one."""

    options: Options
    phases: tuple[tuple[tuple[str, Action], ...], ...]
    ats: tuple[int, ...]


def begin(world: World, plan: Plan, options: Options) -> tuple[World, Run | None]:
    """Return world and run at the moment when a plan that was made in it begins; no run for a plan without phases."""
    phases = tuple(tuple((step.host, step.action) for step in phase.steps) for phase in plan.phases)
    known = world._replace(nodes=tuple(node._replace(by_hand=min(node.by_hand, 1)) for node in world.nodes))
    return known, Run(options, phases, (0,) * len(phases[0])) if phases else None


def advance(world: World, run: Run) -> Iterator[tuple[World, Run | None]]:
    """Yield what may be next when nothing goes wrong: one operation on any host that has one left in this phase."""
    steps = run.phases[0]
    ways = [
        (number, host, operation, after)
        for number, (host, action) in enumerate(steps)
        for operation, after in _ways(world, action, run.ats[number])
    ]
    if not ways:
        rest = run.phases[1:]
        yield world, Run(run.options, rest, (0,) * len(rest[0])) if rest else None
    for number, host, operation, at in ways:
        ats = (*run.ats[:number], at, *run.ats[number + 1 :])
        try:
            after = _operate(world, run.options, host, operation)
        except Abort:
            yield die(world), None
        else:
            yield after, run._replace(ats=ats)


def _operate(world: World, options: Options, host: str, operation: str) -> World:
    running = [node for node in world.nodes if node.process]
    if host in NAMES and operation not in (*_OF_ALL, "finish", "close"):
        number = NAMES.index(host)
        return moved(_with(world, number, _on_node(world, options, operation, number)), number)
    if operation == "lock":
        return world._replace(lock=OURS)
    if operation == "release":
        return world._replace(lock=FREE)
    if operation == "begin":
        if world.record != ABSENT:
            raise Abort
        return world._replace(record=BEGUN, astray=False)
    if operation == "forget":
        if world.record != BEGUN:
            raise Abort
        return world._replace(record=ABSENT)
    if operation == "record":
        if world.record not in (BEGUN, SWITCHED):
            raise Abort
        return world
    if operation in ("others_gone", "still"):
        # a node that works on the old databases has a session in them
        target, *others = world.nodes
        if any(node.process for node in others) or (operation == "still" and (target.process or not target.block)):
            raise Abort
        return world
    if operation in ("copy_data", "copy_databases") and world.written:
        raise Breach("what the node has written since the switch is copied over")
    if operation == "copy_data":
        return world._replace(data=not running) if options.move_data else world
    if operation == "copy_databases" and not options.move_databases:
        return world
    if operation == "copy_databases":
        if running:
            raise Abort
        return world._replace(databases=True)
    if operation == "switch":
        if world.record not in (BEGUN, SWITCHED):
            raise Abort
        return world._replace(record=SWITCHED)
    if operation == "close":
        return world._replace(closed=True)
    assert operation == "finish"
    if world.record < SWITCHED:
        raise Abort
    return world._replace(record=FINISHED)


def _on_node(world: World, options: Options, operation: str, number: int) -> Node:
    node = world.nodes[number]
    if operation in ("drain", "ready"):
        return node._replace(in_balancer=operation == "ready")
    if operation == "block":
        return node._replace(block=1)
    if operation == "retire":
        return node._replace(block=2)
    if operation == "stop":
        return node._replace(process=NOTHING, by_hand=0 if node.block else node.by_hand)
    if operation == "stopped":
        if node.process or not node.block:
            raise Abort
        return node
    if operation == "configure":
        if world.record < SWITCHED:
            raise Breach("the configuration names the new home while the old cluster is to be the way back")
        return node._replace(config=NEW)
    if operation == "stop_old":
        return node._replace(process=NOTHING, block=1, by_hand=0) if node.process == OLD else node
    if operation == "unblock":
        return node._replace(block=0)
    if operation == "unmount":
        if node.process == OLD:
            raise Abort  # it is busy
        return node._replace(mounted=False)
    assert operation == "start"
    if node.config == NEW and any(other.by_hand == 1 and other.process == OLD for other in world.nodes):
        raise Breach("the node starts next to one that was seen to run on the old home")
    return node if node.process else node._replace(process=node.config)


def moved(world: World, number: int, unseen: bool = False) -> World:
    """Return the world after what a process of a node may write was written.

    unseen: whether every node was looked at for the last time before the switch.
    """
    node = world.nodes[number]
    if node.process == OLD:
        astray = world.astray or (node.by_hand > 0 and (unseen or world.record >= SWITCHED))
        return world._replace(data=False, databases=False, astray=astray)
    return world._replace(written=True) if node.process == NEW else world


def _with(world: World, number: int, node: Node) -> World:
    return world._replace(nodes=(*world.nodes[:number], node, *world.nodes[number + 1 :]))


def die(world: World) -> World:
    """Return the world after the controller has died."""
    return world._replace(lock=LEFT) if world.lock == OURS else world


def cut_power(world: World, number: int) -> World:
    """Return the world after a node has lost power and is back."""
    node = world.nodes[number]
    # what a node on a storage that it does not mount would start fails
    home = NOTHING if node.block else node.config
    return moved(_with(world, number, node._replace(process=home)), number)


def start_by_hand(world: World, number: int, run: Run | None) -> World | None:
    """Return the world after a person has unblocked and started a node, None where that changes nothing."""
    node = world.nodes[number]
    if node.process or not node.mounted:
        return None
    unseen = run is not None and run.phases[0][0][1] is Action.MOVE and _is_past("still", run.ats[0])
    return moved(_with(world, number, node._replace(block=0, process=node.config, by_hand=2)), number, unseen)


def _is_past(operation: str, at: int) -> bool:
    program = PROGRAMS[Action.MOVE]
    return operation in program and at > program.index(operation)


def check(world: World, options: Options) -> None:
    """Raise Breach where both homes may be written to, or one that is not the right one.

    Nodes that a person started are their doing until a run has stopped them.
    """
    ours = [node for node in world.nodes if not node.by_hand]
    if any(node.startable == NEW for node in ours):
        if world.record < SWITCHED:
            raise Breach("the new home may be written to while the old cluster is to be the way back")
        if any(node.startable == OLD for node in ours[1:] if ours[0] is world.nodes[0]):
            raise Breach("both homes may be written to")
        if not world.astray and not world.written:
            if options.move_data and not world.data:
                raise Breach("the node starts without all of the data")
            if options.move_databases and not world.databases:
                raise Breach("the node starts without all of the databases")
    if world.record >= SWITCHED:
        if any(node.startable for node in world.nodes[1:] if not node.by_hand):
            raise Breach("an old node may start after the switch")
        if world.nodes[0].process == OLD and not world.nodes[0].by_hand:
            raise Breach("the target runs on the old home after the switch")
    elif world.written:
        raise Breach("what was written to the new home would be given up")
    if world.record == FINISHED and not world.closed:
        raise Breach("it is finished, and the old home is open")


def observe(world: World) -> Observations:
    """Return what a run would see."""
    nodes = tuple(
        NodeObservation(
            name=NAMES[number],
            installed_version="2026.08.0",
            process=bool(node.process),
            healthy=bool(node.process),
            blocked_for=_BLOCKS[node.block],
            blocked=bool(node.block),
            mounted=node.mounted,
            balancer=Balancer.READY if node.in_balancer else Balancer.DRAIN,
        )
        for number, node in enumerate(world.nodes)
    )
    view = (LockView.FREE, LockView.TAKEABLE, LockView.OURS)[world.lock]
    return Observations(
        nodes=nodes,
        lock=LockObservation(view, "run" if world.lock else ""),
        database_hosts=("db",),
        storage_hosts=("nfs",),
        balancer_hosts=("lb",),
    )


def with_record(observed: Observations, world: World, options: Options) -> Observations:
    """Return the observations with what is written down."""
    record = Record(_STATES[world.record], options if world.record else None, "run" if world.record else "")
    return replace(observed, record=record)
