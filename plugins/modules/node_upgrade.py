#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_upgrade
short_description: Install the wanted version on a node, and start it
version_added: 1.0.0
description:
  - Blocks and stops the server, proves that it is stopped, installs the staged package, unblocks, enables, starts it,
    and waits until it is healthy and says the wanted version, all in one call. It waits for nothing outside the node
    but the database, so the outage is that of the same commands typed on the machine.
  - With O(first) the node is the one that moves the schema, so it proves also that no node at all has a session in the
    databases, before it stops itself and again afterwards.
  - Where the wanted version is installed already, it only starts it, or waits for it. A process of the wanted version
    is never stopped, since it may be moving the schema.
  - A node that was started here and does not get healthy is stopped and blocked again. With O(first) it is left alone
    while its process lives, for it may be moving the schema; systemd gives it as long as it needs, too.
  - With O(hand_over) two calls at once let two nodes change places, without the controller between them. The node that
    serves stops, proves it and says so on the shared storage; the one with O(first), which is stopped and blocked and
    has the wanted version installed, waits for that word on the spot, proves that no node has a session, and starts.
    That the other node is silent is never taken for its being stopped. Nothing is started then.
  - Where the wanted version does not start then, is blocked and stopped again, and has certainly written nothing to the
    databases, the restore point is taken back from being in use, and the node that served before starts again what it
    had. Both calls fail. What counts is what PostgreSQL itself counts (from 15 on, C(track_counts)) from the proof that
    no node has a session until all sessions are gone again, every row of every table, catalogs and what was rolled back
    included, and where the sequences stand. With an older server, another session in the databases, a role that may
    stop the counting, a restart in between, or whatever else leaves a doubt, both nodes stay stopped. The shared data
    and the configuration are not looked at.
  - Takes nothing out of the load balancer and does not hold the package; M(rspm.ha.server_package) does the latter.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  version:
    description: Product version in full that the node must have. An older one than the installed is as good.
    type: str
    required: true
  path:
    description: The staged package, RV(rspm.ha.package_stage#module:path). May be empty where the version is installed.
    type: path
    default: ""
  first:
    description: Whether this node moves the schema. Needs O(database).
    type: bool
    default: false
  start:
    description:
      - With V(false) the package is installed only, on a node that M(rspm.ha.node_stop) stopped and blocked, and stays
        so. Refused where the server runs or is not blocked.
    type: bool
    default: true
  unpack:
    description:
      - With O(start=false), have the package's files put in place, but not configured, where the package manager knows
        that difference. What would refuse the package is heard, and no script can have touched the databases for good
        where they are restored next. A call without it finishes the installation.
    type: bool
    default: false
  apart:
    description:
      - Have the package's scripts reach no network, no service of the host (systemd, D-Bus, a database's socket) and,
        for writing, no shared data, since another node serves. They find themselves in a container of the same files.
      - Refused where the kernel grants root no namespaces; in check mode also where the staged package needs others.
    type: bool
    default: false
  hand_over:
    description:
      - Change places with another node, whose call is made at the same time with the same values. Needs O(database).
    type: dict
    suboptions:
      path:
        description: File on the shared storage in which the two tell each other. It is made, and stays.
        type: path
        required: true
      attempt:
        description: A text that no attempt before had.
        type: str
        required: true
      taker:
        description: The node with O(first), by a name of its own.
        type: str
        required: true
      giver:
        description: The node that serves until then, likewise.
        type: str
        required: true
      uid:
        description: User id of the service's account, as which the file is used, since root may be squashed.
        type: int
        required: true
      gid:
        description: Group id of that account.
        type: int
        required: true
      restore_point:
        description: Folder of the restore point, as M(rspm.ha.restore_point) has it.
        type: path
        required: true
  purpose:
    description: The playbook that changes the node, and that an operator is told to finish.
    type: str
    choices: [upgrade, rollback, migrate_to_single_node]
    default: upgrade
  health_timeout:
    description: For how many seconds to wait for health, with the time that the schema needs.
  database:
    description:
      - The databases in which no session of this node, with O(first) of no node, may be left.
      - A node is known by the address that the database server sees it with, so the nodes must not share one.
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.database.sessions
  - rspm.ha.node.packages
  - rspm.ha.node.start
  - rspm.ha.node.stop
attributes:
  check_mode:
    description: Reports what would be done. Does not ask the database.
  diff_mode:
    description: Shows before and after which version is installed, and whether it runs and is blocked.
  idempotent:
    description: Does nothing where the wanted version runs and is healthy.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Upgrade the first node, which migrates the schema
  rspm.ha.node_upgrade:
    version: 2026.08.0
    path: /var/cache/rspm-ha/rstudio-pm_2026.08.0_amd64.deb
    first: true
    database:
      host: "{{ rspm_database_host }}"
      databases:
        - "{{ rspm_database_name }}"
        - "{{ rspm_database_usage_name }}"
      user: "{{ rspm_database_user }}"
      password: "{{ rspm_database_password }}"

- name: Install the newer version on a stopped node, while another one serves
  rspm.ha.node_upgrade:
    version: 2026.08.0
    path: /var/cache/rspm-ha/rstudio-pm_2026.08.0_amd64.deb
    start: false
    apart: true

