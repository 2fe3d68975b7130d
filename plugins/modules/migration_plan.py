#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_plan
short_description: Plan what remains of a migration from HA to one node, or of the way back
version_added: 1.0.0
description:
  - Takes what the tasks of the role C(migration) have registered for every host, and returns the phases that lead from
    there to one node alone or, before the switch, back to the cluster; or fails, and says why none of them may be
    taken. Nothing is remembered between runs, so that the same command goes on from wherever an earlier run was cut
    off.
  - It runs on the controller, once for all hosts of the play, and asks no machine.
options:
  choices:
    description: What the team chose; C(target), C(load_balancer), C(data), C(data_dir) and C(database).
    type: dict
    required: true
  abort:
    description: Whether the old cluster is to be started again.
    type: bool
    default: false
  finished:
    description: Whether all was done before, so that it is a failure if something is left to do.
    type: bool
    default: false
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Make the plan
  rspm.ha.migration_plan:
    choices: {target: node1, load_balancer: keep, data: move, data_dir: /var/lib/rstudio-pm, database: keep}
  run_once: true
  register: migration_planned
"""

RETURN = r"""
target:
  description: The node that stays.
  returned: always
  type: str
  sample: node1
version:
  description: The version that is installed on it.
  returned: always
  type: str
  sample: 2026.08.0
phases:
  description: What remains to be done, in order, with the steps by host; the empty name is for all hosts.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "lock", "steps": {"": "take_lock"}}]
record:
  description: How far the migration has come.
  returned: always
  type: str
  sample: absent
written:
  description: What is written down of it, empty for nothing; RV(rspm.ha.migration_record#module:record).
  returned: always
  type: dict
  sample: {}
copied:
  description: What a migration that is given up may have copied.
  returned: success
  type: dict
  sample: {"data_dir": "", "databases": false}
problems:
  description: What is in the way, as text.
  returned: always
  type: list
  elements: str
  sample: []
holder_gone:
  description: RV(rspm.ha.cluster_lock#module:holder_gone) of the lock when the plan was made.
  returned: always
  type: str
  sample: ""
began:
  description: UTC time at which the plan was made.
  returned: always
  type: str
  sample: "2026-11-24T05:50:01Z"
"""
