#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: who is connected to Package Manager's databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_sessions
short_description: Show who is connected to Package Manager's databases
version_added: 1.0.0
description:
  - Lists the client sessions that the nodes' role has in the main and the usage database, with their addresses as the
    server itself sees them. Sessions of other roles, as those of a monitoring tool, are no node's and are not listed.
  - Tells also with which address the server sees this host, by which its sessions are told from those of others.
  - Needs psycopg2 of the distribution on the host it runs on, which has to be admitted by the server's C(pg_hba.conf).
  - Sessions of this collection itself are not listed.
author:
  - rspm.ha authors (@rspm-ha)
extends_documentation_fragment:
  - rspm.ha.attributes.looks
  - rspm.ha.database.login
"""

EXAMPLES = r"""
- name: Read the sessions of the cluster
  rspm.ha.database_sessions:
    host: "{{ rspm_database_host }}"
    databases:
      - "{{ rspm_database_name }}"
      - "{{ rspm_database_usage_name }}"
    user: "{{ rspm_database_user }}"
    password: "{{ rspm_database_password }}"
  register: rspm_sessions
"""

RETURN = r"""
sessions:
  description: The sessions that count.
  returned: always, unless the server could not be asked
  type: list
  elements: dict
  contains:
    pid:
      description: Process id of the session on the database server.
      type: int
      sample: 4711
    database:
      description: Name of the database.
      type: str
      sample: rstudio_pm
    user:
      description: Role of the session.
      type: str
      sample: rstudio_pm
    application:
      description: Name that the client gave itself.
      type: str
      sample: rstudio-pm
    client_address:
      description: Address of the client; empty for the server's own socket.
      type: str
      sample: 192.0.2.12
    client_port:
      description: TCP port of the client as the server sees it; 0 for the server's own socket.
      type: int
      sample: 40312
    state:
      description: What the session does; empty where the server does not tell.
      type: str
      sample: idle
    since:
      description: Since when it is in this state, UTC.
      type: str
      sample: "2026-08-01T12:00:00Z"
    connected:
      description: When the client connected, UTC.
      type: str
      sample: "2026-08-01T11:00:00Z"
count:
  description: Number of the sessions that count.
  returned: always, unless the server could not be asked
  type: int
  sample: 3
own_address:
  description: Address that the server sees this host with; empty where the connection is a local socket.
  returned: always, unless the server could not be asked
  type: str
  sample: 192.0.2.11
problems:
  description: Why the server could not be asked, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "database-password", "found": "db1:5432 refuses the password ...", "why": "...", "fix": "..."}]
"""

from contextlib import closing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import open_watch
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import SESSION_OPTIONS


def main() -> None:
    """Run the module."""
    options = {name: option for name, option in SESSION_OPTIONS.items() if name != "timeout"}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    if not module.params["databases"]:
        module.fail_json(msg="databases is empty: name at least one.")
    require_driver(module)
    with problems_told(module), closing(open_watch({**module.params, "timeout": 0})) as watch:
        own_address, sessions = watch.own_end().address, watch.wait(0)
    module.exit_json(
        changed=False,
        sessions=[session.to_dict() for session in sessions],
        count=len(sessions),
        own_address=own_address,
    )


if __name__ == "__main__":
    main()
