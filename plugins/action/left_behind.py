# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stops a run whose inventory a migration to one node has left behind, or whose cluster another run has locked."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import Variables
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ControllerAction
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.left import Settings
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.read_left import left_behind
from ansible_collections.rspm.ha.plugins.plugin_utils._preflight.rules import problem_table, report


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return where the lock is; fails where something is in the way."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec({"verb": {"type": "str", "required": True}})
        known, verb = Variables(task_vars or {}, self._templar), given["verb"]
        looked = {node: known.of(node, "preflight_host", {}).get("left") or {} for node in known.nodes}
        found = {node: known.of(node, "left_found") or looked[node] for node in known.nodes}
        names = ("storage_path", "data_dir", "database")
        told = next((each for each in looked.values() if each), {})
        settings = (
            {name: told.get(name, "") for name in names}
            if told
            else {
                "storage_path": known.own("rspm_storage_path"),
                "data_dir": known.own("rspm_data_dir"),
                "database": known.own("rspm_database_host"),
            }
        )
        problems = left_behind(found, verb, Settings(**settings))
        node = next((each for each in known.nodes if looked[each].get("ready")), known.nodes[0])
        result.update(changed=False, node=node, left=looked[node], problems=[each.to_dict() for each in problems])
        if problems:
            by_node = dict.fromkeys(known.nodes, result["problems"])
            self._display.display("\n".join(["", *problem_table(by_node), ""]))
            result.update(failed=True, msg="\n".join(report(by_node)))
        return result
