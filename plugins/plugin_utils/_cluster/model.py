# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every plan of a cluster is made of: packages, load balancer, lock, phases and steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView

CLUSTER = ""
"""The host of a step that is done once for the whole cluster."""


# the phases and actions of an upgrade, or those of other work
NameT = TypeVar("NameT", bound=Enum)


ActionT = TypeVar("ActionT", bound=Enum)


class Package(Enum):
    """What the package manager holds the package for."""

    INSTALLED = "installed"
    BROKEN = "broken"
    """Unpacked only, or left so by an error: which binary is on the disk isn't known."""
    ABSENT = "absent"


class Balancer(Enum):
    """What the load balancer does with a node."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"
    UNKNOWN = "unknown"
    """The load balancer didn't answer, or doesn't know the node."""
    UNMANAGED = "unmanaged"
    """The team's own, which notices by its health checks alone."""


@dataclass(frozen=True)
class LockObservation:
    """The cluster lock: what this run may do, the run id (kept by a take-over), and the holder in a sentence."""

    view: LockView = LockView.FREE
    run_id: str = ""
    says: str = ""


@dataclass(frozen=True)
class Step(Generic[ActionT]):
    """One action on one host (CLUSTER = once)."""

    host: str
    action: ActionT


@dataclass(frozen=True)
class Phase(Generic[NameT, ActionT]):
    """Steps that may run in parallel; all are done before the next phase begins."""

    name: NameT
    steps: tuple[Step[ActionT], ...]


@dataclass(frozen=True)
class Refusal:
    """Why nothing may be done now; every problem names its host and what to type."""

    problems: tuple[Problem, ...]


def to_data(phases: Iterable[Phase[NameT, ActionT]]) -> list[dict[str, object]]:
    """Return phases as plain data: a list of {name, steps: {host: action}}."""
    return [
        {"name": each.name.value, "steps": {step.host: step.action.value for step in each.steps}} for each in phases
    ]


def once(name: NameT, action: ActionT) -> Phase[NameT, ActionT]:
    """Return the phase of a step that is done once for the cluster."""
    return Phase(name, (Step(CLUSTER, action),))
