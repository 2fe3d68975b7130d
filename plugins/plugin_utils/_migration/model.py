# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the way from HA to one node observes, what a team chooses, and the steps that it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Record
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import (
    LockObservation,
    Phase,
    Refusal,
    to_data,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.observe import ClusterNode

VERB = "migrate_to_single_node"
# What is typed to start the old cluster again.
ABORT = f"{PLAYBOOK}.{VERB} -e rspm_migration=abort"
"""Of the lock, and why nodes are blocked until they are retired or the migration is given up."""


class Action(Enum):
    """What a step does. Each is idempotent: done twice, it is done."""

    TAKE_LOCK = "take_lock"
    """Cluster: take the lock, or take it over from a run of the same work that is gone."""
    BEGIN = "begin"
    """Cluster: the target and the choices are written down, so that no other run makes other ones."""
    WARM_COPY = "warm_copy"
    """Target: the data is copied while the cluster serves, until little is left."""
    SERVE_DATABASES = "serve_databases"
    """Target: PostgreSQL with both databases, empty or as an earlier try left them, for this node alone."""
    LB_DRAIN = "lb_drain"
    """Node: the load balancer sends it nothing new, and what was running has ended or run out of time."""
    STOP_AND_BLOCK = "stop_and_block"
    """Node: blocked, stopped, and proved: no process, no listening port, no session in the databases."""
    MOVE = "move"
    """Target: blocked, stopped, and proved to be the last that worked on the old databases; the rest of the data and
    both databases, verified; still nobody works on the old ones: written down that there is only forward from here.
    Then, and where that was written before only this: its configuration names what it has now; unblock, enable, start,
    wait until healthy."""
    ROUTE = "route"
    """Load balancer: knows the target and no other node."""
    RETIRE = "retire"
    """Node: blocked for good, disabled, licence given back if wanted, shared storage neither mounted nor in fstab."""
    CLOSE_DATABASES = "close_databases"
    """Database host of ours: lets in the target and no other node."""
    RETIRE_DATABASES = "retire_databases"
    """Target: the databases that were moved are read-only for the role of the nodes."""
    CLOSE_STORAGE = "close_storage"
    """NFS server of ours: exports to the target alone."""
    PROTECT_DATA = "protect_data"
    """Target: the data directory that was moved takes nothing new."""
    WRITE_INVENTORY = "write_inventory"
    """Cluster: the inventory for afterwards is on the controller."""
    FINISH = "finish"
    """Target: written down, on the target too: nothing is left to do."""
    LEAVE_STORAGE = "leave_storage"
    """Target: the storage whose data was moved is neither mounted nor in fstab."""
    WITHDRAW = "withdraw"
    """NFS server of ours whose data was moved: exports it to nobody."""
    START_AGAIN = "start_again"
    """Node: unblock, enable, start with the configuration that it has, wait until healthy."""
    LB_READY = "lb_ready"
    """Node: the load balancer sends it requests again."""
    FORGET = "forget"
    """Cluster: what was written down is removed."""
    RELEASE_LOCK = "release_lock"
    """Cluster: the work is done."""


class PhaseName(Enum):
    """The phases in their order; each occurs at most once in a plan."""

    LOCK = "lock"
    BEGIN = "begin"
    WARM = "warm"
    SERVE = "serve"
    READY_TARGET = "ready_target"
    DRAIN = "drain"
    STOP_OTHERS = "stop_others"
    MOVE = "move"
    ROUTE = "route"
    RETIRE = "retire"
    CLOSE_DATABASES = "close_databases"
    CLOSE_STORAGE = "close_storage"
    INVENTORY = "inventory"
    FINISH = "finish"
    START_AGAIN = "start_again"
    READY = "ready"
    FORGET = "forget"
    UNLOCK = "unlock"
    WITHDRAW = "withdraw"
    LEAVE = "leave"


@dataclass(frozen=True)
class NodeObservation(ClusterNode):
    """One node, as it is now. mounted: whether the shared storage is."""

    mounted: bool = True


@dataclass(frozen=True)
class Observations:
    """Everything that a plan is made from; nodes in the order of the inventory.

    database_says: why the old databases can't be reached, "" where they can. foreign_sessions: addresses with a session
    of the service's account that are no node's. database_hosts, storage_hosts, balancer_hosts: hosts of ours; [] where
    the team has its own. storage_path, data_dir: the shared ones. provider: of the databases now.
    paths_below_storage: settings that name a path on the shared storage. mount_is_ours: whether we may take it away.
    """

    nodes: tuple[NodeObservation, ...]
    record: Record = field(default_factory=Record)
    lock: LockObservation = field(default_factory=LockObservation)
    database: str = "database"
    database_says: str = ""
    foreign_sessions: tuple[str, ...] = ()
    shared_addresses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    database_hosts: tuple[str, ...] = ()
    storage_hosts: tuple[str, ...] = ()
    balancer_hosts: tuple[str, ...] = ()
    storage_path: str = "/mnt/rstudio-pm"
    data_dir: str = "/mnt/rstudio-pm/data"
    provider: str = "postgres"
    paths_below_storage: tuple[str, ...] = ()
    mount_is_ours: bool = True


@dataclass(frozen=True)
class Plan:
    """The phases that remain, in order; none where nothing is to be done."""

    phases: tuple[Phase[PhaseName, Action], ...] = ()
    target: str = ""
    version: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the plan as plain data."""
        return {"target": self.target, "version": self.version, "phases": to_data(self.phases)}


Outcome = Union[Plan, Refusal]
