# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters as a run may find them, for the tests of what is planned for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, LockObservation
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    NodeObservation,
    Observations,
    Outcome,
    Plan,
    RestorePoint,
)

OLD, NEW = "2025.12.0-14", "2026.04.0"
OURS = LockObservation(LockView.OURS, "run1")


def serving(name: str, version: str = OLD, **changes: Any) -> NodeObservation:
    """Return a node that serves a version."""
    node = NodeObservation(
        name=name,
        installed_version=version,
        process=True,
        running_version=version,
        healthy=True,
        sessions=5,
        balancer=Balancer.READY,
    )
    return replace(node, **changes)


def halted(name: str, version: str = OLD, **changes: Any) -> NodeObservation:
    """Return a node that was drained, stopped and blocked."""
    node = NodeObservation(name=name, installed_version=version, blocked=True, staged=True, balancer=Balancer.DRAIN)
    return replace(node, **changes)


def waiting(name: str, version: str = OLD, **changes: Any) -> NodeObservation:
    """Return a node that the upgrade has stopped and blocked."""
    return halted(name, version, **{"blocked_for": "upgrade", **changes})


MADE = "2026-11-01T08:00:00Z"
NOW = 1793520000.0 + 23 * 86400
"""23 days later."""


def finished(**changes: Any) -> Observations:
    """Return a cluster whose upgrade was finished weeks ago."""
    return cluster(
        *(serving(name, NEW) for name in "abc"), **{"point": (RestoreState.IN_USE, "run0"), "now": NOW, **changes}
    )


def cluster(*nodes: NodeObservation, point: tuple[RestoreState, str] | None = None, **changes: Any) -> Observations:
    """Return observations of nodes, with a restore point of an upgrade from OLD to NEW."""
    where = RestorePoint(point[0], OLD, NEW, point[1], MADE) if point else RestorePoint()
    return replace(Observations(nodes=nodes, restore_point=where), **changes)


def told(outcome: Outcome) -> list[str]:
    """Return a plan as lines: "phase: action host, host"."""
    assert isinstance(outcome, Plan), outcome
    lines = []
    for phase in outcome.phases:
        by_action: dict[str, list[str]] = {}
        for step in phase.steps:
            by_action.setdefault(step.action.value, []).append(step.host)
        does = "; ".join(" ".join([action, *filter(None, hosts)]) for action, hosts in by_action.items())
        lines.append(f"{phase.name.value}: {does}")
    return lines
