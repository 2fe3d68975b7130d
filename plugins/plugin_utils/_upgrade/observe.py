# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the modules found on every host to what the plan of an upgrade is made from, and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.space import Space
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.observe import (
    Sessions,
    observe_balancer,
    observe_lock,
    observe_sessions,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    Action,
    DatabaseObservation,
    NodeObservation,
    Observations,
    RestorePoint,
)

_MOVED = (RestoreState.IN_USE, RestoreState.RESTORING, RestoreState.RESTORED)
# what decides which version runs where; the rest may differ as far as the run has come
_DECISIVE = ("stop", "restore", "first", "rest")


def observe(found: Mapping[str, Any]) -> Observations:
    """Return the observations.

    found: plain data, as the modules return it; what is by node has the inventory's names as keys.
      nodes: node_info's results.
      sessions: database_sessions' results.
      asked_versions, package_sources: texts. staged: paths of the files that this run has verified.
      balancers: of each load balancer lb_member's members, {} for one that did not answer.
      balancer_command: whether the team's own command does that instead.
      database: name of the host. allow_unlicensed: whether 402 is healthy.
      lock, restore_point: the modules' results; {}, or that of a skipped task, where they could not be asked.
      saved: the result for what a way back saves before it; space: the result of the first, asked with the databases.
      now: seconds since the epoch.
    """
    lock, point = observe_lock(found["lock"]), observe_restore_point(found["restore_point"])
    # those of a node that can't be asked for its address would be taken for a stranger's
    sessions = observe_sessions(
        found["sessions"] if all("node" in result for result in found["nodes"].values()) else {}
    )
    interrupted = lock.view is not LockView.FREE and point.state in _MOVED
    nodes = [
        NodeObservation.from_result(
            name,
            result,
            found["allow_unlicensed"],
            sessions=sessions.own.get(name, 0),
            balancer=observe_balancer(name, found, interrupted),
            by_command=bool(found["balancer_command"]),
            staged=bool(found["staged"].get(name)),
            asked_version=found["asked_versions"].get(name, ""),
            package_source=found["package_sources"].get(name, ""),
        )
        for name, result in found["nodes"].items()
    ]
    return Observations(
        nodes=tuple(nodes),
        database=_database(found["database"], sessions),
        lock=lock,
        restore_point=point,
        saved=observe_restore_point(found["saved"]),
        space=_space(found["space"]),
        now=found["now"],
    )


def _space(result: Mapping[str, Any]) -> Space | None:
    if result.get("space"):
        return Space(**result["space"])
    return Space(says=result["msg"]) if "msg" in result else None


def _database(name: str, sessions: Sessions) -> DatabaseObservation:
    if sessions.says:
        return DatabaseObservation(name, reachable=False, says=sessions.says)
    return DatabaseObservation(name, foreign_sessions=sessions.foreign, shared_addresses=sessions.shared)


def observe_restore_point(result: Mapping[str, Any]) -> RestorePoint:
    """Return the restore point. result: of the module; {}, or that of a skipped task, where it could not be asked."""
    if "state" not in result:
        return RestorePoint()
    return RestorePoint(
        RestoreState(result["state"]),
        result["from_version"],
        result["to_version"],
        result["run_id"],
        result["created"],
        result["restored"],
    )


def judge_drift(phase: str, planned: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return how the cluster has changed under a run that is about to begin a phase; none = it is as planned.

    planned: the phases from this one on, as Plan.to_dict() has them. now: those of a plan made just now.
    A start that is no longer needed is no change: a node that was found starting has come up since.
    """
    wanted, observed = ({each["name"]: each["steps"] for each in phases} for phases in (planned, now))
    started = {host for steps in wanted.values() for host, action in steps.items() if action == Action.START.value}
    changed = [
        (name, host)
        for name in _DECISIVE
        for host in sorted({*wanted.get(name, {}), *observed.get(name, {})})
        if not _is_as_planned(wanted.get(name, {}).get(host), observed.get(name, {}).get(host), host in started)
    ]
    if not changed:
        return []
    hosts = sorted({host for _name, host in changed if host})
    shown = "; ".join(
        f"phase {name} was {_steps(wanted.get(name, {}))} and is now {_steps(observed.get(name, {}))}"
        for name in dict(changed)
    )
    return [
        Problem(
            check="cluster-changed",
            found=f"before phase {phase}, {', '.join(hosts) or 'the cluster'} was found changed by "
            f"somebody else since this run began: {shown}",
            why="The plan was made for the state before, and may be wrong for the present one",
            fix="Find out who or what changed it, then run the same command again: it looks anew",
        )
    ]


def _is_as_planned(planned: str | None, now: str | None, to_start: bool) -> bool:
    """Whether a host's step in a phase is the planned one, or a start that the host may have come up without."""
    start = Action.START.value
    return planned == now or (to_start and {planned, now} <= {start, None})


def _steps(steps: Mapping[str, str]) -> str:
    return ", ".join(f"{action} on {host or 'the cluster'}" for host, action in sorted(steps.items())) or "nothing"
