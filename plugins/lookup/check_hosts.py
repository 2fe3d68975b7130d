# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: check_hosts
short_description: Return the hosts of the play that checks what was typed
version_added: 1.0.0
description:
  - Returns the pattern of hosts for a play whose only task is M(rspm.ha.variables_check), so that it runs with any
    C(--limit).
  - Fails where an option of the command line would leave out tasks, that one among them, such as C(--start-at-task).
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check what was typed
  hosts: "{{ lookup('rspm.ha.check_hosts') }}"
  tasks:
    - name: Check the variables
      rspm.ha.variables_check:
        verb: upgrade
"""

RETURN = r"""
_list:
  description: V(localhost), or with C(--limit) V(all), which Ansible then narrows down.
  type: list
  elements: str
  sample: [localhost]
"""

from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.rspm.ha.plugins.plugin_utils._variables.check import option_faults, table


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """The lookup, by its name."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the pattern."""
        found = list(option_faults(context.CLIARGS))
        if found:
            raise AnsibleError(table(found, []))
        return ["all" if context.CLIARGS.get("subset") else "localhost"]
