# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ssh_args
short_description: Return the arguments of ssh, with a keep-alive
version_added: 1.0.0
description:
  - Returns what C(ansible_ssh_args) is for a host, by inventory, environment or C(ansible.cfg), and a keep-alive after
    it. A machine that loses power or its network in the middle of a step is then known to be lost within half a
    minute, where ssh alone would wait for hours.
  - What comes first counts for ssh, so that a keep-alive of the team's own stays. C(ansible_ssh_common_args),
    C(ansible_ssh_extra_args), C(--ssh-common-args) and C(--ssh-extra-args) are left as they are.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Ask each node
  hosts: rspm_nodes
  vars:
    ansible_ssh_args: "{{ lookup('rspm.ha.ssh_args') }}"
  tasks:
    - name: Ask the node
      ansible.builtin.ping:
"""

RETURN = r"""
_list:
  description: The arguments.
  type: list
  elements: str
  sample: ["-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=10 -o ServerAliveCountMax=3"]
"""

from typing import Any

from ansible import constants
from ansible.plugins.loader import connection_loader
from ansible.plugins.lookup import LookupBase

KEEP_ALIVE = "-o ServerAliveInterval=10 -o ServerAliveCountMax=3"


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """The lookup, by its name."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the arguments."""
        given = variables or {}
        host = given.get("hostvars", {}).get(given.get("inventory_hostname", ""), {})
        own = host.get("ansible_ssh_args")
        if own is None:
            connection_loader.get("ssh", class_only=True)
            own = constants.config.get_config_value("ssh_args", plugin_type="connection", plugin_name="ssh")
        return [f"{own or ''} {KEEP_ALIVE}".strip()]
