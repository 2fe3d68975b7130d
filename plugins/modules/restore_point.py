#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: restore_point
short_description: Make, check and use the restore point of an upgrade, on the shared storage
version_added: 1.0.0
description:
  - Saves both databases, the configuration, the encryption key and the old package, with the version that they belong
    to, and restores them. Runs on one node, as root; the files are written as the service's account.
  - How far it has come is written beside it in one step, so that it outlives this run, and so that a later one knows
    whether the schema may have moved. An older restore point goes when the new one is complete and verified.
  - Needs C(pg_dump), C(pg_restore) and C(psql) on the node, of the database server's major version, else newer ones.
  - A restore drops what the role of the nodes owns in the databases (with a schema, in that schema), also what the
    newer version added, and puts back what was saved, each database in one transaction of one session, which is
    committed when all of it is there and every table has the number of rows that was saved. Whatever dies in the
    middle, the database holds either all that it held before or all that was saved. It wants no node's session before
    and after. A restore that an earlier run left alone is ended first. Where something of another role would go with
    what is dropped, nothing is done.
  - A new restore point is proved before it counts. What the role does not own, and so could not make anew, is refused
    by name, with the line for the administrator. Then each dump is restored the same way in a transaction that is
    undone, and compared with the database at the moment of the dump, which may be written to meanwhile - objects with
    their definitions, owners and rights, and the number of rows.
  - Before an upgrade, tables in a publication without a replica identity are refused too, since nobody can change their
    rows.
  - That rehearsal happens in the live database, since a role should not need C(CREATEDB) or another entry in
    C(pg_hba.conf) for it. The live schemas are set aside within that transaction, which nobody else sees and for which
    no table is locked, so that the service goes on. The server needs room for the databases once more until it ends.
  - Where a schema can't be set aside, as it is not the role's or an extension lives in it, the definitions alone are
    restored, in the place of the live ones, and the dump is read to its end. For that moment all tables are locked;
    they are taken at once or not at all, without waiting, and for no longer than 30 seconds.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  path:
    description: Folder of the restore point on the shared storage, which the service's account may write.
    type: path
    required: true
  state:
    description:
      - V(observed) only tells what is there; with O(database) also which space a dump needs.
      - V(absent) removes what was saved, unless a restore of it has begun and is not finished.
      - V(created) saves. One that this run has made and taken into use is left alone, whatever was done since. Refused
        where the one that is there belongs to another upgrade, or to a restore, that is not finished.
      - V(in_use) notes that from here on the schema may move.
      - V(restored) puts back databases and the shared key.
      - V(known) keeps O(sha256) of O(package) on this node, where only root may write. Whatever is on the shared
        storage may be the service's account's.
      - V(staged) puts the saved package into this node's staging folder. One that is there already stays, unless
        V(known) was told another sum; one from the shared storage has to have the sum that V(known) was told.
      - V(configured) puts back this node's configuration, and the key where each node has its own copy. For stopped
        nodes.
    type: str
    choices: [observed, absent, created, known, in_use, restored, staged, configured]
    default: observed
  run_id:
    description: Id of the run that makes it, RV(rspm.ha.cluster_lock#module:lock.run_id). For O(state=created).
    type: str
  from_version:
    description: Version that the cluster has. For O(state=created).
    type: str
  to_version:
    description: Version that it gets. For O(state=created).
    type: str
  package:
    description: File name of the saved package. For O(state=known).
    type: str
  sha256:
    description: Its SHA-256, RV(package_sha256) of the node that saved it. For O(state=known).
    type: str
  database:
    description:
      - The databases, with the role that the nodes use. For O(state=created) and O(state=restored), and where
        O(state=observed) is to ask for the space.
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.database
attributes:
  check_mode:
    description: Reports what would be done. Connects to no database.
  diff_mode:
    description: Shows the state, and for O(state=configured) the files, before and after. Never a content.
  idempotent:
    description: Does nothing where the restore point has the state already, but for V(created), which saves anew.
    support: partial
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Read the restore point
  rspm.ha.restore_point:
    path: "{{ rspm_storage_path }}/.rspm-ha/restore-point"
  register: rspm_restore_point

- name: Save databases, configuration, key and package
  rspm.ha.restore_point:
    path: "{{ rspm_storage_path }}/.rspm-ha/restore-point"
    state: created
    run_id: "{{ rspm_lock.lock.run_id }}"
    from_version: 2026.04.0
    to_version: 2026.08.0
    database:
      host: "{{ rspm_database_host }}"
      name: "{{ rspm_database_name }}"
      usage_name: "{{ rspm_database_usage_name }}"
      user: "{{ rspm_database_user }}"
      password: "{{ rspm_database_password }}"

- name: Record that the schema may move
  rspm.ha.restore_point:
    path: "{{ rspm_storage_path }}/.rspm-ha/restore-point"
    state: in_use
"""

RETURN = r"""
state:
  description:
    - C(absent), C(incomplete) (being made, or cut off then), C(complete), C(in_use), C(restoring) or C(restored). In
      check mode the one that it would be.
  returned: success
  type: str
  sample: complete
before_state:
  description: The state before.
  returned: success
  type: str
  sample: absent
run_id:
  description: Id of the run that made it.
  returned: success
  type: str
  sample: 4f1c2a9be07d
from_version:
  description: Version that it leads back to.
  returned: success
  type: str
  sample: 2026.04.0
to_version:
  description: Version of the upgrade that it was made for.
  returned: success
  type: str
  sample: 2026.08.0
created:
  description: When it was made, in UTC.
  returned: success
  type: str
  sample: "2026-11-24T05:50:01Z"
folder:
  description: Folder with its files; empty where there is none.
  returned: success
  type: str
  sample: /mnt/rstudio-pm/.rspm-ha/restore-point/4f1c2a9be07d-20261124T055001000000
space:
  description: What the storage has, and what a dump of the databases needs at most with the package, in bytes.
  returned: with O(state=observed) and O(database)
  type: dict
  sample: {"path": "/mnt/rstudio-pm/.rspm-ha", "free": 5368709120, "dump": 367001600, "says": ""}
restored:
  description: When a restore of it began last, in UTC; empty for never.
  returned: success
  type: str
  sample: ""
files:
  description: SHA-256 of each file that it holds.
  returned: success
  type: dict
  sample: {"main.dump": "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"}
package:
  description:
    - With O(state=staged) the path of the package in the staging folder, else its file name. Empty where the node that
      made the restore point had none staged.
  returned: success
  type: str
  sample: rstudio-pm_2026.04.0_amd64.deb
package_sha256:
  description:
    - With O(state=created) the SHA-256 of the package as root on this node knows it, not as the shared storage says it.
    - Else empty.
  returned: success
  type: str
  sample: b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9
configured:
  description: Files that O(state=configured) has, or would have, put back on this node.
  returned: success
  type: list
  elements: str
  sample: [/etc/rstudio-pm/rstudio-pm.gcfg]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "restore-point-tools", "found": "there is no pg_dump, ...", "why": "...", "fix": "..."}]
