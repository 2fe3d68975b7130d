# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans an upgrade, or the way back, from what the tasks have registered for all nodes."""

from __future__ import annotations

import uuid
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import Variables
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ControllerAction, plan_result
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Mode, Options
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.plan import DEFAULT_FORKS, make_plan
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.read import read_found, read_versions
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.report import outline


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan; fails where something is in its way."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "purpose": {"type": "str", "choices": ["upgrade", "rollback"], "required": True},
                "target": {"type": "str", "default": ""},
                "first": {"type": "str", "default": ""},
                "mode": {"type": "str", "choices": [each.value for each in Mode], "default": Mode.INSTALL_BEFORE.value},
                "rollback_to": {"type": "str", "default": ""},
                "phase": {"type": "str", "default": ""},
                "planned": {"type": "list", "elements": "dict", "default": []},
                "finished": {"type": "bool", "default": False},
            }
        )
        known, purpose = Variables(task_vars or {}, self._templar), given["purpose"]
        options = Options(Mode(given["mode"]), given["first"], given["rollback_to"])
        found = read_found(known, purpose)
        forks = int((task_vars or {}).get("ansible_forks", DEFAULT_FORKS))
        plan = make_plan(found, purpose, given["target"], options, given["phase"], given["planned"], forks)
        what = ("the cluster is not as it should be", "it")
        result.update(plan_result(plan, found["lock"], given["finished"], outline(plan), *what))
        return {**result, "versions": read_versions(known), "attempt": uuid.uuid4().hex}
