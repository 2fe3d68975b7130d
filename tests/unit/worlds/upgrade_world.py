# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small world of nodes, a database and a restore point, and what must never be in it.

Worlds are tuples, so that millions can be looked through.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState

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
    proof: the word of a node that handed over: 1 = of an earlier attempt, 2 = of this one. back: likewise the word of
    one that took over, could not start, and has moved nothing.
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
    back: int = 0


class Breach(Exception):
    """What must never happen, has."""


class Abort(Exception):
    """A step found that it must not go on; the run ends as when the controller dies."""


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
