#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: server_config
short_description: Write configuration, encryption key and systemd drop-in of the server
version_added: 1.0.0
description:
  - Writes C(/etc/rstudio-pm/rstudio-pm.gcfg) from the cluster's variables and O(config), the encryption key where
    one is given, and a drop-in of the unit C(rstudio-pm), each in one step.
  - A configuration is validated before it replaces the old one, also by C(rspm check-config) where the installed
    version has that. The checks of the database and of the licence do not count, since these may come later.
  - Restarts nothing. RV(needs_restart) tells whether what runs was started with something else.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  data_dir:
    description: Server.DataDir, the same on every node.
    type: path
    required: true
  storage_path:
    description: Mount point that O(data_dir) lies on. The server does not start without it. Empty for a local disk.
    type: str
    default: ""
  address:
    description: Server.Address, the URL that users reach the cluster at.
    type: str
    default: ""
  http_port:
    description: Port of HTTP.Listen.
    type: int
    default: 4242
  node_count:
    description: How many nodes the cluster has.
    type: int
    default: 1
  encryption_key:
    description:
      - The encryption key of all nodes, written to C(/etc/rstudio-pm/rstudio-pm.key).
      - When empty, the first node makes one in the data directory, where all nodes find it.
    type: str
    default: ""
  config:
    description:
      - Any other setting. A mapping of sections to mappings of keys to a scalar, or to a list for a repeated key.
      - A key that one of the other options decides is refused.
    type: dict
    default: {}
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.database.configured
attributes:
  check_mode:
    description: Validates, and reports what would be written.
  diff_mode:
    description: Shows files and rights before and after, secrets hidden.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Configure the server
  rspm.ha.server_config:
    data_dir: /mnt/rstudio-pm/data
    storage_path: /mnt/rstudio-pm
    address: https://packages.example.com
    node_count: 3
    database:
      host: db1.example.com
      password: "{{ rspm_database_password }}"
    config:
      Git:
        PollInterval: 5m
      Server:
        RVersion: [/opt/R/4.4.2, /opt/R/4.5.1]
  no_log: true
"""

RETURN = r"""
config_hash:
  description: Hash of the configuration, equal on all nodes with the same one. No secret can be got from it.
  returned: success
  type: str
  sample: 9f2c4e0b7a53f0c6a9d1c0f5f8e3b7d24c1a9e6d5b8f0a7c3e2d1b4a6f9c8e70
files:
  description: The files that were, or would be, written.
  returned: success
  type: list
  elements: str
  sample: [/etc/rstudio-pm/rstudio-pm.gcfg]
changes:
  description: What was, or would be, changed, as the lines of a unified diff without secrets.
  returned: success
  type: list
  elements: str
  sample: ["-PollInterval = 5m", "+PollInterval = 10m"]
needs_restart:
  description: Whether a process runs that was started with something else.
  returned: success
  type: bool
  sample: false
restart_reasons:
  description: What it was started without.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "owned-setting", "found": "rspm_config sets Server.DataDir", "why": "...", "fix": "..."}]
"""

from contextlib import nullcontext
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._config.rules import ClusterSettings
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import DATABASE_OPTIONS, Database
from ansible_collections.rspm.ha.plugins.module_utils._service.host_apply import Apply, known_to_be_secret


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "data_dir": {"type": "path", "required": True},
            "storage_path": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "http_port": {"type": "int", "default": 4242},
            "node_count": {"type": "int", "default": 1},
            "encryption_key": {"type": "str", "default": "", "no_log": True},
            "database": {"type": "dict", "default": {}, "options": DATABASE_OPTIONS, "apply_defaults": True},
            "config": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
        # the log of the host would otherwise get what config holds
        no_log=True,
    )
    params: dict[str, Any] = module.params
    cluster = ClusterSettings(
        data_dir=params["data_dir"],
        address=params["address"],
        http_port=params["http_port"],
        node_count=params["node_count"],
        database=Database(**params["database"]),
        encryption_key=params["encryption_key"],
        storage_path=params["storage_path"],
        config=params["config"],
    )
    module.no_log_values.update(known_to_be_secret(cluster))
    apply = Apply(module_runner(module), cluster)
    try:
        with nullcontext() if module.check_mode else node_work("configuration"):
            result = apply.run(check_mode=module.check_mode)
    except DomainError as error:
        module.fail_json(**error.to_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
