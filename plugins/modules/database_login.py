#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: database_login
short_description: Log in to Package Manager's databases as a node does
version_added: 1.0.0
description:
  - Logs in to both databases from the host it runs on, and fails with everything that would keep a node from working on
    them.
  - Needs psycopg2 of the distribution. Where the Python that Ansible uses has none, it goes on in the system's own.
options:
  database:
    description: The databases.
    required: true
  managed:
    description: Whether the databases are made by the same run, and so need not answer yet.
    type: bool
    default: false
  timeout:
    description: Seconds that each login may take.
    type: int
    default: 10
extends_documentation_fragment:
  - rspm.ha.attributes.looks
  - rspm.ha.database
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Log in to the databases
  rspm.ha.database_login:
    database:
      host: "{{ rspm_database_host }}"
      name: "{{ rspm_database_name }}"
      usage_name: "{{ rspm_database_usage_name }}"
      user: "{{ rspm_database_user }}"
      password: "{{ rspm_database_password }}"
      sslmode: verify-full
      options:
        sslrootcert: /etc/ssl/certs/database-ca.pem
"""

RETURN = r"""
server_version:
  description: Version number of the server, V(0) where it need not answer yet and does not.
  returned: success
  type: int
  sample: 150018
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "database-password", "found": "db1:5432 refuses role rstudio_pm ...", "why": "...", "fix": "..."}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, unique
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_login import try_logins
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import REQUIRED_DATABASE_OPTIONS, Database


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "database": {"type": "dict", "required": True, "options": REQUIRED_DATABASE_OPTIONS},
            "managed": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    require_driver(module)
    given = module.params
    found, version = try_logins(Database(**given["database"]), given["managed"], given["timeout"])
    if found:
        module.fail_json(**DomainError(*unique(found)).to_result())
    module.exit_json(changed=False, server_version=version)


if __name__ == "__main__":
    main()
