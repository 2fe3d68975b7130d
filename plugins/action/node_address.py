# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds to the module what is in the inventory: where Ansible connects to, and the names that are to be resolved."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.rspm.ha.plugins.plugin_utils._address.read import read_host
from ansible_collections.rspm.ha.plugins.plugin_utils._address.rules import names_to_resolve

_GROUPS = ("rspm_nodes", "rspm_database", "rspm_nfs_server", "rspm_load_balancer")


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        name = self._task.delegate_to or known["inventory_hostname"]
        names = {each for group in _GROUPS for each in known["groups"].get(group, [])} | {name}
        hosts = {each: read_host(each, known["hostvars"][each]) for each in sorted(names) if each in known["hostvars"]}
        given = {
            "connection": hosts[name].connection if name in hosts else name,
            "names": names_to_resolve([*hosts.values()]),
        }
        try:
            found = self._execute_module(module_args={**given, **self._task.args}, task_vars=task_vars)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            # as of a file that could not be transferred to a full disk, which failed_when would not be asked about
            found = {"failed": True, "msg": str(error)}
        result.update(found)
        return result
