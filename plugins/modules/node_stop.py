#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_stop
short_description: Stop and block a node, and prove that it is stopped
version_added: 1.0.0
description:
  - Blocks the server first, so that neither a person nor a package's scripts nor a reboot can start it, then stops it,
    then proves that no process and no listening port of it is left.
  - With O(database) the proof includes the databases. Sessions of this node that are still there after that, and that
    no process of the node has open, were left by a power cut; they are ended.
  - A drop-in that outlives a reboot and names the playbook blocks it. M(rspm.ha.node_upgrade) unblocks it.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  purpose:
    description:
      - The playbook that stops the node, and that an operator is told to finish.
      - With V(migrated) it is stopped for good, since another node has taken over all there is.
    type: str
    choices: [upgrade, rollback, migrate_to_single_node, migrated]
    default: upgrade
  database:
    description:
      - The databases in which no session of this node may be left. Leave it out to look at the node only.
      - A node is known by the address that the database server sees it with, so the nodes must not share one.
      - A session is ended only if it certainly began on this node and its process is gone. That is where the server
        sees the module's own connection with the address and port that it has on the node. Behind NAT, PgBouncer or a
        TCP proxy none is ended, and one that is left is a failure that says so.
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.database.sessions
  - rspm.ha.node.stop
attributes:
  check_mode:
    description: Reports what would be done. Does not ask the database.
  diff_mode:
    description: Shows whether the node runs and is blocked before and after.
  idempotent:
    description: Does nothing where the node is stopped and blocked, but proves it again.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stop and block the node, and wait until it has no session in the databases
  rspm.ha.node_stop:
    database:
      host: "{{ rspm_database_host }}"
      databases:
        - "{{ rspm_database_name }}"
        - "{{ rspm_database_usage_name }}"
      user: "{{ rspm_database_user }}"
      password: "{{ rspm_database_password }}"
"""

RETURN = r"""
masked:
  description: Whether the node is, or would be, blocked, so that nothing can start the server.
  returned: success
  type: bool
  sample: true
stopped:
  description: Whether nothing is, or would be, left of the server.
  returned: success
  type: bool
  sample: true
before:
  description: What the module found, also in check mode.
  returned: success
  type: dict
  contains:
    running:
      description: Whether the server ran, or was about to.
      type: bool
      sample: false
    blocked:
      description: Whether the server was kept from starting.
      type: bool
      sample: true
sessions_ended:
  description: How many sessions of a dead process were ended in the databases.
  returned: success
  type: int
  sample: 0
timeline:
  description:
    - What was done, in that order, empty in check mode. Also tells how far a failure came.
    - C(step), which is C(block), C(stop), C(prove) or C(sessions), C(at) and C(seconds) as
      RV(rspm.ha.node_upgrade#module:timeline) has them.
  returned: always
  type: list
  elements: dict
  sample: [{"step": "stop", "at": "2026-11-24T05:50:01.123Z", "seconds": 1.204}]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "node-stopped", "found": "rstudio-pm still runs on node2 ...", "why": "...", "fix": "..."}]
"""

import socket
from contextlib import closing
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import open_watch
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import SESSION_OPTIONS
from ansible_collections.rspm.ha.plugins.module_utils._service.host_stop import load_remains, stop_and_prove
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import plan_stop, state_text


def run(module: AnsibleModule, timeline: Timeline) -> dict[str, Any]:
    """Do the work and return the result."""
    runner, purpose, ended = module_runner(module), module.params["purpose"], 0
    before = load_remains(runner)
    plan = plan_stop(before, purpose)
    if not module.check_mode:
        stop_and_prove(runner, timeline, socket.gethostname(), before, purpose, module.params["stop_timeout"])
        if module.params["database"]:
            with timeline.step("sessions"), closing(open_watch(module.params["database"])) as watch:
                ended = watch.prove_own_gone()
    return {
        "changed": plan.changes or ended > 0,
        "masked": True,
        "stopped": True,
        "before": {"running": before.alive, "blocked": before.unit.blocked},
        "sessions_ended": ended,
        "timeline": timeline.steps,
        "diff": {
            "before": state_text(plan.stop, before.unit.blocked),
            "after": state_text(False, True),
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "purpose": {
                "type": "str",
                "choices": ["upgrade", "rollback", "migrate_to_single_node", "migrated"],
                "default": "upgrade",
            },
            "stop_timeout": {"type": "int", "default": 120},
            "database": {"type": "dict", "options": SESSION_OPTIONS},
        },
        supports_check_mode=True,
    )
    if module.params["database"] and not module.check_mode:
        require_driver(module)
    timeline = Timeline()
    with problems_told(module, lambda: {"timeline": timeline.steps}), node_work("stop", module.check_mode):
        module.exit_json(**run(module, timeline))


if __name__ == "__main__":
    main()
