#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_migrate
short_description: Bring data and databases to the node that stays alone, and start it on them
version_added: 1.0.0
description:
  - Does in one call what no node may serve during - blocks and stops the node, which was the last one to serve, proves
    that no node works on the old databases any more, copies the rest of the data and both databases, verifies all of
    it, writes down that there is only forward from here, configures the node for what it has then, starts it, and waits
    until it is healthy. It waits for nothing outside the node but the database and the file server, so the outage is
    that of the same commands typed on the machine.
  - All other nodes have to be stopped and blocked, as M(rspm.ha.node_stop) does it, and what was begun has to be
    written down by M(rspm.ha.migration_record). Data that was copied by M(rspm.ha.tree_copy) while the cluster served
    is not copied again. The databases are copied as by M(rspm.ha.database_copy), where it has more than one processor
    at the same time as the data. Neither is cut for a failure of the other, and all that failed is told.
  - While it copies, it looks twice a second for sessions of other machines in the old databases, since a node may be
    started and stopped again. Right before the switch is written, the node, these sessions and the cluster's lock are
    looked at once more. Somebody who has started a node, given the migration up or broken the lock meanwhile keeps it
    from being written. Until then nothing of the old cluster was changed, and starting it is the way back.
  - Where it fails or is killed, it is called again. Before the switch it does everything once more, which is little
    where the copies are equal; after it only what comes then, and it never touches what the node has written since.
  - A node that was started here and does not get healthy is stopped and blocked again.
  - The configuration is judged before anything stops. Refuses where a step of an earlier run, whose controller may be
    gone, is still at work on the node.
  - While data is copied, shows how far that is, as M(rspm.ha.tree_copy) does. Without a playbook that follows it, the
    copying ends after half a minute, and nothing is switched.
