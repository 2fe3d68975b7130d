# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Describes a cluster from what the tasks have registered for all nodes."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.compare import judge_clocks, judge_cluster
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.failure import failure_reason
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import Variables
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ControllerAction
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.left import Settings
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.read_left import left_behind
from ansible_collections.rspm.ha.plugins.plugin_utils._status.rules import summarise, table

_ENDS = {"healthy": "ok", "wrong": "failed", "unknown": "unreachable"}


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the status; fails only where the nodes are to be alike and are not."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec({"alike": {"type": "bool", "default": False}})
        known = Variables(task_vars or {}, self._templar)
        looks = {node: known.of(node, "status_node", {}) for node in known.nodes}
        nodes = {node: look.get("node", {}) for node, look in looks.items()}
        result["changed"] = False
        if given["alike"]:
            # a play without a role of ours does not have the defaults
            limit = known.own("rspm_clock_limit", self.defaults()["rspm_clock_limit"])
            problems = judge_cluster(nodes) + judge_clocks(nodes, float(limit))
            result["problems"] = [problem.to_dict() for problem in problems]
            if problems:
                result.update(failed=True, msg="\n".join(map(str, problems)))
            return result
        status = _status(known, nodes, {node: failure_reason(look) for node, look in looks.items()})
        result.update(status=status, table=table(status), ends=_ENDS[status["state"]])
        return result


def _status(known: Variables, nodes: dict[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    """Return what a cluster is now. reasons: why a node could not be asked."""
    locks = [known.of(node, "status_lock", {}) for node in nodes]
    points = [known.of(node, "status_point", {}) for node in nodes]
    settings = Settings(known.own("rspm_storage_path"), known.own("rspm_data_dir"), known.own("rspm_database_host"))
    left = left_behind({node: known.of(node, "status_left", {}) for node in nodes}, "status", settings)
    return summarise(
        nodes,
        next((each["says"] for each in locks if each.get("says")), ""),
        next((each for each in points if "state" in each), {}),
        next((each["lock"] for each in locks if each.get("lock")), {}),
        reasons,
        left,
    )