- name: Install the previous version, still stopped and blocked
  rspm.ha.node_upgrade:
    version: 2026.04.0
    path: /var/cache/rspm-ha/rstudio-pm_2026.04.0_amd64.deb
    purpose: rollback
    start: false
"""

RETURN = r"""
actions:
  description: What was, or would be, done, in that order.
  returned: success
  type: list
  elements: str
  sample: [block, stop, prove, install, unblock, start, wait]
before_version:
  description: The version that was installed before, as the package manager writes it. Empty where that was nothing.
  returned: success
  type: str
  sample: 2026.04.0
version:
  description: The version that the server says it runs, empty in check mode, and where it says none.
  returned: success
  type: str
  sample: 2026.08.0
health_code:
  description: HTTP status of C(/__ping__), 0 where nothing answered.
  returned: success
  type: int
  sample: 200
timeline:
  description: What was done, in that order, empty in check mode. Also tells how far a failure came.
  returned: always
  type: list
  elements: dict
  contains:
    step:
      description:
        - C(others_gone), C(asked), C(block), C(stop), C(prove), C(handed_over), C(sessions), C(unpack), C(install),
          C(unblock), C(enable), C(start), C(healthy), C(reload), and where the start failed C(block_again),
          C(stop_again), with O(hand_over) C(writes), which looks for what was written, and C(given_back). C(asked),
          C(handed_over) and C(watched) are waits for the other node.
      type: str
      sample: install
    at:
      description: When it began, in UTC.
      type: str
      sample: "2026-11-24T05:50:01.123Z"
    seconds:
      description: How long it took.
      type: float
      sample: 4.204
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "node-health", "found": "rstudio-pm 2026.08.0 was started and ...", "why": "...", "fix": "..."}]
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._node.change_rules import UpgradeRequest
from ansible_collections.rspm.ha.plugins.module_utils._node.host_change import NodeUpgrade
from ansible_collections.rspm.ha.plugins.module_utils._node.host_hand_over import HandOver
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, load_host
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import SESSION_OPTIONS
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import state_text

_STOP_SLACK = 60.0


def run(module: AnsibleModule, timeline: Timeline) -> dict[str, Any]:
    """Do the work and return the result."""
    runner, given = module_runner(module), module.params
    request = UpgradeRequest(
        given["version"],
        given["path"],
        given["purpose"],
        given["first"],
        given["start"],
        given["allow_unlicensed"],
        given["unpack"],
        given["apart"],
    )
    tool = PackageTool(runner, load_host(), given["lock_timeout"])
    hand_over = None
    if given["hand_over"]:
        # a stop, and what is left of its sessions
        patience = given["stop_timeout"] + given["database"]["timeout"] + _STOP_SLACK
        to_its_end = patience + given["health_timeout"] + _STOP_SLACK
        hand_over = HandOver(**given["hand_over"], stop_timeout=patience, start_timeout=to_its_end)
    node = NodeUpgrade(
        runner,
        tool,
        socket.gethostname(),
        request,
        given["database"],
        given["stop_timeout"],
        given["health_timeout"],
        hand_over,
    )
    observed = node.observe(planning=module.check_mode)
    unit, package, api = observed.service.unit, observed.service.package, observed.service.api
    if not module.check_mode:
        api = node.carry_out(observed, timeline)
    running = bool(observed.remains.processes) or unit.running
    return {
        "changed": observed.plan.changes,
        "actions": observed.plan.actions(),
        "before_version": package.version,
        "version": "" if module.check_mode else api.version,
        "health_code": api.health_code,
        "timeline": timeline.steps,
        "diff": {
            "before": state_text(running, unit.blocked, package.version or "absent"),
            "after": state_text(
                request.start and not node.gives_way,
                node.gives_way or not request.start,
                package.version if node.gives_way else request.version,
            ),
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "path": {"type": "path", "default": ""},
            "first": {"type": "bool", "default": False},
            "start": {"type": "bool", "default": True},
            "unpack": {"type": "bool", "default": False},
            "apart": {"type": "bool", "default": False},
            "hand_over": {
                "type": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "attempt": {"type": "str", "required": True},
                    "taker": {"type": "str", "required": True},
                    "giver": {"type": "str", "required": True},
                    "uid": {"type": "int", "required": True},
                    "gid": {"type": "int", "required": True},
                    "restore_point": {"type": "path", "required": True},
                },
            },
            "purpose": {
                "type": "str",
                "choices": ["upgrade", "rollback", "migrate_to_single_node"],
                "default": "upgrade",
            },
            "allow_unlicensed": {"type": "bool", "default": False},
            "stop_timeout": {"type": "int", "default": 120},
            "health_timeout": {"type": "int", "default": 300},
            "lock_timeout": {"type": "int", "default": 300},
            "database": {"type": "dict", "options": SESSION_OPTIONS},
        },
        required_if=[("first", True, ["database"])],
        required_by={"hand_over": ["database"]},
        supports_check_mode=True,
    )
    if module.params["database"] and not module.check_mode:
        require_driver(module)
    timeline = Timeline()
    what = f"change to {module.params['version']}"
    with problems_told(module, lambda: {"timeline": timeline.steps}), node_work(what, module.check_mode):
        module.exit_json(**run(module, timeline))


if __name__ == "__main__":
    main()
