# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes together what the tasks of an upgrade, or of the way back, have registered for every host."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import (
    Variables,
    done_of,
    failures_of,
    measurement,
    stopped_in,
    timeline_of,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.report import versions


def read_found(known: Variables, purpose: str) -> dict[str, Any]:
    """Return what was found on every host, as observe takes it. A rollback asks the inventory for no version."""
    asked = known.nodes if purpose == "upgrade" else []
    members = known.of(known.nodes[0], "upgrade_members", {}) if known.nodes else {}
    return {
        "nodes": {node: known.of(node, "upgrade_node", {}) for node in known.nodes},
        "sessions": {node: known.of(node, "upgrade_sessions", {}) for node in known.nodes},
        "asked_versions": {node: known.of(node, "rspm_version", known.own("rspm_version")) for node in asked},
        "package_sources": {
            node: known.of(node, "rspm_package_source", known.own("rspm_package_source")) for node in asked
        },
        "staged": {node: known.of(node, "upgrade_file", "") for node in known.nodes},
        "balancers": [each.get("members", {}) for each in members.get("results", [])],
        "balancer_command": known.own("upgrade_balancer_command"),
        "database": known.own("rspm_database_host"),
        "allow_unlicensed": known.own("rspm_allow_unlicensed"),
        "lock": known.own("upgrade_lock", {}),
        "restore_point": known.own("upgrade_point", {}),
        "saved": known.own("upgrade_present", {}),
        "space": known.own("upgrade_space", {}),
        "now": time.time(),
    }


def read_versions(known: Variables) -> dict[str, dict[str, str]]:
    """Return which version was on each node when it was asked last."""
    return {node: versions(known.of(node, "upgrade_node", {}).get("node", {})) for node in known.nodes}


def read_run(known: Variables, purpose: str, outcome: str) -> dict[str, Any]:
    """Return what the run did, as its report takes it."""
    plan = known.own("upgrade_planned")
    return {
        "purpose": purpose,
        "outcome": outcome,
        "plan": plan,
        "began": plan["began"],
        "before": plan["versions"],
        "after": read_versions(known),
        "done": done_of(known),
        "failures": failures_of(known),
        "at": stopped_in(known),
        "steps": {node: timeline_of(known, node, "upgrade") for node in known.nodes},
        "measured": measurement(known),
        "point": known.own("upgrade_point", {}),
        "saved": known.own("upgrade_saved_folder"),
    }
