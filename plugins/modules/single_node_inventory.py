#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: single_node_inventory
short_description: Write the inventory of a cluster that has become one node
version_added: 1.0.0
description:
  - Writes an inventory into a folder on the controller, readable by the user alone. It runs there, once.
  - The files of variables that Ansible has read, beside each inventory, beside the playbook and with C(-e @file), are
    copied as they are, so that vaults stay vaults. A single value in a vault is written as it is.
  - What differs from the cluster's inventory, and what the command line set, is in a file of each host, read last.
  - No secret is written in clear. Those that no file holds are named in RV(missing) and in that file.
options:
  path:
    description: The folder, from where the command was typed.
    type: str
    required: true
  target:
    description: The node that stays.
    type: str
    required: true
  target_address:
    description: Its address, with O(database=move) that of the databases.
    type: str
    required: true
  address:
    description: The URL that users type, with O(load_balancer=route).
    type: str
    default: ""
  load_balancer:
    description: Whether users come by the load balancer or to the node itself.
    type: str
    choices: [keep, route]
    default: keep
  data:
    description: Whether the data is on the node.
    type: str
    choices: [keep, move]
    default: keep
  data_dir:
    description: Where, with O(data=move).
    type: str
    default: ""
  database:
    description: Whether the databases are on the node.
    type: str
    choices: [keep, move]
    default: keep
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  diff_mode:
    description: Shows the names of the files that are written.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Write the inventory for afterwards
  rspm.ha.single_node_inventory:
    path: single-node-inventory
    target: node1
    target_address: 10.0.0.1
    data: move
    data_dir: /var/lib/rstudio-pm/data
    database: move
"""

RETURN = r"""
path:
  description: The folder.
  returned: success
  type: str
  sample: /home/me/single-node-inventory
files:
  description: The files in it.
  returned: success
  type: list
  elements: str
  sample: [hosts.yml, group_vars/all/00_all.yml]
missing:
  description: Names of secrets that it does not hold.
  returned: success
  type: list
  elements: str
  sample: [rspm_database_password]
notes:
  description: What a person has to look at.
  returned: success
  type: list
  elements: str
  sample: []
"""
