#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: at which addresses a host is met by the other machines of the cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_address
short_description: Find the addresses at which the other machines of the cluster reach a host
version_added: 1.0.0
description:
  - Ansible may connect to a host over a management network, or through a translation of addresses, that the machines
    of the cluster do not use among themselves. This asks the host itself which address its connections come from.
  - Nothing is sent to anybody but to the resolver of names; the routes of the kernel are asked.
  - The answer is a fact, from which P(rspm.ha.addresses#lookup) and by it all roles take the addresses of the cluster.
author:
  - rspm.ha authors (@rspm-ha)
options:
  towards:
    description: Names or addresses of V(database) and V(storage), as this host uses them. Empty ones are left out.
    type: dict
    default: {}
    suboptions:
      database:
        description: The PostgreSQL server.
        type: str
        default: ""
      storage:
        description: The NFS server.
        type: str
        default: ""
  connection:
    description: What Ansible connects to; taken from the inventory.
    type: str
    default: ""
  names:
    description: Names that are to be resolved on this host; those that the inventory has as C(rspm_node_address).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - rspm.ha.attributes.looks
"""

EXAMPLES = r"""
- name: Ask each node which address it uses towards its servers
  rspm.ha.node_address:
    towards:
      database: "{{ rspm_database_host }}"
      storage: "{{ rspm_nfs_server }}"
"""

RETURN = r"""
ansible_facts:
  description: What the host told, as a fact.
  returned: success
  type: dict
  contains:
    cluster_addresses:
      description: Addresses of this host, and of names as it knows them.
      type: dict
      contains:
        own:
          description: Which addresses of O(connection) the host has itself, without its loopback's.
          type: list
          elements: str
          sample: ["192.0.2.11"]
        primary:
          description: Its address towards the rest of the world, empty where it has no way there.
          type: str
          sample: 192.0.2.11
        sources:
          description: Its addresses towards each of O(towards) that it can resolve and has a way to.
          type: dict
          sample: {"database": ["198.51.100.11"]}
        resolved:
          description: The addresses of O(names), as far as they are known here.
          type: dict
          sample: {"pm-a.example.org": ["198.51.100.11"]}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._address.host import (
    is_own,
    primary_address,
    resolve,
    source_of,
)


def tell(connection: str, towards: dict[str, str], names: list[str]) -> dict[str, Any]:
    """Return what this host knows of its addresses."""
    sources: dict[str, list[str]] = {}
    for kind, target in towards.items():
        used = [source for source in map(source_of, resolve(target) if target else []) if source]
        if used:
            sources[kind] = list(dict.fromkeys(used))
    resolved = {name: resolve(name) for name in names}
    return {
        "own": [address for address in (resolve(connection) if connection else []) if is_own(address)],
        "primary": primary_address(),
        "sources": sources,
        "resolved": {name: found for name, found in resolved.items() if found},
    }


def main() -> None:
    """Run the module."""
    kinds = {kind: {"type": "str", "default": ""} for kind in ("database", "storage")}
    module = AnsibleModule(
        argument_spec={
            "towards": {"type": "dict", "default": {}, "options": kinds},
            "connection": {"type": "str", "default": ""},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    told = tell(given["connection"], given["towards"], given["names"])
    module.exit_json(changed=False, ansible_facts={"cluster_addresses": told})


if __name__ == "__main__":
    main()
