# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module, and makes a problem of a host that can't be reached or looked at, as the others have theirs."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.rspm.ha.plugins.plugin_utils._preflight.rules import judge_failure, judge_unreachable


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result, or the one problem that kept it from running."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        method = str(self._connection.become.name) if self._connection.become else ""
        try:
            found = self._execute_module(task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            # A prompt that never came is no matter of the network.
            asked = method and "privilege escalation" in str(error)
            problem = judge_failure(str(error), method) if asked else judge_unreachable(str(error))
        except AnsibleError as error:
            problem = judge_failure(str(error), method)
        else:
            if "problems" in found or "module_stderr" not in found:
                result.update(found, looked=True)
                return result
            said = [str(found.get(key, "")) for key in ("module_stderr", "module_stdout", "msg")]
            problem = judge_failure(" ".join(said), method)
        result.update(changed=False, looked=False, problems=[problem.to_dict()])
        return result
