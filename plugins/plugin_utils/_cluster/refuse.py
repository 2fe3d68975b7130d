# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reasons that keep an upgrade as well as a migration from going on; why they matter, each says for itself."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import LEASE
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockView
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import LockObservation

AGAIN = "run the same command again"


def node_unknown(name: str, says: str, why: str, gone: str) -> Problem:
    """Return the problem of a node of which nothing is known.

    says: what Ansible said of it, "" where it said nothing. gone: what to do where it never comes back.
    """
    return Problem(
        check="node-reachable",
        found=f"{name} is unreachable{': ' if says else ''}{says}",
        why=why,
        fix=f"Bring {name} back and {AGAIN}; if it is gone for good, {gone}",
    )


def node_busy(name: str) -> Problem:
    """Return the problem of a node that an earlier run is still at work on."""
    return Problem(
        check="node-busy",
        found=f"{name} is still at work on a step of an earlier run",
        why="Two runs that change one node undo each other",
        fix=f"Wait for it to end on {name}, and {AGAIN}",
    )


def balancer_unknown(name: str, why: str) -> Problem:
    """Return the problem of a node of which the load balancer tells nothing."""
    return Problem(
        check="load-balancer",
        found=f"the load balancer doesn't say what it does with {name}",
        why=why,
        fix=f"Start the load balancer, see that it knows {name}, and {AGAIN}",
    )


def foreign_session(address: str, database: str, why: str) -> Problem:
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


def shared_address(address: str, nodes: Iterable[str], database: str) -> Problem:
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
