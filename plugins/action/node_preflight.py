# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module, and makes a problem of a node that can't be reached or looked at, as host_preflight does.

It adds the versions that the inventory asks for on all nodes.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.rspm.ha.plugins.action import host_preflight
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import Variables


class ActionModule(host_preflight.ActionModule):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result, or the one problem that kept it from running."""
        if not self._task.args.get("versions"):
            known = Variables(task_vars or {}, self._templar)
            asked = {node: known.of(node, "rspm_version", known.own("rspm_version")) for node in known.nodes}
            self._task.args = {**self._task.args, "versions": asked}
        return super().run(tmp, task_vars)