options:
  version:
    description: Product version in full that the node has.
    type: str
    required: true
  record_path:
    description: Folder on the shared storage with the record of the migration, as M(rspm.ha.migration_record) has it.
    type: path
    required: true
  lock:
    description: The cluster's lock as this run holds it, which has to be so still when the switch is written.
    type: dict
    required: true
    suboptions:
      path:
        description: Folder of the lock on the shared storage.
        type: path
        required: true
      uid:
        description: Numeric id of the service user.
        type: int
        required: true
      gid:
        description: Numeric id of the service group.
        type: int
        required: true
      run_id:
        description: Id of the work, RV(rspm.ha.cluster_lock#module:lock.run_id).
        type: str
        required: true
      holder:
        description: Process on the controller, RV(rspm.ha.cluster_lock#module:lock.holder).
        type: str
        required: true
  source:
    description: The databases of the cluster, with the role that the nodes use.
    required: true
  target:
    description: The databases of this node that they are copied to. Left out where they stay where they are.
  data:
    description: The data that is copied to this node. Left out where it stays where it is.
    type: dict
    suboptions:
      source:
        description: The data directory of the cluster.
        type: path
        required: true
      destination:
        description: The folder that becomes the node's own data directory.
        type: path
        required: true
  work_path:
    description: Folder for the dump of the databases on this host, as for M(rspm.ha.database_copy).
    type: path
    default: /var/tmp
  follower:
    description: Id of whoever asks for the progress. Set by the action plugin of the same name.
    type: str
    default: ""
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.configuration.nested
  - rspm.ha.database.copy
  - rspm.ha.node.start
  - rspm.ha.node.stop
attributes:
  check_mode:
    description:
      - Reports what would be done, and judges the configuration. How much there is to copy is told by
        M(rspm.ha.tree_copy) and M(rspm.ha.database_copy). Does not ask the database.
  diff_mode:
    description: Shows whether the node runs and is blocked, and what changes in its configuration, without secrets.
  idempotent:
    description: Does nothing where the switch is written and the node is healthy with this configuration.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Move data and databases to this node, and start it on them
  rspm.ha.node_migrate:
    version: 2026.08.0
    record_path: /mnt/rstudio-pm/.rspm-ha/migration
    lock:
      path: /mnt/rstudio-pm/.rspm-ha/lock
      uid: 940
      gid: 940
      run_id: "{{ lock.lock.run_id }}"
      holder: "{{ lock.lock.holder }}"
    source:
      host: db1.example.com
      name: rstudio_pm
      usage_name: rstudio_pm_usage
      user: rstudio_pm
      password: "{{ rspm_database_password }}"
    target:
      host: node1.example.com
      name: rstudio_pm
      usage_name: rstudio_pm_usage
      user: rstudio_pm
      password: "{{ rspm_database_password }}"
    data:
      source: /mnt/rstudio-pm/data
      destination: /var/lib/rstudio-pm/data
    configuration:
      data_dir: /var/lib/rstudio-pm/data
      address: https://packages.example.com
      database:
        host: node1.example.com
        password: "{{ rspm_database_password }}"
  no_log: true
"""

RETURN = r"""
actions:
  description: What was, or would be, done, in that order.
  returned: success
  type: list
  elements: str
  sample: [stop, copy_data, copy_databases, switch, configure, unblock, start, wait]
record:
  description:
    - What is written down of the migration at the end, empty for nothing. It tells of a failure whether it was before
      the switch. RV(rspm.ha.migration_record#module:record).
  returned: always
  type: dict
  sample: {"state": "switched", "target": "node1", "switched": "2026-11-24T05:50:01Z"}
data:
  description: What was copied of the data, as M(rspm.ha.tree_copy) returns it; empty where nothing was.
  returned: always
  type: dict
  sample: {"files": 100000, "bytes": 3400000000, "copied_files": 12, "copied_bytes": 81000, "verified": 101218}
databases:
  description: What was copied of the databases, as M(rspm.ha.database_copy) returns it; empty where nothing was.
  returned: always
  type: dict
  sample: {"tables": 41, "rows": 1834022, "bytes": 734003200, "verified_tables": 41}
configuration:
  description: What was, or would be, written; C(files) and C(changes) as M(rspm.ha.server_config) returns them.
  returned: success
  type: dict
  sample: {"files": ["/etc/rstudio-pm/rstudio-pm.gcfg"], "changes": ["-DataDir = /mnt/rstudio-pm/data"]}
notes:
  description: What a person should know of the copy of the data, such as a file whose content was wrong.
  returned: always
  type: list
  elements: str
  sample: ["cran/digest_0.6.37.tar.gz in /var/lib/rstudio-pm/data has another content; it was copied again"]
version:
  description: The version that the server says it runs, empty in check mode, and where it says none.
  returned: success
  type: str
  sample: 2026.08.0
health_code:
  description: HTTP status of C(/__ping__), 0 in check mode.
  returned: success
  type: int
  sample: 200
timeline:
  description:
    - What was done, in the order in which it began, empty in check mode. Also tells how far a failure came.
    - C(step), C(at) and C(seconds) as RV(rspm.ha.node_upgrade#module:timeline) has them. A step is C(others_gone),
      C(block), C(stop), C(prove), C(sessions), C(still_stopped), C(switch), C(configure), C(unblock), C(enable),
      C(start), C(healthy), C(reload), and where the start failed C(block_again) and C(stop_again).
    - Or it is C(data) or C(databases) with a step of M(rspm.ha.tree_copy) or M(rspm.ha.database_copy), which may
      overlap.
  returned: always
  type: list
  elements: dict
  sample: [{"step": "databases restore main", "at": "2026-11-24T05:50:01.123Z", "seconds": 4.204}]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "node-stopped", "found": "rstudio-pm on node1 is not blocked ...", "why": "...", "fix": "..."}]
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._config.options import CONFIG_OPTIONS, settings_of
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_move import Move, Wanted
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import REQUIRED_DATABASE_OPTIONS, Database
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import state_text

REQUIRED_PATH = {"type": "path", "required": True}
LOCK_OPTIONS = {
    "path": REQUIRED_PATH,
    "uid": {"type": "int", "required": True},
    "gid": {"type": "int", "required": True},
    "run_id": {"type": "str", "required": True},
    "holder": {"type": "str", "required": True},
}
DATA_OPTIONS = {"source": REQUIRED_PATH, "destination": REQUIRED_PATH}
SHOWN = ("files", "changes")


def wanted_of(given: dict[str, Any]) -> Wanted:
    """Return what the options say."""
    return Wanted(
        version=given["version"],
        record_path=given["record_path"],
        lock=given["lock"],
        source=Database(**given["source"]),
        target=Database(**given["target"]) if given["target"] else None,
        data=given["data"],
        settings=settings_of(given["configuration"]),
        allow_unlicensed=given["allow_unlicensed"],
        stop_timeout=given["stop_timeout"],
        health_timeout=given["health_timeout"],
        work_path=given["work_path"],
        follower=given["follower"],
    )


def come_to(move: Move) -> dict[str, Any]:
    """Return how far it came, also where it failed."""
    return {
        "record": move.record.to_dict() if move.record else {},
        "data": {name: value for name, value in move.data.items() if name not in ("changed", "diff")},
        "databases": {name: value for name, value in move.databases.items() if name not in ("changed", "diff")},
        "notes": move.notes,
        "timeline": move.timeline.steps,
    }


def run(move: Move, check_mode: bool) -> dict[str, Any]:
    """Do the work and return the result."""
    plan, remains = move.observe(planning=check_mode)
    api = None
    if check_mode:
        move.predict(plan)
    else:
        api = move.carry_out(plan, remains)
    actions = plan.actions(bool(move.configured.get("files")), move.start)
    node = {
        "before": state_text(remains.alive, remains.unit.blocked),
        "after": state_text(True, False),
    }
    return {
        "changed": any(action != "wait" for action in actions),
        "actions": actions,
        "configuration": {name: move.configured.get(name, []) for name in SHOWN},
        "version": api.version if api else "",
        "health_code": api.health_code if api else 0,
        "diff": [node, *move.configured.get("diff", [])],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "record_path": REQUIRED_PATH,
            "lock": {"type": "dict", "required": True, "options": LOCK_OPTIONS},
            "source": {"type": "dict", "required": True, "options": REQUIRED_DATABASE_OPTIONS},
            "target": {"type": "dict", "options": REQUIRED_DATABASE_OPTIONS},
            "data": {"type": "dict", "options": DATA_OPTIONS},
            "configuration": {"type": "dict", "required": True, "options": CONFIG_OPTIONS},
            "work_path": {"type": "path", "default": "/var/tmp"},
            "allow_unlicensed": {"type": "bool", "default": False},
            "stop_timeout": {"type": "int", "default": 120},
            "health_timeout": {"type": "int", "default": 300},
            "follower": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
        # the log of the host would otherwise get what the configuration holds
        no_log=True,
    )
    wanted = wanted_of(module.params)
    if not module.check_mode:
        require_driver(module)
    move = Move(module_runner(module), socket.gethostname(), wanted)
    with problems_told(module, lambda: come_to(move)), node_work("migration", module.check_mode):
        module.exit_json(**run(move, module.check_mode), **come_to(move))


if __name__ == "__main__":
    main()
