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
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.configuration
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


from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._config.options import CONFIG_OPTIONS, settings_of
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._service.host_apply import Apply


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=CONFIG_OPTIONS,
        supports_check_mode=True,
        # the log of the host would otherwise get what config holds
        no_log=True,
    )
    cluster = settings_of(module.params)
    apply = Apply(module_runner(module), cluster)
    with problems_told(module), node_work("configuration", module.check_mode):
        module.exit_json(**apply.run(check_mode=module.check_mode))


if __name__ == "__main__":
    main()
