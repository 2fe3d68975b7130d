#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: database_copy
short_description: Copy both databases to another PostgreSQL server, and verify the copy
version_added: 1.0.0
description:
  - Copies the main and the usage database with C(pg_dump) and C(pg_restore), several tables at a time, from the
    cluster's PostgreSQL to that of the node on which it runs. Both sides are logged in to with the role of the nodes;
    it needs no administrator. The target is what the role P(rspm.ha.database#role) makes. The source is only read.
  - Before anything changes it refuses what can not work - the versions of both servers and of the tools, encodings,
    extensions, ownership, room for the dump, a target that is the source itself, or that is not empty and no copy of
    this source, and any session of the role on either side.
  - The definitions of all objects, the number and the content of every table's rows, the sequences and the large
    objects are compared afterwards. Only what is equal becomes finished. Rows are compared by the sum of two 64-bit
    hashes of their text, so that their order does not count. A materialized view is filled anew, so that its rows do
    not count.
  - How far a copy has come is in the comment of the target's database (with a schema, of the schema), where it survives
    whatever happens to this host. An unfinished copy is dropped and made anew. A finished one is compared and left
    alone; where the source has moved on since, it is made anew, but only if nothing was written to the copy.
  - Everything belongs to the role of the nodes then. The rights that other roles have in the source are carried over
    where the target has those roles; the rest is listed with the statements for it, and given by a later call once the
    roles are there. What C(PUBLIC) may do with the database and its schemas is left to the target's administrator.
    The settings and memberships of roles, and who may log in, are not part of a copy.
  - Collations may differ, since every index is built anew; encodings may not.
options:
  state:
    description:
      - V(copied) has both databases in the target.
      - V(observed) only tells what is on both sides, with PostgreSQL's estimate of the rows.
      - V(retired) makes the source read-only for the role of the nodes. That holds for every new session until one says
        otherwise - it keeps a node from writing, not a person.
    type: str
    choices: [observed, copied, retired]
    default: copied
  source:
    description: The databases that are copied, with the role that the nodes use.
    required: true
  target:
    description:
      - The databases that they are copied to. For O(state=observed) and O(state=copied).
      - In check mode and for O(state=observed) they need not exist yet.
  work_path:
    description:
      - Folder for the dump on this host, which has to have as much room as the tables of the larger database. The dump
        is in a folder of its own there, which only root reads, and which is gone afterwards.
    type: path
    default: /var/tmp
  jobs:
    description: How many tables are worked on at a time. By default as many as this host has processors.
    type: int
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.database.copy
attributes:
  check_mode:
    description: Refuses what would be refused, but for the sessions of a cluster that still serves. Changes nothing.
  diff_mode:
    description: Shows the state of both databases of the target, or whether the source is read-only.
  idempotent:
    description: Does nothing where both databases are finished copies that are equal to the source.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Copy both databases to this node
  rspm.ha.database_copy:
    source:
      host: db1.example.com
      name: rstudio_pm
      usage_name: rstudio_pm_usage
      user: rstudio_pm
      password: "{{ rspm_database_password }}"
    target:
      host: localhost
      name: rstudio_pm
      usage_name: rstudio_pm_usage
      user: rstudio_pm
      password: "{{ rspm_database_password }}"

- name: Make the old databases read-only for the nodes
  rspm.ha.database_copy:
    state: retired
    source:
      host: db1.example.com
      name: rstudio_pm
      usage_name: rstudio_pm_usage
      user: rstudio_pm
      password: "{{ rspm_database_password }}"
  register: rspm_retired
"""

RETURN = r"""
source_version:
  description: Version of the source's server.
  returned: when O(state=observed) or O(state=copied)
  type: str
  sample: "15.18"
target_version:
  description: Version of the target's server, empty where it can not be reached yet.
  returned: when O(state=observed) or O(state=copied)
  type: str
  sample: "17.2"
target_state:
  description:
    - What the target is now, in check mode what it would be - C(absent) (can not be reached), C(empty),
      C(ours_unfinished), C(ours_finished) or C(foreign). C(ours_finished) means that both databases are.
  returned: when O(state=observed) or O(state=copied)
  type: str
  sample: ours_finished
before_state:
  description: What the target was before.
  returned: when O(state=observed) or O(state=copied)
  type: str
  sample: empty
target_problem:
  description: Why the target can not be reached yet, else empty.
  returned: when O(state=observed) or O(state=copied)
  type: str
  sample: ""
databases:
  description: Both databases.
  returned: when O(state=observed) or O(state=copied)
  type: list
  elements: dict
  contains:
    name:
      description: C(main) or C(usage).
      type: str
      sample: main
    source:
      description: Where it is copied from.
      type: str
      sample: db1.example.com:5432/rstudio_pm
    target:
      description: Name of the target's database.
      type: str
      sample: rstudio_pm
    before_state:
      description: What this target was before.
      type: str
      sample: empty
    action:
      description:
        - C(fill), C(replace) (an earlier copy is dropped first) or C(keep); in check mode what it would be. Empty for
          O(state=observed).
      type: str
      sample: fill
    bytes:
      description: Size of tables and indexes in the source.
      type: int
      sample: 734003200
    tables:
      description: Tables in the source.
      type: int
      sample: 41
    rows:
      description: Rows in the source, counted where that was compared, else PostgreSQL's estimate.
      type: int
      sample: 1834022
bytes:
  description: Size of tables and indexes in the source, of both.
  returned: when O(state=observed) or O(state=copied)
  type: int
  sample: 734003200
tables:
  description: Number of tables in the source, of both.
  returned: when O(state=observed) or O(state=copied)
  type: int
  sample: 41
rows:
  description: Number of rows in the source, of both.
  returned: when O(state=observed) or O(state=copied)
  type: int
  sample: 1834022
verified_tables:
  description: How many tables were read on both sides, and compared.
  returned: when O(state=observed) or O(state=copied)
  type: int
  sample: 41
mismatches:
  description: Where the copy differs from the source. Not empty only where that is the failure.
  returned: always
  type: list
  elements: dict
  contains:
    object:
      description: What differs.
      type: str
      sample: rows of public.packages
    source:
      description: What is in the source, empty for nothing.
      type: str
      sample: 20144 rows, digest 5772441632221738196379 -4766666064874566113693
    target:
      description: What is in the target, empty for nothing.
      type: str
      sample: 20143 rows, digest 5772441632221738190021 -4766666064874566113001
missing_roles:
  description: Roles that have rights in the source and are not on the target. Known where contents were compared.
  returned: when O(state=observed) or O(state=copied)
  type: list
  elements: dict
  contains:
    name:
      description: Name of the role.
      type: str
      sample: reporting
    commands:
      description:
        - Statements for an administrator of the target. After the first one (with LOGIN and a password where it needs
          them), this module gives the rights too when it is called again.
      type: list
      elements: str
      sample: ['CREATE ROLE "reporting"', 'GRANT SELECT ON TABLE public.packages TO "reporting"']
rights:
  description: Statements that were run, or would be on a finished copy, so that other roles have their rights.
  returned: when O(state=observed) or O(state=copied)
  type: list
  elements: str
  sample: ['GRANT SELECT ON TABLE public.packages TO "reporting"']
removal_commands:
  description: What an administrator of the source's server types in C(psql) to remove the old databases.
  returned: when O(state=retired)
  type: list
  elements: str
  sample: ['DROP DATABASE "rstudio_pm";', 'DROP DATABASE "rstudio_pm_usage";']
timeline:
  description:
    - What was done, in that order. Also tells how far a failure came.
    - C(step), which is C(observe), C(sessions), C(compare), C(dump), C(empty), C(restore), C(verify), C(rights),
      C(finish), C(sessions afterwards) or C(retire), with the database, C(at) and C(seconds) as
      RV(rspm.ha.node_upgrade#module:timeline) has them.
  returned: always
  type: list
  elements: dict
  sample: [{"step": "restore main", "at": "2026-11-24T05:50:01.123Z", "seconds": 12.204}]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "database-copy", "found": "localhost:5432/main is not empty ...", "why": "...", "fix": "..."}]
