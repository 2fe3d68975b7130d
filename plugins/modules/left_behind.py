#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: left_behind
short_description: Check that no earlier run has left this inventory behind
version_added: 1.0.0
description:
  - Takes what the tasks before it have registered for each node, from M(rspm.ha.migration_record) or
    M(rspm.ha.host_preflight), and fails where the inventory is that of a cluster which a migration to one node has left
    behind, or is about to. One node that can tell is enough.
  - Before a run that takes the lock by itself, C(preflight) and C(site), it also fails where another run holds it.
  - It runs on the controller, once for all hosts of the play, and asks no machine.
options:
  verb:
    description: The playbook that runs.
    type: str
    required: true
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stop if a migration has left this inventory behind
  rspm.ha.left_behind:
    verb: upgrade
  run_once: true
"""

RETURN = r"""
node:
  description: The node on which the lock is taken, one that has the shared storage if there is any.
  returned: always
  type: str
  sample: node1
left:
  description: What that node tells, RV(rspm.ha.host_preflight#module:left); empty where it was not asked.
  returned: always
  type: dict
  sample: {}
problems:
  description: What is in the way, each with check, found, why and fix.
  returned: always
  type: list
  elements: dict
  sample: []
"""
