# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module, where it copies data in the background, and then shows how far that is.

It tells the module which of the configuration's values no output may show, as server_config does.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.options import secrets_given
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import LOCK_PATH
from ansible_collections.rspm.ha.plugins.plugin_utils._progress.read_follow import Copying, FollowingAction


class ActionModule(FollowingAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        configuration = self._task.args.get("configuration")
        if isinstance(configuration, Mapping):
            told = {**configuration, "secrets": secrets_given(configuration)}
            self._task.args = {**self._task.args, "configuration": told}
        data = self._task.args.get("data")
        destination = data.get("destination") if isinstance(data, Mapping) else None
        if self._task.check_mode or self._task.async_val or not isinstance(destination, str):
            result.update(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
        else:
            result.update(self.run_followed(Copying(destination, secrets.token_hex(6), LOCK_PATH), task_vars))
        return result
