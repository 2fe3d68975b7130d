# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans a migration to one node, or the way back, from what the tasks have registered for all hosts."""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import Variables
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ControllerAction, plan_result
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.plan import make_plan
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.read_run import read_found, read_written
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.report import outline


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan; fails where something is in its way."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "choices": {"type": "dict", "required": True},
                "abort": {"type": "bool", "default": False},
                "finished": {"type": "bool", "default": False},
            }
        )
        known = Variables(task_vars or {}, self._templar)
        found = read_found(known)
        plan = make_plan(found, given["choices"], given["abort"])
        what = ("the machines are not as they should be", "them")
        lines = outline(plan, given["choices"], {})
        result.update(plan_result(plan, found["lock"], given["finished"], lines, *what))
        return {**result, "written": read_written(known)}
