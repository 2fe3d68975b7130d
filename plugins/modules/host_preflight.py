#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_preflight
short_description: Find everything that keeps a host from becoming part of the cluster
version_added: 1.0.0
description:
  - Looks at one host and returns every problem at once. Changes nothing, and needs nothing but Python on the host.
  - Checks that it works as root, that systemd and a known package manager are there and free, that the packages are
    known, that there is room, and that nobody else has the ports.
  - Does not fail on a problem, not even where the host can't be reached or gives no root. The caller collects those of
    all hosts and then fails once.
options:
  parts:
    description: What the host is in the cluster, which decides what is to be installed on it.
    type: list
    elements: str
    choices: [node, database, nfs_server, load_balancer]
    default: []
  ports:
    description: TCP ports that a service of ours is to listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      number:
        description: The port.
        type: int
        required: true
      part:
        description: Whose it is.
        type: str
        choices: [node, database, nfs_server, load_balancer]
        required: true
      variable:
        description: The variable that decides it, empty where it is fixed.
        type: str
        default: ""
  left:
    description: Of a node, the storage on which earlier runs may have left something, RV(left).
    type: dict
    suboptions:
      folder:
        description: The collection's own folder on the storage.
        type: str
        required: true
      storage_path:
        description: Where the storage is mounted.
        type: str
        required: true
      data_dir:
        description: The data directory.
        type: str
        required: true
      database:
        description: Host of the databases.
        type: str
        required: true
      kind:
        description: What the storage is.
        type: str
        choices: [nfs, existing, local]
        required: true
      uid:
        description: Numeric id of the service's user.
        type: int
        required: true
      gid:
        description: Numeric id of the service's group.
        type: int
        required: true
extends_documentation_fragment:
  - rspm.ha.attributes.looks
  - rspm.ha.node.packages
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check the host
  rspm.ha.host_preflight:
    parts: [database]
    ports:
      - number: 5432
        part: database
        variable: rspm_database_port
  register: preflight
"""

RETURN = r"""
looked:
  description: Whether the host could be looked at; where not, the one problem says why.
  returned: always
  type: bool
  sample: true
left:
  description:
    - What earlier runs have left. C(record), C(own) and C(blocked_for) as M(rspm.ha.migration_record) tells them;
      C(lock), which is empty while nobody is known to hold it; C(over), whether its lease is; C(ready), whether the
      storage is there; C(says), why not all could be read; the others as given.
  returned: with O(left), where the host could be looked at
  type: dict
  sample: {"record": {}, "own": "", "blocked_for": "", "lock": {}, "ready": true}
installed:
  description:
    - Packages of the distribution that the host needs for its O(parts) and has. Where it has all that a role installs,
      the role does not ask the package manager.
  returned: where the host could be looked at as root
  type: list
  elements: str
  sample: [chrony, postgresql-client, python3-psycopg2]
problems:
  description: What is in the way; empty where nothing is.
  returned: success
  type: list
  elements: dict
  sample: [{"check": "port-taken", "found": "Port 5432 is taken by pgbouncer (pid 612)", "why": "...", "fix": "..."}]
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._host_check.host import HOST_OPTIONS, HostCheck, load_account
from ansible_collections.rspm.ha.plugins.module_utils._host_check.rules import judge_root
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_left import load_left

LEFT: dict[str, dict[str, Any]] = {
    "folder": {"type": "str", "required": True},
    "storage_path": {"type": "str", "required": True},
    "data_dir": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["nfs", "existing", "local"], "required": True},
    "uid": {"type": "int", "required": True},
    "gid": {"type": "int", "required": True},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={**HOST_OPTIONS, "left": {"type": "dict", "options": LEFT}}, supports_check_mode=True
    )
    runner = module_runner(module)
    told: dict[str, Any] = {}
    # Without root nothing else can be known.
    problems = judge_root(os.geteuid(), load_account())
    if not problems:
        if module.params["left"]:
            told["left"] = load_left(runner, module.params["left"])
        check = HostCheck(module.params, runner)
        problems = check.problems()
        told["installed"] = check.installed
    module.exit_json(changed=False, problems=[problem.to_dict() for problem in problems], **told)


if __name__ == "__main__":
    main()
