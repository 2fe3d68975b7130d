# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ordered upgrade and the way back observe, and the steps that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, Union

from ansible_collections.rspm.ha.plugins.module_utils._core.version import parse_version, reports_version, same_version
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.space import Space
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import (
    LockObservation,
    Package,
    Phase,
    Refusal,
    Step,
    to_data,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.observe import ClusterNode

# a plan compares the same few versions many times
same = cache(same_version)
reports = cache(reports_version)


class Mode(Enum):
    """When the first node stops."""

    INSTALL_BEFORE = "install_before_outage"
    """It stops with the others while one goes on serving, gets its package, and takes over from that one."""
    FIRST_SERVES = "first_serves_until_its_turn"
    STOP_ALL = "stop_all_first"


class Action(Enum):
    """What a step does. Each is idempotent: done twice, it is done."""

    TAKE_LOCK = "take_lock"
    """Cluster: take the lock, or take it over from a run of the same work that is gone."""
    STAGE = "stage"
    """Node: the package file of the wanted version is on the node, checked (checksum, dependency dry run, space)."""
    CREATE_RESTORE_POINT = "create_restore_point"
    """Cluster: databases, configuration, key and old package are saved and verified; an older one is replaced at the
    very end."""
    SAVE_PRESENT = "save_present"
    """Cluster: the same of what the newer version wrote, apart from the restore point, which stays."""
    LB_DRAIN = "lb_drain"
    """Node: the load balancer sends it nothing new, and what was running has ended or run out of time."""
    STOP_AND_BLOCK = "stop_and_block"
    """Node: blocked, then stopped, and proved: no process, no listening port."""
    PROVE_STOPPED = "prove_stopped"
    """Cluster: the databases hold no session of any node but the one that serves until its own step (rollback: of none
    at all); the session that a power cut left is ended."""
    INSTALL_NEXT = "install_next"
    """Node: the newer package is installed, its scripts apart from network, databases and data; stays blocked. Refuses
    where the service runs or isn't blocked."""
    MARK_RESTORE_POINT_IN_USE = "mark_restore_point_in_use"
    """Cluster: from here on the schema may move; written down before it can."""
    UPGRADE_FIRST = "upgrade_first"
    """Node, the critical call: block, stop, prove that no node is left (databases' sessions), install, unblock, enable,
    start, schema moved, healthy."""
    HAND_OVER = "hand_over"
    """Two nodes at once, the critical call: the one that serves blocks, stops, proves that nothing and no session of it
    is left, and says so on the shared storage; the one that goes first waits for that very word, proves that no node is
    left, unblocks, enables, starts, schema moved, healthy. Where it does not start, it blocks and stops itself; where
    nothing was written to the databases meanwhile, it takes the restore point back from being in use and says so, and
    the other one, which has waited for that, starts again. The step fails all the same."""
    UPGRADE = "upgrade"
    """Node: block, stop, install, unblock, enable, start, healthy and of the wanted version."""
    START = "start"
    """Node: unblock, enable, start where nothing runs, wait until healthy and of the wanted version; never stops what
    runs (it may be moving the schema)."""
    LB_AWAIT = "lb_await"
    """Node, stopped: the load balancer sends it requests as soon as its own checks find it healthy."""
    LB_READY = "lb_ready"
    """Node: the load balancer sends it requests again."""
    HOLD = "hold"
    """Node: neither an operator's nor an unattended update changes the package."""
    RESTORE = "restore"
    """Cluster: prove that no node is left, mark the restore point as restoring, put databases and key back, verify,
    prove again, mark it as restored."""
    INSTALL_PREVIOUS = "install_previous"
    """Node: the restore point's package and configuration are in place; stays blocked. Refuses where the service runs
    or isn't blocked: it may have moved the restored schema, which the next plan must see."""
    RELEASE_LOCK = "release_lock"
    """Cluster: the work is done."""


class PhaseName(Enum):
    """The phases, in the order of an upgrade; each occurs at most once in a plan."""

    LOCK = "lock"
    STAGE = "stage"
    RESTORE_POINT = "restore_point"
    SAVE = "save"
    DRAIN = "drain"
    STOP = "stop"
    PROVE = "prove"
    FINAL_RESTORE_POINT = "final_restore_point"
    FINAL_SAVE = "final_save"
    COMMIT = "commit"
    RESTORE = "restore"
    INSTALL = "install"
    FIRST_AWAITED = "first_awaited"
    FIRST = "first"
    FIRST_BACK = "first_back"
    REST = "rest"
    REST_BACK = "rest_back"
    HOLD = "hold"
    UNLOCK = "unlock"


@dataclass(frozen=True)
class NodeObservation(ClusterNode):
    """One node, as it is now.

    running_version: what its process is: by its API, else by its executable when that is still the installed file;
        "" where neither tells (starting) or there is no process.
    stopped_at: when the last process ended, in seconds since the epoch; 0 where that isn't known.
    staged: the file of the version that this run installs (a rollback: the previous one) is there and checked.
    held: of the package. answer: what the health address said, in words.
    by_command: whether a command of the team's own treats it at the load balancer, and tells nothing of what is.
    asked_version, package_source: what the inventory asks for on this node ("" = not compared).
    """

    running_version: str = ""
    stopped_at: float = 0
    staged: bool = False
    held: bool = True
    answer: str = "nothing"
    by_command: bool = False
    asked_version: str = ""
    package_source: str = ""

    @classmethod
    def from_result(cls, name: str, result: Mapping[str, Any], allow_unlicensed: bool, **known: Any) -> NodeObservation:
        """Return what node_info's result says of a node. known: what others say of it, if it could be reached."""
        info = result.get("node")
        if info:
            known.update(
                running_version=info["running_version"],
                stopped_at=info["unit"]["stopped_at"],
                answer=_answer(info["api"]),
                held=info["package"]["held"],
            )
        return super().from_result(name, result, allow_unlicensed, **known)

    def has(self, version: str) -> bool:
        """Whether the package is installed in this version."""
        return self.package is Package.INSTALLED and same(self.installed_version, version)

    def runs_other_than(self, version: str) -> bool:
        """Whether a process is there that is known not to be of this version."""
        return self.process and bool(self.running_version) and not reports(self.running_version, version)

    def runs(self, version: str) -> bool:
        """Whether a process is there that is known to be of this version."""
        return self.process and bool(self.running_version) and reports(self.running_version, version)

    @property
    def waits(self) -> bool:
        """Whether an upgrade keeps it stopped; while no restore point is in use, what it has has moved nothing."""
        return self.blocked_for == "upgrade" and not self.process


def _answer(api: Mapping[str, Any]) -> str:
    if not api["health_code"]:
        return f"nothing ({api['error']})" if api["error"] else "nothing"
    return f"{api['health_code']}{', while it is still starting' if api['starting'] else ''}"


@dataclass(frozen=True)
class DatabaseObservation:
    """The databases.

    foreign_sessions: addresses with a session of the service's account that are no node's; "" is the own socket.
    shared_addresses: addresses that the server sees several nodes with, each with those nodes.
    says: why it can't be reached.
    """

    name: str = "database"
    reachable: bool = True
    foreign_sessions: tuple[str, ...] = ()
    shared_addresses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    says: str = ""


@dataclass(frozen=True)
class RestorePoint:
    """The restore point: from which version to which, by which run (the lock's run id) and when (UTC, ISO 8601).

    restored: when a restore of it began last, "" for never.
    """

    state: RestoreState = RestoreState.ABSENT
    from_version: str = ""
    to_version: str = ""
    run_id: str = ""
    created: str = ""
    restored: str = ""


@dataclass(frozen=True)
class Observations:
    """Everything that a plan is made from; nodes in the order of the inventory.

    saved: what a way back has saved of the present before it. space: None where nobody asked. now: seconds since the
    epoch.
    """

    nodes: tuple[NodeObservation, ...]
    database: DatabaseObservation = DatabaseObservation()
    lock: LockObservation = field(default_factory=LockObservation)
    restore_point: RestorePoint = RestorePoint()
    saved: RestorePoint = RestorePoint()
    space: Space | None = None
    now: float = 0


@dataclass(frozen=True)
class Options:
    """What a team may choose.

    mode, first: when the first node stops, and which goes first ("" = the one that serves). rollback_to: when the
    restore point was made that a finished upgrade may be given up for, "" for none. serves: the node that this very run
    has left serving until it hands over, "" for none.
    """

    mode: Mode = Mode.FIRST_SERVES
    first: str = ""
    rollback_to: str = ""
    serves: str = ""


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True)
class Plan:
    """The phases that remain, in order; none where nothing is to be done.

    first: the node that goes first, or "". gives_up: a sentence on what going back loses, "" where it loses nothing.
    serves: the node that is stopped in the step of the first only: itself, or the one that hands over to it, or "".
    """

    phases: tuple[Phase[PhaseName, Action], ...] = ()
    first: str = ""
    from_version: str = ""
    to_version: str = ""
    gives_up: str = ""
    serves: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the plan as plain data for a module result."""
        return {
            "first": self.first,
            "serves": self.serves,
            "from_version": self.from_version,
            "to_version": self.to_version,
            "gives_up": self.gives_up,
            "phases": to_data(self.phases),
        }


Outcome = Union[Plan, Refusal]


def phase(name: PhaseName, action: Action, nodes: list[NodeObservation]) -> Phase[PhaseName, Action] | None:
    """Return the phase in which all these nodes do the same, or None for no node."""
    return Phase(name, tuple(Step(node.name, action) for node in nodes)) if nodes else None


@cache
def is_newer(version: str, than: str) -> bool:
    """Whether version is a later release than the other; False where either is "" (unknown).

    Raises DomainError for text that is no version.
    """
    return bool(version and than) and not same(version, than) and parse_version(than) < parse_version(version)
