# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the ordered upgrade, or the way back, must not begin or go on: every reason, with its host and what to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.version import judge_versions, parse_version
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Package
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.refuse import (
    AGAIN,
    database_unreachable,
    refuse_balancer,
    refuse_lock,
    refuse_nodes,
    refuse_packages,
    refuse_sessions,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import (
    NodeObservation,
    Observations,
    Options,
    is_newer,
    same,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.way_back import duration, is_finished, seconds_of


def _upgrade(version: str) -> str:
    return f"{PLAYBOOK}.upgrade -e rspm_version={version}"


def continues_run(observed: Observations, target: str) -> bool:
    """Whether the restore point says that an upgrade to target has come to where the schema may have moved."""
    point = observed.restore_point
    return point.state is RestoreState.IN_USE and same(point.to_version, target)


def _has_installed_ahead(observed: Observations, target: str) -> bool:
    """Whether an upgrade to target, whose restore point is not in use yet, explains that versions differ.

    Such a node waits, stopped and blocked, or was started by hand while the lock is still that of the upgrade.
    """
    point = observed.restore_point
    if point.state is not RestoreState.COMPLETE or not same(point.to_version, target):
        return False
    ours = observed.lock.view is not LockView.FREE and observed.lock.run_id == point.run_id
    ahead = [node for node in observed.nodes if not node.has(point.from_version)]
    return 0 < len(ahead) < len(observed.nodes) and all(
        (node.has(target) or node.package is Package.BROKEN) and (node.waits or ours) for node in ahead
    )


def refuse_upgrade(observed: Observations, target: str, options: Options) -> list[Problem]:
    """Return every reason why an upgrade to target must not begin or go on now; none = it may."""
    problems = _refuse_unknown(observed, options)
    if problems:
        # what isn't known can't be judged: the rest would only be noise
        return problems
    try:
        parse_version(target)
    except DomainError as error:
        return list(error.problems)
    problems += judge_versions({node.name: node.asked_version for node in observed.nodes if node.asked_version})
    problems += _differing_sources(observed.nodes)
    problems += _downgrade(observed, target)
    return (
        problems
        or unfinished(observed, target)
        or _refuse_versions(observed, target)
        or _refuse_unhealthy(observed, target)
    )


def refuse_rollback(observed: Observations, options: Options) -> list[Problem]:
    """Return every reason why the rollback must not begin or go on now; none = it may."""
    problems = _refuse_unknown(observed, options)
    if problems:
        return problems
    point = observed.restore_point
    if point.state in (RestoreState.ABSENT, RestoreState.INCOMPLETE):
        return [
            Problem(
                check="restore-point",
                found=f"the restore point is {point.state.value}; installed is {_by_version(observed.nodes)}",
                why="There is nothing to go back to. No upgrade has stopped a node since: it saves first",
                fix="Bring nodes that were left blocked back with "
                + _upgrade(observed.nodes[0].installed_version or "<the version that is installed>"),
            )
        ]
    asked = options.rollback_to
    if (is_finished(observed) and asked != point.created) or asked not in ("", point.created):
        return [_finished(observed, asked)]
    strange = [
        node
        for node in observed.nodes
        if node.package is Package.INSTALLED and not node.has(point.from_version) and not node.has(point.to_version)
    ]
    return [
        Problem(
            check="rollback-version",
            found=f"{node.name} has {node.installed_version} installed, while the restore point leads from "
            f"{point.to_version} to {point.from_version}",
            why="The restore point isn't of the upgrade that this node took part in",
            fix=f"On {node.name}: systemctl mask --now rstudio-pm, install {point.to_version} or "
            f"{point.from_version}, and {AGAIN}",
        )
        for node in strange
    ]


def _finished(observed: Observations, asked: str) -> Problem:
    """Return the problem of a finished upgrade that is not, or not rightly, named to be given up."""
    point = observed.restore_point
    age = duration(observed.now - seconds_of(point.created))
    typed = f", and rspm_rollback_to is {asked}" if asked else ""
    if not is_finished(observed):
        return Problem(
            check="rollback-to",
            found=f"the restore point is of {point.created}, {age} old{typed}",
            why="It is not the restore point that was named",
            fix=f"Type {PLAYBOOK}.rollback -e rspm_rollback_to={point.created}, to go back to that one",
        )
    return Problem(
        check="rollback-to",
        found=f"{_names(observed.nodes)} have come to {point.to_version}, in an upgrade that is finished, and the "
        f"restore point is of {point.created}, {age} old{typed}",
        why=f"Going back to {point.from_version} loses everything that was published, downloaded and changed in these "
        f"{age}",
        fix=f"If that is meant: {PLAYBOOK}.rollback -e rspm_rollback_to={point.created}. It first saves what is there "
        "now, until the next upgrade, and says where",
    )


def _refuse_unhealthy(observed: Observations, target: str) -> list[Problem]:
    """Return the problem of a cluster that is to be upgraded, and of which no node that runs is healthy."""
    running = [node for node in observed.nodes if node.process]
    to_do = any(not node.has(target) or node.runs_other_than(target) for node in observed.nodes)
    if continues_run(observed, target) or not to_do or not running or any(node.healthy for node in running):
        return []
    return [
        Problem(
            check="cluster-health",
            found="no node is healthy: at the address for health checks "
            + ", ".join(f"{node.name} answers {node.answer}" for node in running),
            why="Nothing would show whether an upgrade succeeded, or whether going back would help",
            fix="See why, on a node: journalctl -u rstudio-pm -n 50 (402 is the licence; where that is meant, set "
            f"rspm_allow_unlicensed), repair it, and {AGAIN}; if the newer version is the repair, first, on each node: "
            "systemctl stop rstudio-pm",
        )
    ]


def _refuse_unknown(observed: Observations, options: Options) -> list[Problem]:
    """Return what keeps the cluster from being known, or from being this run's to change."""
    problems = refuse_nodes(
        observed.nodes,
        "A node that can't be reached may run the other version against the same database",
        f"take it out of rspm_nodes and repair the others with {PLAYBOOK}.site",
    ) + refuse_balancer(
        observed.nodes, "A node that it can't drain would be stopped under its users, and might never come back to them"
    )
    if not observed.nodes:
        problems.append(
            Problem(
                check="nodes",
                found="the group rspm_nodes is empty on this controller",
                why="There is nothing to change",
                fix="Name the nodes in the group rspm_nodes of the inventory",
            )
        )
    if options.first and options.first not in {node.name for node in observed.nodes}:
        problems.append(
            Problem(
                check="first-node",
                found=f"{options.first} is to go first, but is none of {_names(observed.nodes)}",
                why="Only a node of the cluster can go first",
                fix="Set rspm_upgrade_first to one of rspm_nodes, or leave it out",
            )
        )
    why = "Two runs at once would stop, start and upgrade nodes against each other"
    return (
        problems
        + _database_problems(observed)
        + refuse_lock(observed.lock, (node.name for node in observed.nodes), why)
    )


def _database_problems(observed: Observations) -> list[Problem]:
    database = observed.database
    if not database.reachable:
        why = "Without it no node can be proved stopped, and none can start"
        return [database_unreachable("the database", database.name, database.says, why)]
    why = "It may be a node that was forgotten, and would run its version against the new schema"
    return refuse_sessions(database.name, database.shared_addresses, database.foreign_sessions, why)


def _differing_sources(nodes: Iterable[NodeObservation]) -> list[Problem]:
    sources: dict[str, list[str]] = {}
    for node in nodes:
        if node.package_source:
            sources.setdefault(node.package_source, []).append(node.name)
    if len(sources) < 2:
        return []
    return [
        Problem(
            check="package-source",
            found="the nodes get their package from different sources: "
            + "; ".join(f"{source} on {', '.join(names)}" for source, names in sorted(sources.items())),
            why="Files of one version number from two sources need not be the same build",
            fix="Set rspm_package_source once, in group_vars/all.yml, and remove it from host_vars",
        )
    ]


def _downgrade(observed: Observations, target: str) -> list[Problem]:
    problems = []
    for node in observed.nodes:
        for verb, version in (("has", node.installed_version), ("runs", node.running_version)):
            if is_newer(version, target):
                problems.append(
                    Problem(
                        check="downgrade",
                        found=f"{node.name} {verb} {version}, newer than {target}",
                        why="An older version can't use the schema of a newer one",
                        fix=f"Ask for {version} or newer, or go back to the restore point: {PLAYBOOK}.rollback",
                    )
                )
                break
    return problems


def unfinished(observed: Observations, target: str) -> list[Problem]:
    """Return the problem of other work that must be finished before nodes may come to target; none = there is none."""
    point = observed.restore_point
    old, new = point.from_version, point.to_version
    if point.state is RestoreState.RESTORING or (
        point.state is RestoreState.RESTORED and _is_between(observed.nodes, old, new)
    ):
        return [
            Problem(
                check="unfinished-rollback",
                found=f"a rollback from {new} to {old} is unfinished; installed is {_by_version(observed.nodes)}",
                why="The databases are, or are about to be, those of the restore point, and not of the nodes' version",
                fix=f"Finish it: {PLAYBOOK}.rollback",
            )
        ]
    waiting = [node for node in observed.nodes if node.waits and not node.has(old)]
    if point.state is RestoreState.COMPLETE and waiting and not same(new, target):
        return [
            Problem(
                check="unfinished-upgrade",
                found=f"an upgrade from {old} to {new} has stopped nodes, and installed {new} on "
                f"{_names(waiting)}, where it has moved nothing",
                why="The nodes that are stopped don't serve; the databases are still those of " + old,
                fix=f"Finish it: {_upgrade(new)}; or give it up, and lose nothing: {PLAYBOOK}.rollback",
            )
        ]
    known = all(node.package is not Package.INSTALLED or node.has(old) or node.has(new) for node in observed.nodes)
    if point.state is RestoreState.IN_USE and (
        not known if same(new, target) else not all(node.has(new) for node in observed.nodes)
    ):
        return [
            Problem(
                check="unfinished-upgrade",
                found=f"an upgrade from {old} to {new} is unfinished; installed is {_by_version(observed.nodes)}",
                why="The schema may be that of the newer version, so nothing else may start before it is finished",
                fix=f"Finish it with {_upgrade(new)}, or go back with {PLAYBOOK}.rollback; a node of neither version "
                f"first gets one of them by hand: systemctl mask --now rstudio-pm, then install {new}",
            )
        ]
    return []


def _is_between(nodes: Sequence[NodeObservation], old: str, new: str) -> bool:
    """Whether nodes are on their way from new to old: neither arrived nor, all new and running, given up."""
    on_the_way = any(node.has(new) or node.runs(new) or node.package is not Package.INSTALLED for node in nodes)
    given_up = all(node.has(new) for node in nodes) and any(node.runs(new) for node in nodes)
    return on_the_way and not given_up


def _refuse_versions(observed: Observations, target: str) -> list[Problem]:
    """Return the problems of a start that is of no run of ours: broken, missing or mixed packages."""
    if continues_run(observed, target) or _has_installed_ahead(observed, target):
        return []
    repair = {
        Package.BROKEN: "dpkg --configure -a (or dnf reinstall rstudio-pm)",
        Package.ABSENT: f"install it with {PLAYBOOK}.site",
    }
    problems = refuse_packages(
        observed.nodes,
        "Which version it would start isn't known, and no upgrade of ours left it so",
        lambda node: f"On {node.name}: {repair[node.package]}; then {AGAIN}",
    )
    if problems:
        return problems
    if any(not node.has(observed.nodes[0].installed_version) for node in observed.nodes):
        # judge_versions has refused a version that can't be read, so the newest is known
        newest = max((node.installed_version for node in observed.nodes), key=parse_version)
        older = [node for node in observed.nodes if not node.has(newest)]
        return [
            Problem(
                check="mixed-versions",
                found=f"the nodes have different versions, and no restore point of an upgrade to {target} says why: "
                + _by_version(observed.nodes),
                why="Whether the schema has moved isn't known, and there is no way back from here",
                fix=f"Bring {_names(older)} to {newest}: on each, systemctl mask --now rstudio-pm, install {newest}, "
                f"systemctl unmask rstudio-pm, systemctl start rstudio-pm; then {AGAIN}",
            )
        ]
    installed = observed.nodes[0].installed_version
    return [
        Problem(
            check="running-version",
            found=f"{node.name} runs {node.running_version}, but has {installed} installed",
            why="Its package was changed outside of this collection; at its next restart two versions would run",
            fix=f"On each of {_names(observed.nodes)}: systemctl stop rstudio-pm; then {AGAIN}",
        )
        for node in observed.nodes
        if node.runs_other_than(installed)
    ]


def _names(nodes: Iterable[NodeObservation]) -> str:
    return ", ".join(node.name for node in nodes)


def _by_version(nodes: Iterable[NodeObservation]) -> str:
    """Return what is installed where: "2025.12.0-14 on a, b; 2026.04.0 (broken) on c"."""
    where: dict[str, list[str]] = {}
    for node in nodes:
        label = node.installed_version or "nothing"
        if node.package is Package.BROKEN:
            label += " (broken)"
        where.setdefault(label, []).append(node.name)
    return "; ".join(f"{label} on {', '.join(names)}" for label, names in sorted(where.items()))
