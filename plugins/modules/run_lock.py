#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Take and release the cluster lock for a playbook of many plays
version_added: 1.0.0
description:
  - Takes the lock of M(rspm.ha.cluster_lock) for the playbook that runs, as soon as there is a place for it, or says
    that it still is this run's; and ends the run where a host of the play was lost. Then, and with O(state=free), it
    gives back what it holds.
  - It runs once for all hosts of the play, on the node that it is delegated to.
  - What a run holds that ends otherwise, the next run takes over, M(rspm.ha.cluster_lock).
options:
  state:
    description: Whether the lock is held, or given back.
    type: str
    choices: [held, free]
    default: held
  place:
    description:
      - Folder, uid and gid of the lock. On machines that have no shared storage yet it is a folder of the node's own,
        which the lock on the storage is added to once that is there.
    type: dict
    suboptions:
      path:
        description: The folder.
        type: str
        required: true
      uid:
        description: Numeric id of whom the folder belongs to.
        type: int
        required: true
      gid:
        description: Its group.
        type: int
        required: true
  before:
    description: The lock that was there when the node was looked at, empty for none.
    type: dict
    default: {}
  held:
    description: What this run holds already, RV(held) of an earlier task.
    type: list
    elements: dict
    default: []
  phase:
    description: What the run does next, which the lock says to others. Empty where nothing is to be said.
    type: str
    default: ""
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  action:
    description: It runs M(rspm.ha.cluster_lock) on the node.
    support: full
  check_mode:
    description: Tells whether the lock would be had, and writes nothing.
  diff_mode:
    description: The lock is no change to any host.
    support: none
  idempotent:
    description: It never reports a change, since all is given back.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check that every host is still there, and the lock
  rspm.ha.run_lock:
    place: {path: /mnt/rstudio-pm/.rspm-ha/lock, uid: 940, gid: 940}
    held: "{{ mine.held | default([]) }}"
    phase: restart
  delegate_to: node1
  run_once: true
  register: mine
"""

RETURN = r"""
node:
  description: The node that the task was delegated to.
  returned: success
  type: str
  sample: node1
held:
  description: What this run holds now.
  returned: success
  type: list
  elements: dict
  sample: [{"path": "/mnt/rstudio-pm/.rspm-ha/lock", "uid": 940, "gid": 940, "run_id": "3f0c2a9d7e51"}]
"""
