# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the modules found on every host to what the plan of an upgrade is made from, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._upgrade_model import (
    Balancer,
    DatabaseObservation,
    LockObservation,
    LockView,
    NodeObservation,
    Observations,
    Package,
    RestorePoint,
    RestoreState,
)

_PACKAGES = {"installed": Package.WHOLE, "broken": Package.HALF, "absent": Package.ABSENT}
_MEMBERS = {"ready": Balancer.READY, "drain": Balancer.DRAIN, "maintenance": Balancer.MAINT}
_MOVED = (RestoreState.IN_USE, RestoreState.RESTORING, RestoreState.RESTORED)
# what decides which version runs where; the rest may differ as far as the run has come
_DECISIVE = ("stop", "restore", "first", "rest")


def observe(found: Mapping[str, Any]) -> Observations:
    """Return the observations.

    found: plain data, as the modules return it; what is by node has the inventory's names as keys.
      nodes: node_info's node, {} for one that could not be reached. sessions: database_sessions' results.
      asked_versions, package_sources: texts. staged: paths of the files that this run has verified.
      balancers: of each load balancer lb_member's members, {} for one that did not answer.
      balancer_command: whether the team's own command does that instead.
      database: name of the host. allow_unlicensed: whether 402 is healthy.
      lock, restore_point: the modules' results; {}, or that of a skipped task, where they could not be asked.
    """
    lock, point = _lock(found["lock"]), _restore_point(found["restore_point"])
    nodes = found["nodes"]
    answers = {name: result for name, result in found["sessions"].items() if result and "sessions" in result}
    addresses = {name: answer["own_address"] for name, answer in answers.items()}
    sessions = [session["client_address"] for session in next(iter(answers.values()), {"sessions": []})["sessions"]]
    # a command tells nothing of what is; what a run that was cut off drained is brought back
    told = Balancer.DRAIN if lock.view is not LockView.FREE and point.state in _MOVED else Balancer.READY
    seen = []
    for name, info in nodes.items():
        if not info:
            seen.append(NodeObservation(name, reachable=False))
            continue
        node = _node(name, info, (200, 402) if found["allow_unlicensed"] else (200,))
        seen.append(
            replace(
                node,
                staged=bool(found["staged"].get(name)),
                sessions=sessions.count(addresses[name]) if name in addresses else 0,
                balancer=told if found["balancer_command"] else _balancer(name, found["balancers"]),
                asked_version=found["asked_versions"].get(name, ""),
                package_source=found["package_sources"].get(name, ""),
            )
        )
    return Observations(
        nodes=tuple(seen),
        database=_database(found["database"], found["sessions"], sorted(set(sessions) - set(addresses.values()))),
        lock=lock,
        restore_point=point,
    )


def _node(name: str, info: Mapping[str, Any], healthy_codes: Sequence[int]) -> NodeObservation:
    return NodeObservation(
        name=name,
        package=_PACKAGES[info["package"]["status"]],
        installed_version=info["package"]["version"],
        process=info["running"],
        running_version=info["running_version"],
        masked=info["masked"],
        enabled=info["unit"]["file_state"] == "enabled",
        held=info["package"]["held"],
        healthy=info["api"]["health_code"] in healthy_codes,
        busy=bool(info["busy"]),
    )


def _balancer(name: str, balancers: Iterable[Mapping[str, Any]]) -> Balancer:
    """Return what the load balancers do with a node: where they differ, what keeps requests from it."""
    seen = [_MEMBERS[members[name]["state"]] if name in members else Balancer.UNKNOWN for members in balancers]
    if not seen:
        return Balancer.UNMANAGED
    return next(state for state in (Balancer.UNKNOWN, Balancer.MAINT, Balancer.DRAIN, Balancer.READY) if state in seen)


def _database(name: str, results: Mapping[str, Any], foreign: Sequence[str]) -> DatabaseObservation:
    silent = [f"{host}: {said['msg']}" for host, said in results.items() if said and "msg" in said]
    if silent:
        return DatabaseObservation(name, reachable=False, says="; ".join(silent))
    return DatabaseObservation(name, foreign_sessions=tuple(address or "its own socket" for address in foreign))


def _lock(result: Mapping[str, Any]) -> LockObservation:
    if "view" not in result:
        return LockObservation()
    return LockObservation(LockView(result["view"]), result["lock"].get("run_id", ""), result["says"])


def _restore_point(result: Mapping[str, Any]) -> RestorePoint:
    if "state" not in result:
        return RestorePoint()
    return RestorePoint(RestoreState(result["state"]), result["from_version"], result["to_version"], result["run_id"])


def judge_drift(phase: str, planned: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Return how the cluster has changed under a run that is about to begin a phase; none = it is as planned.

    planned: the phases from this one on, as Plan.to_dict() has them. now: those of a plan made just now.
    """
    wanted, seen = ({each["name"]: each["steps"] for each in phases} for phases in (planned, now))
    differing = [name for name in _DECISIVE if wanted.get(name, {}) != seen.get(name, {})]
    if not differing:
        return []
    hosts = {
        host
        for name in differing
        for host in {*wanted.get(name, {}), *seen.get(name, {})}
        if wanted.get(name, {}).get(host) != seen.get(name, {}).get(host)
    }
    shown = "; ".join(
        f"phase {name} was {_steps(wanted.get(name, {}))} and is now {_steps(seen.get(name, {}))}" for name in differing
    )
    return [
        Problem(
            check="cluster-changed",
            found=f"before phase {phase}, {', '.join(sorted(hosts - {''})) or 'the cluster'} was found changed by "
            f"somebody else since this run began: {shown}",
            why="What was about to be done was right for the state before, and may be wrong for the one now",
            fix="Find out who or what changed it, then run the same command again: it looks anew",
        )
    ]


def _steps(steps: Mapping[str, str]) -> str:
    return ", ".join(f"{action} on {host or 'the cluster'}" for host, action in sorted(steps.items())) or "nothing"
