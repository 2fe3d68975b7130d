# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the way to one node, or back from it, must not begin or go on: every reason, with its host and what to type."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.version import parse_version
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import RETIRED, Options, RecordState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import BLOCKED_FOR_INSTALL
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Package
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.refuse import (
    database_unreachable,
    refuse_balancer,
    refuse_lock,
    refuse_nodes,
    refuse_packages,
    refuse_sessions,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import ABORT, VERB, Observations


def command(options: Options) -> str:
    """Return what is typed for these choices."""
    words = [
        f"{PLAYBOOK}.{VERB} -e rspm_migration_target={options.target}",
        f"-e rspm_migration_data={'move' if options.move_data else 'keep'}",
        f"-e rspm_migration_database={'move' if options.move_databases else 'keep'}",
        f"-e rspm_migration_load_balancer={'route' if options.route else 'keep'}",
    ]
    if options.move_data:
        words.append(f"-e rspm_migration_data_dir={options.data_dir}")
    return " ".join(words)


def refuse_migration(observed: Observations, options: Options) -> list[Problem]:
    """Return every reason why the migration must not begin or go on now; none = it may."""
    problems = _refuse_choices(observed, options) + _refuse_record(observed, options)
    if observed.record.state is RecordState.FINISHED:
        # what the machines are now is the new inventory's business
        return problems or _loose_nodes(observed) or _lock_problems(observed)
    problems += _refuse_nodes(observed) + _lock_problems(observed)
    if observed.record.state is not RecordState.SWITCHED:
        problems += _refuse_versions(observed) + _refuse_services(observed)
    return problems


def refuse_abort(observed: Observations) -> list[Problem]:
    """Return every reason why the old cluster must not be started again; none = it may."""
    if observed.record.state in (RecordState.SWITCHED, RecordState.FINISHED):
        target = observed.record.options.target if observed.record.options else "the node"
        forward = (
            f"Go on: {command(observed.record.options)}" if observed.record.options else f"Go on: {PLAYBOOK}.{VERB}"
        )
        return [
            Problem(
                check="migration-switched",
                found=f"the migration to {target} has been switched to its own data and databases",
                why="The node may have served and stored packages there since, which the old cluster would not have",
                fix=forward
                if observed.record.state is RecordState.SWITCHED
                else f"Nothing is left to give up; {_afterwards(observed)}",
            )
        ]
    return _refuse_nodes(observed) + _lock_problems(observed)


def _refuse_choices(observed: Observations, options: Options) -> list[Problem]:
    names = [node.name for node in observed.nodes]
    problems = []
    if not options.target or options.target not in names:
        problems.append(
            Problem(
                check="migration-target",
                found=f"rspm_migration_target is {options.target or 'not set'}; the nodes are {', '.join(names)}",
                why="One of the nodes stays, with all that it has installed",
                fix=f"Give one of them: -e rspm_migration_target={names[0] if names else '<node>'}",
            )
        )
    if options.provider == "sqlite" or observed.provider == "sqlite":
        problems.append(
            Problem(
                check="migration-sqlite",
                found="the databases are to become SQLite",
                why="The vendor's guide does not support a migration from PostgreSQL to SQLite: nothing converts the "
                "data in a way that could be verified. A single node runs on PostgreSQL as well",
                fix="Keep PostgreSQL where it is (-e rspm_migration_database=keep), or have it moved to the node "
                "(-e rspm_migration_database=move)",
            )
        )
    if not options.move_data:
        return problems
    path = options.data_dir
    if not path.startswith("/") or posixpath.normpath(path) != path or posixpath.dirname(path) in ("/", ""):
        problems.append(
            Problem(
                check="migration-data-dir",
                found=f"rspm_migration_data_dir is {path!r}",
                why="It has to be one absolute path without a slash at its end, in a folder of its own: lock and "
                "restore points lie beside the data",
                fix="Give a folder such as /var/lib/rstudio-pm/data",
            )
        )
    elif _below(path, observed.storage_path) or _below(observed.storage_path, path):
        problems.append(
            Problem(
                check="migration-data-dir",
                found=f"rspm_migration_data_dir is {path}, and the shared storage is {observed.storage_path}",
                why="The data is to leave the shared storage, and would lie on it again",
                fix="Give a folder on a local disk, such as /var/lib/rstudio-pm/data",
            )
        )
    problems += [
        Problem(
            check="migration-config",
            found=f"{setting} in rspm_config names a path on the shared storage",
            why="Only the data directory is moved; the node would still need the shared storage for this",
            fix="Move it to the data directory or to a local path first, with rspm.ha.site, or keep the data where "
            "it is: -e rspm_migration_data=keep",
        )
        for setting in observed.paths_below_storage
    ]
    return problems


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _refuse_record(observed: Observations, options: Options) -> list[Problem]:
    """Return the problem of a migration that has begun with other choices."""
    was = observed.record.options
    if was is None or _choices(was) == _choices(options):
        return []
    begun, finished = observed.record.state is RecordState.BEGUN, observed.record.state is RecordState.FINISHED
    go_on = f"Go on with it: {command(was)}" + (f"; or give it up: {ABORT}" if begun else "")
    return [
        Problem(
            check="migration-choices",
            found="a migration with other choices "
            + ("has begun" if begun else "is done" if finished else "is under way"),
            why="What one has copied and switched is not what the other needs",
            fix=f"Nothing is left to do; {_afterwards(observed)}" if finished else go_on,
        )
    ]


def _afterwards(observed: Observations) -> str:
    where = observed.record.inventory or "single-node-inventory, where its command was typed"
    return f"use the inventory that the migration wrote: {where}"


def _loose_nodes(observed: Observations) -> list[Problem]:
    """Return the problem of nodes that are out for good by what is written down, and yet may run."""
    target = observed.record.options.target if observed.record.options else ""
    loose = [node.name for node in observed.nodes if node.reachable and node.name != target and not node.stays_stopped]
    if not loose:
        return []
    return [
        Problem(
            check="migration-finished",
            found=f"the migration to {target} is finished, and yet {_names(loose)} can run",
            why="Somebody has unblocked what was retired; or the machines are a new cluster, and what is written down "
            "is of an older one",
            fix=f"On {_names(loose)}: systemctl mask --now rstudio-pm. If it is a new cluster: remove "
            f"/var/lib/rspm-ha/migration.json on {target} and {observed.storage_path}/.rspm-ha/migration",
        )
    ]


def _choices(options: Options) -> tuple[object, ...]:
    where = options.data_dir if options.move_data else ""
    return options.target, options.move_data, options.move_databases, options.route, where


def _refuse_nodes(observed: Observations) -> list[Problem]:
    """Return what keeps a node from being known or from being this run's to change."""
    return refuse_nodes(
        observed.nodes,
        "A node that can't be reached may run, and write to the old data after it was copied",
        "take it out of the inventory",
    ) + [
        Problem(
            check="node-blocked",
            found=f"{node.name} is blocked for: {node.blocked_for}",
            why="Another piece of work is unfinished there",
            fix=f"Finish it first: {PLAYBOOK}.{node.blocked_for}",
        )
        for node in observed.nodes
        if node.blocked_for not in ("", VERB, RETIRED, BLOCKED_FOR_INSTALL)
    ]


def _lock_problems(observed: Observations) -> list[Problem]:
    why = "Two runs at once would stop and start nodes against each other"
    return refuse_lock(observed.lock, (node.name for node in observed.nodes), why)


def _refuse_versions(observed: Observations) -> list[Problem]:
    known = [node for node in observed.nodes if node.reachable]
    problems = refuse_packages(
        known,
        "The old cluster has to stay complete, so that it can be started again",
        lambda _node: f"Repair it with {PLAYBOOK}.site or {PLAYBOOK}.upgrade first",
    )
    versions = {node.installed_version for node in known if node.package is Package.INSTALLED}
    if len(versions) > 1:
        shown = "; ".join(f"{node.name} has {node.installed_version}" for node in known)
        problems.append(
            Problem(
                check="mixed-versions",
                found=f"the nodes have different versions: {shown}",
                why="An upgrade is unfinished, and the schema may be of another version than the node that stays",
                fix=f"Finish it first: {PLAYBOOK}.upgrade -e rspm_version={max(versions, key=parse_version)}",
            )
        )
    return problems


def _refuse_services(observed: Observations) -> list[Problem]:
    """Return what is wrong with the databases and the load balancer while the old cluster is the home."""
    problems = refuse_balancer(observed.nodes, "It is to send the node's users elsewhere before the node stops")
    if observed.database_says:
        why = "Without them no node can be proved stopped"
        problems.append(database_unreachable("the databases", observed.database, observed.database_says, why))
    why = "It may be a node that was forgotten, and would go on writing to what was copied"
    return problems + refuse_sessions(observed.database, observed.shared_addresses, observed.foreign_sessions, why)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
