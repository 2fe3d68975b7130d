#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_preflight
short_description: Find everything that keeps a node from becoming part of the cluster
version_added: 1.0.0
description:
  - Looks at one node and at what it can reach, and returns every problem at once. Changes nothing, and needs nothing
    but Python on the node; where psycopg2 is missing, the login to the databases is left to M(rspm.ha.database_login).
  - Checks the version asked for against every other node's and against what is installed, the ids of the service
    account, free space, the NFS server or the existing mount, a login to both databases, and the configuration.
  - Looks for names that can't be resolved, for a time server that answers, for ports that somebody else has, for a
    server of its own that the machine has run until now, and for PostgreSQL's tools that are older than the server.
  - What any host needs is asked by M(rspm.ha.host_preflight).
  - Does not fail on a problem. The caller collects those of all nodes and then fails once.
  - On a mount that is there, a probe file of the service account is written and removed again.
options:
  versions:
    description: The version that each node of the cluster is asked to have, by its name. Of none, each one's
      C(rspm_version).
    type: dict
    required: true
  node:
    description: Name of this node in O(versions).
    type: str
    required: true
  package:
    description: Where the package is to come from.
    type: dict
    default: {}
    suboptions:
      source:
        description: Kind of source.
        type: str
        choices: [repository, url, file]
        default: repository
      file:
        description: Path of the package on the controller, with V(file).
        type: str
        default: ""
      file_checksum:
        description: SHA-256 sum of that file in hexadecimal, empty where there is no such file.
        type: str
        default: ""
      url:
        description: Address of the package, with V(url).
        type: str
        default: ""
      repository:
        description: Address of the package repository, with V(repository); empty where the system has it already.
        type: str
        default: ""
      checksum:
        description: What the sum should be, as V(sha256:...).
        type: str
        default: ""
  storage:
    description: The shared storage.
    required: true
  storage_managed:
    description: Whether the NFS server is made by the same run, and so need not answer yet.
    type: bool
    default: false
  database_managed:
    description: Whether the databases are made by the same run, and so need not answer yet.
    type: bool
    default: false
  data_dir:
    description: Server.DataDir.
    type: path
    required: true
  address:
    description: Server.Address.
    type: str
    default: ""
  http_port:
    description: Port of the service.
    type: int
    default: 4242
  encryption_key:
    description: The encryption key, where it is not made by the first node.
    type: str
    default: ""
  config:
    description: Sections and keys of the configuration beyond what has a variable.
    type: dict
    default: {}
  names:
    description: Names or addresses that the node has to reach, as lists by the variable that holds them.
    type: dict
    default: {}
  time_servers:
    description: NTP servers of which one has to answer; none are asked where it is empty.
    type: list
    elements: str
    default: []
  licence:
    description: The licence that is given, as C(key), C(content) or C(server); C(file), which file C(content) is of.
    type: dict
    default: {}
  allow_unlicensed:
    description: Whether a node may be without a licence.
    type: bool
    default: false
  upgrade:
    description: Whether the version of a live cluster is about to be changed.
    type: bool
    default: false
  timeout:
    description: Seconds that each connection may take.
    type: int
    default: 10
extends_documentation_fragment:
  - rspm.ha.attributes.looks
  - rspm.ha.database.configured
  - rspm.ha.storage.nested
  - rspm.ha.node
attributes:
  check_mode:
    description: Not even a probe file is written.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check the node
  rspm.ha.node_preflight:
    node: "{{ inventory_hostname }}"
    versions: {node1: 2026.08.0, node2: 2026.08.0}
    uid: 940
    gid: 940
    storage:
      kind: existing
      path: /mnt/rstudio-pm
    data_dir: /mnt/rstudio-pm/data
    database:
      host: db.example.com
      password: "{{ rspm_database_password }}"
  register: preflight
  no_log: true
"""

RETURN = r"""
looked:
  description: Whether the host could be looked at; where not, the one problem says why.
  returned: always
  type: bool
  sample: true
problems:
  description: What is in the way; empty where nothing is.
  returned: success
  type: list
  elements: dict
  sample: [{"check": "one-version", "found": "different versions are asked for", "why": "...", "fix": "..."}]
notes:
  description: What could not be looked at yet, and when it will be; empty where nothing is left.
  returned: success
  type: list
  elements: str
  sample: ["db1:5432 answers node1. The login of role rstudio_pm is tested as soon as psycopg2 is there, ..."]
installed_version:
  description: Version of the package that is installed, empty where none is.
  returned: success
  type: str
  sample: 2026.08.0
there:
  description: What is there as it should be, so that a run which finds it need not look again.
  returned: success
  type: dict
  contains:
    account:
      description: Whether the service account has its ids and a home folder.
      type: bool
      sample: true
    storage:
      description: Whether the storage is mounted as it should be, and the account can work with it.
      type: bool
      sample: true
    licence:
      description: Whether the node has the licence that is given, or one that is kept.
      type: bool
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._config.options import secrets_given
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._host_check.host_node import NodeCheck
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import find_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import DATABASE_OPTIONS
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import STORAGE_OPTIONS

PACKAGE = {
    "source": {"type": "str", "choices": ["repository", "url", "file"], "default": "repository"},
    "file": {"type": "str", "default": ""},
    "file_checksum": {"type": "str", "default": ""},
    "url": {"type": "str", "default": ""},
    "repository": {"type": "str", "default": ""},
    "checksum": {"type": "str", "default": ""},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "versions": {"type": "dict", "required": True},
            "node": {"type": "str", "required": True},
            "package": {"type": "dict", "default": {}, "options": PACKAGE, "apply_defaults": True},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
            "storage": {"type": "dict", "required": True, "options": STORAGE_OPTIONS},
            "storage_managed": {"type": "bool", "default": False},
            "database_managed": {"type": "bool", "default": False},
            "data_dir": {"type": "path", "required": True},
            "address": {"type": "str", "default": ""},
            "http_port": {"type": "int", "default": 4242},
            "encryption_key": {"type": "str", "default": "", "no_log": True},
            "database": {"type": "dict", "default": {}, "options": DATABASE_OPTIONS, "apply_defaults": True},
            "config": {"type": "dict", "default": {}},
            "names": {"type": "dict", "default": {}},
            "time_servers": {"type": "list", "elements": "str", "default": []},
            "licence": {"type": "dict", "default": {}},
            "allow_unlicensed": {"type": "bool", "default": False},
            "upgrade": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
        # The host's log would otherwise get what config holds.
        no_log=True,
    )
    find_driver()
    preflight = NodeCheck(module.params, module_runner(module), not module.check_mode)
    module.no_log_values.update(secrets_given(module.params))
    licence = module.params["licence"]
    module.no_log_values.update(str(licence[name]) for name in ("key", "content") if licence.get(name))
    problems = [problem.to_dict() for problem in preflight.problems()]
    module.exit_json(
        changed=False,
        problems=problems,
        notes=preflight.notes,
        installed_version=preflight.installed,
        there=preflight.there,
    )


if __name__ == "__main__":
    main()
