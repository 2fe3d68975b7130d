#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_status
short_description: Describe the state of a cluster
version_added: 1.0.0
description:
  - Takes what the tasks of the playbook C(status) have registered for every node, and returns one account of the
    cluster, with what is unfinished or wrong and what to type next.
  - It runs on the controller, once for all hosts of the play, and asks no machine.
options:
  alike:
    description:
      - Only compare version, configuration, encryption key and data directory of all nodes, and fail where they differ.
        The same goes for clocks that are further apart than C(rspm_clock_limit).
    type: bool
    default: false
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Describe the cluster
  rspm.ha.cluster_status:
  run_once: true
  register: status

- name: Show the status
  rspm.ha.report:
    lines: "{{ status.table }}"
    content: "{{ status.status }}"
    path: status.json
    ends: "{{ status.ends }}"
"""

RETURN = r"""
status:
  description: Whether it is healthy, the versions that run, the lock, the nodes, and the problems.
  returned: when O(alike=false)
  type: dict
  sample: {"healthy": true, "state": "healthy", "versions": ["2026.08.0"], "lock": "free", "problems": []}
table:
  description: The same for a person.
  returned: when O(alike=false)
  type: list
  elements: str
  sample: ["node   package    runs       held  unit    health", "node1  2026.08.0  2026.08.0  yes   active  200"]
ends:
  description: How a run ends that shows it, O(rspm.ha.report#module:ends).
  returned: when O(alike=false)
  type: str
  sample: ok
problems:
  description: What the nodes do not have in common, each with check, found, why and fix.
  returned: when O(alike=true)
  type: list
  elements: dict
  sample: []
"""