"""

from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import REQUIRED_DATABASE_OPTIONS, Database
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host import Store
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host_space import load_space
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import (
    Metadata,
    RestoreState,
    judge_move,
    must_create,
)


def move(module: AnsibleModule, store: Store, now: Metadata) -> Metadata:
    """Bring the restore point to the wanted state and return what it is then; in check mode what it would be."""
    wanted, given = module.params["state"], module.params
    if wanted == "created":
        versions = (given["run_id"], given["from_version"], given["to_version"])
        if not must_create(now, *versions):
            return now
        if module.check_mode:
            store.require_tools()
            return Metadata(RestoreState.COMPLETE, *versions, created="", folder="")
        return store.create(now, *versions)
    state = RestoreState(wanted)
    problems = judge_move(now.state, state)
    # in check mode it was not made before
    if problems and not (module.check_mode and state is RestoreState.IN_USE):
        raise DomainError(*problems)
    if module.check_mode or now.state is state:
        return replace(now, state=state)
    return store.restore(now) if state is RestoreState.RESTORED else store.mark(now, state)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work and return the result."""
    wanted, given = module.params["state"], module.params["database"]
    store = Store(module_runner(module), module.params["path"], Database(**given) if given else None)
    now = store.read()
    after, package, changed, configured = now, now.package, False, []
    space: dict[str, Any] = {}
    if wanted in ("staged", "configured"):
        problems = judge_move(now.state, RestoreState.RESTORED)
        raise_any(problems)
    if wanted == "staged":
        package, changed = store.stage(now, check_mode=module.check_mode)
    elif wanted == "configured":
        configured = store.configure(now, check_mode=module.check_mode)
    elif wanted == "known":
        changed = store.keep_sum(
            module.params["package"], module.params["sha256"].lower(), check_mode=module.check_mode
        )
    elif wanted == "absent":
        after = store.remove(now, check_mode=module.check_mode)
    elif wanted == "observed" and store.database:
        space = asdict(load_space(store.runner, store.path, store.database))
    elif wanted != "observed":
        after = move(module, store, now)
        package = after.package
    return {
        "changed": changed or bool(configured) or after != now,
        "state": after.state.value,
        "before_state": now.state.value,
        "run_id": after.run_id,
        "from_version": after.from_version,
        "to_version": after.to_version,
        "created": after.created,
        "restored": after.restored,
        "folder": f"{store.path}/{after.folder}" if after.folder else "",
        **({"space": space} if space else {}),
        "files": dict(after.files),
        "package": package,
        "package_sha256": store.package_sum(package) if wanted == "created" else "",
        "configured": configured,
        "diff": {
            "before": f"restore point {now.state.value}\n",
            "after": f"restore point {after.state.value}\n" + "".join(f"{path} put back\n" for path in configured),
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {
                "type": "str",
                "choices": ["observed", "absent", "created", "known", "in_use", "restored", "staged", "configured"],
                "default": "observed",
            },
            "run_id": {"type": "str"},
            "from_version": {"type": "str"},
            "to_version": {"type": "str"},
            "package": {"type": "str"},
            "sha256": {"type": "str"},
            "database": {"type": "dict", "options": REQUIRED_DATABASE_OPTIONS},
        },
        required_if=[
            ("state", "created", ["run_id", "from_version", "to_version", "database"]),
            ("state", "restored", ["database"]),
            ("state", "known", ["package", "sha256"]),
        ],
        supports_check_mode=True,
    )
    state = module.params["state"]
    changing = state != "observed" and not module.check_mode
    if module.params["database"]:
        require_driver(module)
    with problems_told(module), node_work(f"restore point {state}") if changing else nullcontext():
        module.exit_json(**run(module))


if __name__ == "__main__":
    main()
