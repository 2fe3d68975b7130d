#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: migration_record
short_description: Read or write how far a migration to one node has come
version_added: 1.0.0
description:
  - Reads and writes what is written down of a migration, in one step that outlives a power cut. It lies on the shared
    storage, outside of the data directory, and from the switch on also on each node
    (C(/var/lib/rspm-ha/migration.json)), where it is found when the shared storage is gone.
  - A state can only follow the one before it, so that what was switched is never given up. The switch itself is
    written by M(rspm.ha.node_migrate) alone.
options:
  path:
    description: Folder on the shared storage, which the service's account may write.
    type: path
    required: true
  storage_path:
    description: Mount point of the shared storage. Only looked up in the mount table.
    type: path
    required: true
  state:
    description:
      - V(observed) only tells what is there.
      - V(begun) writes the choices down. The old cluster is the home of the data.
      - V(finished) notes that nothing is left to do.
      - V(absent) removes what V(begun) wrote.
      - V(retired) writes O(record) on this host alone, which is out for good.
    type: str
    choices: [observed, begun, finished, absent, retired]
    default: observed
  run_id:
    description: Id of the run, RV(rspm.ha.cluster_lock#module:lock.run_id). For O(state=begun).
    type: str
    default: ""
  target:
    description: Inventory name of the node that stays. For O(state=begun).
    type: str
    default: ""
  load_balancer:
    description: Whether the load balancer is kept, or users come to the node. For O(state=begun).
    type: str
    choices: [keep, route]
    default: keep
  data:
    description: Whether the data is kept where it is, or moved. For O(state=begun).
    type: str
    choices: [keep, move]
    default: keep
  data_dir:
    description: The new data directory, where the data is moved. For O(state=begun).
    type: str
    default: ""
  database:
    description: Whether the databases are kept where they are, or moved. For O(state=begun).
    type: str
    choices: [keep, move]
    default: keep
  old_data_dir:
    description: The data directory of the cluster. For O(state=begun).
    type: str
    default: ""
  old_database:
    description: Host of the databases of the cluster. For O(state=begun).
    type: str
    default: ""
  inventory:
    description:
      - Folder on the controller that the inventory for afterwards is written to. For O(state=finished) and
        O(state=retired).
    type: str
    default: ""
  operator:
    description: Who runs this, and on which machine. For O(state=finished) and O(state=retired).
    type: str
    default: ""
  record:
    description: What the node that stays has, RV(record). For O(state=retired).
    type: dict
    default: {}
extends_documentation_fragment:
  - rspm.ha.attributes
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Read how far the migration has come
  rspm.ha.migration_record:
    path: /mnt/rstudio-pm/.rspm-ha/migration
    storage_path: /mnt/rstudio-pm

- name: Record that the migration is done
  rspm.ha.migration_record:
    path: /mnt/rstudio-pm/.rspm-ha/migration
    storage_path: /mnt/rstudio-pm
    state: finished
    inventory: /home/anna/single-node-inventory
    operator: anna@ops1
"""

RETURN = r"""
record:
  description: What is, or would be, written; empty where nothing is.
  returned: success
  type: dict
  sample:
    state: begun
    run_id: 4f0c0a3e7b21
    target: node1
    load_balancer: keep
    data: move
    data_dir: /var/lib/rstudio-pm/data
    database: move
    begun: "2026-11-24T05:50:01Z"
    switched: ""
    finished: ""
    old_data_dir: /mnt/rstudio-pm/data
    old_database: db1.example.org
    inventory: ""
    operator: ""
    here: ""
own:
  description: >-
    V(stays) or V(retired) by the record that this host itself has, empty where it has none.
  returned: with O(state=observed)
  type: str
  sample: retired
blocked_for:
  description: Why the collection keeps the server from starting here, empty where it does not.
  returned: with O(state=observed), and failure
  type: str
  sample: migrated
mounted:
  description: Whether something is mounted at O(storage_path).
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "migration-record", "found": "the migration is switched ...", "why": "...", "fix": "..."}]
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_left import load_own, read
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_record import RecordStore, is_mounted
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import OUT, Written, advance, retire
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import RecordState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import BLOCK_PATH, blocked_for


def put_out(store: RecordStore, given: dict[str, Any], write_it: bool) -> dict[str, Any]:
    """Write the record on this host alone."""
    # a check has switched nothing
    wanted = retire(Written(**given["record"]), given["inventory"], given["operator"]) if given["record"] else None
    now = store.read_own()
    if wanted is not None and wanted != now and write_it:
        store.write_own(wanted)
    return {
        "changed": wanted != now,
        "record": wanted.to_dict() if wanted else {},
        "diff": {
            "before": f"migration: {now.here or now.state if now else 'absent'}\n",
            "after": f"migration: {OUT}\n",
        },
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work and return the result."""
    given = module.params
    store = RecordStore(given["path"])
    if given["state"] == OUT:
        return put_out(store, given, not module.check_mode)
    mounted, now = is_mounted(given["storage_path"]), read(store)
    before = now.state if now else RecordState.ABSENT.value
    if given["state"] == "observed":
        return {"changed": False, "record": now.to_dict() if now else {}, "mounted": mounted, **load_own(store)}
    names = (
        *("run_id", "target", "load_balancer", "data", "data_dir", "database"),
        *("old_data_dir", "old_database", "inventory", "operator"),
    )
    new = Written(state="", begun="", **{name: given[name] for name in names})
    wanted = advance(now, RecordState(given["state"]), new, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    if wanted != now and not module.check_mode:
        if wanted is None:
            store.remove_shared()
        else:
            store.write(wanted)
    after = wanted.state if wanted else RecordState.ABSENT.value
    return {
        "changed": wanted != now,
        "record": wanted.to_dict() if wanted else {},
        "mounted": mounted,
        "diff": {"before": f"migration: {before}\n", "after": f"migration: {after}\n"},
    }


def main() -> None:
    """Run the module."""
    keep = {"type": "str", "choices": ["keep", "move"], "default": "keep"}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "storage_path": {"type": "path", "required": True},
            "state": {
                "type": "str",
                "choices": ["observed", "begun", "finished", "absent", "retired"],
                "default": "observed",
            },
            "run_id": {"type": "str", "default": ""},
            "target": {"type": "str", "default": ""},
            "load_balancer": {"type": "str", "choices": ["keep", "route"], "default": "keep"},
            "data": keep,
            "data_dir": {"type": "str", "default": ""},
            "database": keep,
            "old_data_dir": {"type": "str", "default": ""},
            "old_database": {"type": "str", "default": ""},
            "inventory": {"type": "str", "default": ""},
            "operator": {"type": "str", "default": ""},
            "record": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    with problems_told(module, lambda: {"blocked_for": blocked_for(read_text(BLOCK_PATH) or "")}):
        module.exit_json(**run(module))


if __name__ == "__main__":
    main()
