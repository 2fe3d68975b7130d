# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: addresses
short_description: Return the addresses at which the hosts of the cluster reach each other
version_added: 1.0.0
description:
  - Takes names of hosts and returns the addresses at which the other machines of the cluster reach them, which need not
    be those that Ansible connects to.
  - A host's C(rspm_node_address) comes first. Else it is what the host told M(rspm.ha.node_address) of itself, and
    where that was not asked C(ansible_host) or the name.
options:
  _terms:
    description: Names of hosts in the inventory.
    type: list
    elements: str
    required: true
  towards:
    description:
      - V(database) and V(storage) return where a node comes from as these see it, V(node) where it is met as a node.
      - V(server) returns where a host is met as database or file server.
    type: str
    choices: [server, node, database, storage]
    default: server
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show who may log in to the database
  ansible.builtin.debug:
    msg: "{{ query('rspm.ha.addresses', *groups['rspm_nodes'], towards='database') }}"
"""

RETURN = r"""
_raw:
  description:
    - Addresses in the order of the hosts; names where nothing better is known. With V(server) and V(node) one for each
      host, with the others as many as a host uses, and each once.
  type: list
  elements: str
  sample: ["192.0.2.11", "192.0.2.12"]
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ansible_collections.rspm.ha.plugins.plugin_utils._address.read import read_fact, read_host
from ansible_collections.rspm.ha.plugins.plugin_utils._address.rules import node_addresses, server_address


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """The lookup of this file's name."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the addresses of the hosts that are named."""
        self.set_options(var_options=variables, direct=kwargs)
        towards = self.get_option("towards")
        known = variables or {}
        resolved = read_fact(known).get("resolved", {})
        found: list[str] = []
        for name in terms:
            if name not in known["hostvars"]:
                raise AnsibleError(f"There is no host {name} in the inventory.")
            host = read_host(name, known["hostvars"][name])
            if towards == "server":
                found.append(server_address(host))
            else:
                found += node_addresses(host, "" if towards == "node" else towards, resolved)
        return found if towards in ("server", "node") else list(dict.fromkeys(found))
