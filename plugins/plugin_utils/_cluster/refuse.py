# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reasons that keep an upgrade as well as a migration from going on; why they matter, each says for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import LEASE
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Balancer, LockObservation, Package
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.observe import ClusterNode

AGAIN = "run the same command again"


def refuse_nodes(nodes: Sequence[ClusterNode], why: str, gone: str) -> list[Problem]:
    """Return the problems of nodes of which nothing is known, and of those that an earlier run is still at work on.

    gone: what to do where one never comes back.
    """
    return [
        Problem(
            check="node-reachable",
            found=f"{node.name} is unreachable{': ' if node.says else ''}{node.says}",
            why=why,
            fix=f"Bring {node.name} back and {AGAIN}; if it is gone for good, {gone}",
        )
        for node in nodes
        if not node.reachable
    ] + [
        Problem(
            check="node-busy",
            found=f"{node.name} is still at work on a step of an earlier run",
            why="Two runs that change one node undo each other",
            fix=f"Wait for it to end on {node.name}, and {AGAIN}",
        )
        for node in nodes
        if node.busy
    ]


def refuse_balancer(nodes: Iterable[ClusterNode], why: str) -> list[Problem]:
    """Return the problems of nodes of which the load balancer tells nothing."""
    return [
        Problem(
            check="load-balancer",
            found=f"the load balancer doesn't say what it does with {node.name}",
            why=why,
            fix=f"Start the load balancer, see that it knows {node.name}, and {AGAIN}",
        )
        for node in nodes
        if node.reachable and node.balancer is Balancer.UNKNOWN
    ]


def refuse_packages(nodes: Iterable[ClusterNode], why: str, fix: Callable[[ClusterNode], str]) -> list[Problem]:
    """Return the problems of nodes whose package is not there, or is broken."""
    return [
        Problem(
            check="package-state",
            found=f"the package on {node.name} is {node.package.value}",
            why=why,
            fix=fix(node),
        )
        for node in nodes
        if node.reachable and node.package is not Package.INSTALLED
    ]


def database_unreachable(subject: str, database: str, says: str, why: str) -> Problem:
    """Return the problem of a database server that does not answer.

    subject: what is meant, "the databases". database: name of its host. says: why, "" where that isn't known.
    """
    return Problem(
        check="database-reachable",
        found=f"{subject} on {database} can't be reached{f' ({says})' if says else ''}",
        why=why,
        fix=f"Start PostgreSQL on {database} and {AGAIN}",
    )


def refuse_sessions(
    database: str, shared: Iterable[tuple[str, Iterable[str]]], foreign: Iterable[str], why: str
) -> list[Problem]:
    """Return the problems of sessions that keep a stopped node from being proved.

    database: name of its host. shared: addresses with the nodes that have each. foreign: addresses of what is no node.
    why: why the latter matter.
    """
    return [_shared_address(address, nodes, database) for address, nodes in shared] + [
        _foreign_session(address, database, why) for address in foreign
    ]


def _foreign_session(address: str, database: str, why: str) -> Problem:
    """Return the problem of a session of the nodes' role that is no node's.

    address: "" for the server's own socket. database: name of its host.
    """
    where = address or f"the machine of {database} itself"
    return Problem(
        check="foreign-session",
        found=f"{address or 'a program'} has a session as the nodes' role in the database on {database}"
        f"{'' if address else ', over the own socket of the server,'} and is no node of the inventory",
        why=why,
        fix=f"On {where}: systemctl mask --now rstudio-pm if a node runs there, or end whatever else uses the "
        f"service's database account; then {AGAIN}",
    )


def _shared_address(address: str, nodes: Iterable[str], database: str) -> Problem:
    """Return the problem of nodes that the database server can't tell apart. database: name of its host."""
    names = ", ".join(nodes)
    return Problem(
        check="shared-address",
        found=f"the database on {database} sees {names} with the same address, {address or 'its own socket'}",
        why="A stopped node is proved by its sessions, which are known by their address. Behind NAT, PgBouncer or a "
        "TCP proxy those of one node can't be told from those of another that still serves",
        fix=f"Let {names} reach the database directly, each with its own address, in rspm_database_host and "
        f"rspm_database_port; for this work at least. Then {AGAIN}",
    )


def refuse_lock(lock: LockObservation, nodes: Iterable[str], why: str) -> list[Problem]:
    """Return the problem of a lock that another run holds; none = it may be taken. nodes: names of the cluster's."""
    if lock.view is not LockView.HELD:
        return []
    return [
        Problem(
            check="cluster-lock",
            found=f"the cluster of {', '.join(nodes)} is {lock.says or 'locked by another run'}",
            why=why,
            fix="Wait for it to end. If its run is gone, the same command goes on with the work: at once on the "
            f"controller that held it, from any other {LEASE * 4 // 180} minutes after its last sign; or see "
            f"{PLAYBOOK}.unlock",
        )
    ]
