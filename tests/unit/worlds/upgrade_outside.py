# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What befalls the small world from outside, and what a run sees of it."""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, LockObservation, Package
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    NodeObservation,
    Observations,
    RestorePoint,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.way_back import seconds_of
from tests.unit.worlds.upgrade_world import (
    BROKEN,
    MADE,
    NAMES,
    NEW,
    NONE,
    OLD,
    RESTORED_AT,
    SAVED,
    STATES,
    A,
    Node,
    T,
    World,
    migrate,
    written,
)


def cut_power(world: World, number: int) -> World:
    """Return the world after a node has lost power and is back."""
    node = world.nodes[number]
    version = NONE if node.blocked else node.package
    if version == BROKEN:
        version = T if world.schema == T else A
    world = world._replace(nodes=(*world.nodes[:number], node._replace(process=version), *world.nodes[number + 1 :]))
    return written(migrate(world, version), version)


def lose_process(world: World, number: int) -> World:
    """Return the world in which a node's process is gone, and the node may come back with it."""
    return world._replace(
        nodes=(*world.nodes[:number], world.nodes[number]._replace(process=NONE), *world.nodes[number + 1 :])
    )


def start_by_hand(world: World, number: int) -> World | None:
    """Return the world after a person has unblocked and started a node, None where that changes nothing."""
    node = world.nodes[number]
    if node.process or node.package == BROKEN:
        return None
    node = node._replace(blocked=False, process=node.package, by_hand=2)
    moved = node.process == T and world.schema != T
    world = written(world, node.process)
    return world._replace(
        nodes=(*world.nodes[:number], node, *world.nodes[number + 1 :]),
        schema=T if moved else world.schema,
        schema_by_hand=2 if moved else world.schema_by_hand,
    )


def unlock(world: World) -> World:
    """Return the world after a person has broken the lock."""
    return world._replace(lock=NONE, point_is_ours=False)


def observe(world: World) -> Observations:
    """Return what a run would see."""
    view = (LockView.FREE, LockView.TAKEABLE, LockView.OURS)[world.lock]
    made = (OLD, NEW, "run" if world.point_is_ours else "earlier", MADE, RESTORED_AT if world.sealed else "")
    return Observations(
        nodes=tuple(_seen(node, number) for number, node in enumerate(world.nodes)),
        lock=LockObservation(view, "run" if world.lock else ""),
        restore_point=RestorePoint(STATES[world.point], *made) if world.point else RestorePoint(),
        saved=RestorePoint(RestoreState.COMPLETE, NEW, OLD, "run", SAVED) if world.saved else RestorePoint(),
        now=seconds_of(SAVED) + 600,
    )


_seen_before: dict[tuple[Node, int], NodeObservation] = {}


def _seen(node: Node, number: int) -> NodeObservation:
    key = (node._replace(by_hand=0), number)
    if key not in _seen_before:
        _seen_before[key] = NodeObservation(
            name=NAMES[number],
            package=Package.BROKEN if node.package == BROKEN else Package.INSTALLED,
            installed_version={A: OLD, T: NEW, BROKEN: NEW}[node.package],
            process=bool(node.process),
            running_version={NONE: "", A: OLD, T: NEW}[node.process],
            blocked=node.blocked,
            blocked_for="upgrade" if node.blocked else "",
            staged=node.staged,
            held=node.held is not False,
            healthy=bool(node.process),
            balancer={None: Balancer.UNMANAGED, True: Balancer.READY, False: Balancer.DRAIN}[node.in_balancer],
        )
    return _seen_before[key]
