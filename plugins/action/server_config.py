# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module, and tells it which of the configuration's values no output may show."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.rspm.ha.plugins.module_utils._config.options import secrets_given


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    _requires_connection = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._task.args = {**self._task.args, "secrets": secrets_given(self._task.args)}
        result.update(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
        return result
