# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes together what the tasks of a migration to one node have registered for every host."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import (
    Variables,
    done_of,
    failures_of,
    measurement,
    stopped_in,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.report import SWITCHING, UNKNOWN


def read_found(known: Variables) -> dict[str, Any]:
    """Return what was found on every host, as observe takes it."""
    home = known.own("migration_host")
    return {
        "nodes": {node: known.of(node, "migration_node", {}) for node in known.nodes},
        "records": {node: known.of(node, "migration_found", {}) for node in known.nodes},
        "sessions": {node: known.of(node, "migration_sessions", {}) for node in known.nodes},
        "balancers": [each.get("members", {}) for each in known.of(home, "migration_members", {}).get("results", [])],
        "balancer_command": known.own("migration_balancer_command"),
        "lock": known.of(home, "migration_lock", {}),
        "database": known.own("rspm_database_host"),
        "database_hosts": known.hosts("rspm_database"),
        "storage_hosts": known.hosts("rspm_nfs_server"),
        "balancer_hosts": known.hosts("rspm_load_balancer"),
        "storage_kind": known.own("rspm_storage_kind"),
        "storage_path": known.own("rspm_storage_path"),
        "data_dir": known.own("rspm_data_dir"),
        "config": known.own("rspm_config"),
        "allow_unlicensed": known.own("rspm_allow_unlicensed"),
    }


def read_written(known: Variables) -> dict[str, Any]:
    """Return what is written down of the migration, {} for nothing."""
    return known.of(known.own("migration_host"), "migration_found", {}).get("record") or {}


def read_amounts(known: Variables) -> dict[str, Any]:
    """Return how much there is to move, as the outline of a plan takes it."""
    home = known.own("migration_host")
    return {name: known.of(home, f"migration_{name}_found", {}) for name in ("data", "databases")}


def read_run(known: Variables, purpose: str, outcome: str) -> dict[str, Any]:
    """Return what the run did, as its report takes it."""
    home, plan, at = known.own("migration_host"), known.own("migration_planned"), stopped_in(known)
    # in the phase that writes it, only what the node has told since counts
    written = known.of(home, "migration_written", {}).get("record") or {}
    before = UNKNOWN if at == SWITCHING and plan["record"] in ("absent", "begun") else plan["record"]
    return {
        "purpose": purpose,
        "outcome": outcome,
        "plan": plan,
        "choices": known.own("migration_choices"),
        "record": written.get("state", before),
        "began": plan["began"],
        "done": done_of(known),
        "failures": failures_of(known),
        "at": at,
        "measured": measurement(known),
        "left": known.own("migration_left"),
        **{name: known.of(home, f"migration_{name}_copied", {}) for name in ("data", "databases")},
    }
