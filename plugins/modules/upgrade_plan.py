#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_plan
short_description: Plan what remains of an ordered upgrade, or of the way back
version_added: 1.0.0
description:
  - Takes what the tasks of the role C(upgrade) have registered for every node, and returns the phases that lead from
    there to one version everywhere; or fails, and says why none of them may be taken. Nothing is remembered between
    runs, so that the same command goes on from wherever an earlier run was cut off.
  - It runs on the controller, once for all hosts of the play, and asks no machine.
options:
  purpose:
    description: Which way.
    type: str
    choices: [upgrade, rollback]
    required: true
  target:
    description: Version that an upgrade leads to. A rollback leads to that of the restore point.
    type: str
    default: ""
  first:
    description: The node that goes first; by default one that serves.
    type: str
    default: ""
  mode:
    description: When that node stops.
    type: str
    choices: [install_before_outage, first_serves_until_its_turn, stop_all_first]
    default: install_before_outage
  rollback_to:
    description: When the restore point was made that a finished upgrade may be given up for.
    type: str
    default: ""
  phase:
    description: The phase that is about to begin, where a run looks once more.
    type: str
    default: ""
  planned:
    description: RV(phases) of the plan that the run goes by. From O(phase) on, what is to be done must be the same.
    type: list
    elements: dict
    default: []
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
  rspm.ha.upgrade_plan:
    purpose: upgrade
    target: 2026.08.0
  run_once: true
  register: upgrade_planned
"""

RETURN = r"""
first:
  description: The node that goes first, empty where nothing is to be done.
  returned: always
  type: str
  sample: node1
serves:
  description: The node that is stopped in the step of RV(first) only, perhaps that one; empty where all stop before.
  returned: always
  type: str
  sample: node1
from_version:
  description: The version before.
  returned: always
  type: str
  sample: 2026.04.0
to_version:
  description: The version afterwards.
  returned: always
  type: str
  sample: 2026.08.0
gives_up:
  description: A sentence on the writes that going back gives up.
  returned: always
  type: str
  sample: ""
phases:
  description: What remains to be done, in order, with the steps by host; the empty name is for all hosts.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "lock", "steps": {"": "take_lock"}}]
problems:
  description: What is in the way, as text.
  returned: always
  type: list
  elements: str
  sample: []
versions:
  description: The version that each node has installed, and that which it runs.
  returned: always
  type: dict
  sample: {"node1": {"installed": "2026.04.0", "runs": "2026.04.0"}}
attempt:
  description: A text that no plan before had, by which nodes that change places know each other's words.
  returned: always
  type: str
  sample: 5b3f6f0e8c1d4c6d9a51f3f0a4c2b7de
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