"""

import os
import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_timeline import Timeline
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host import Copier
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.report import report
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import (
    CopyDiffers,
    CopyStep,
    TargetState,
    overall,
    removal_commands,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import REQUIRED_DATABASE_OPTIONS, Database


def run(module: AnsibleModule, timeline: Timeline) -> dict[str, Any]:
    """Do the work and return the result."""
    given, wanted = module.params, module.params["state"]
    source = Database(**given["source"])
    copier = Copier(
        runner=module_runner(module),
        timeline=timeline,
        source=source,
        target=Database(**given["target"]) if given["target"] else source,
        work_path=given["work_path"],
        jobs=given["jobs"] or len(os.sched_getaffinity(0)),
        host=socket.gethostname(),
    )
    if wanted == "retired":
        changed = copier.set_read_only(check_mode=module.check_mode)
        return {
            "changed": changed,
            "removal_commands": removal_commands(source),
            "diff": {
                "before": f"nodes in the old databases: {'able to write' if changed else 'read-only'}\n",
                "after": "nodes in the old databases: read-only\n",
            },
        }
    if wanted == "observed":
        observed = copier.observe(target_needed=False)
        return report(copier.parts, observed, {}, copier.contents, copier.sent, overall(observed.states().values()))
    if module.check_mode:
        observed = copier.observe(target_needed=False)
        steps = copier.plan(observed)
        if observed.target["main"] is not None and any(step is not CopyStep.KEEP for step in steps.values()):
            copier.tools(observed)
        copier.sent += [
            right for part in copier.parts if steps[part.name] is CopyStep.KEEP for right in copier.kept_rights(part)
        ]
    else:
        with copier.prepared() as found:
            observed, steps = found.observed, copier.copy(found)
    return report(copier.parts, observed, steps, copier.contents, copier.sent, TargetState.FINISHED)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["observed", "copied", "retired"], "default": "copied"},
            "source": {"type": "dict", "required": True, "options": REQUIRED_DATABASE_OPTIONS},
            "target": {"type": "dict", "options": REQUIRED_DATABASE_OPTIONS},
            "work_path": {"type": "path", "default": "/var/tmp"},
            "jobs": {"type": "int"},
        },
        required_if=[("state", "observed", ["target"]), ("state", "copied", ["target"])],
        supports_check_mode=True,
    )
    require_driver(module)
    timeline = Timeline()
    try:
        module.exit_json(**run(module, timeline), mismatches=[], timeline=timeline.steps)
    except DomainError as error:
        differs = error.mismatches if isinstance(error, CopyDiffers) else []
        module.fail_json(
            **error.to_result(),
            mismatches=[item.to_dict() for item in differs],
            timeline=timeline.steps,
        )


if __name__ == "__main__":
    main()
