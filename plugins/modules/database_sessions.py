#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: who is connected to Package Manager's databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_sessions
short_description: Tell who is connected to Package Manager's databases
version_added: 1.0.0
description:
  - Lists the client sessions that the nodes' role has in the main and the usage database, with their addresses as the
    server itself sees them. Sessions of other roles, as those of a monitoring tool, are no node's and are not listed.
  - With O(expect=none) it waits until no session is left and fails otherwise. Before a schema may move, that is a proof
    that comes from neither the node nor its service manager that no other node still works on it.
  - Tells also with which address the server sees this host, by which its sessions are told from those of others.
  - Needs psycopg2 of the distribution on the host it runs on, which has to be admitted by the server's C(pg_hba.conf).
  - Sessions of this collection itself are not listed.
author:
  - rspm.ha authors (@rspm-ha)
options:
  host:
    description: Name or address of the database server.
    type: str
    required: true
  port:
    description: TCP port of the database server.
    type: int
    default: 5432
  databases:
    description: The databases whose sessions count. The first one is logged in to.
    type: list
    elements: str
    required: true
  user:
    description: Role that logs in and whose sessions count, which is the one that the nodes use.
    type: str
    required: true
  password:
    description: Password of the role.
    type: str
    required: true
  sslmode:
    description: Whether TLS is used and the server's certificate checked, as in C(libpq).
    type: str
    choices: [disable, prefer, require, verify-ca, verify-full]
    default: require
  options:
    description: Options of C(libpq) beside these, as C(rspm_database_options) has them.
    type: dict
    default: {}
  exclude:
    description: Addresses or networks whose sessions don't count.
    type: list
    elements: str
    default: []
  expect:
    description:
      - With V(any) the sessions are only listed.
      - With V(none) the module fails while a session that counts is left.
    type: str
    choices: [any, none]
    default: any
  timeout:
    description: Seconds to wait with O(expect=none) for the last session to end.
    type: float
    default: 0
attributes:
  check_mode:
    support: full
    description: Changes nothing, so it does the same in check mode.
  diff_mode:
    support: none
    description: Changes nothing, so there is no difference to show.
  idempotent:
    support: full
    description: Changes nothing.
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

- name: Check that no other node has a session left
  rspm.ha.database_sessions:
    host: "{{ rspm_database_host }}"
    databases: ["{{ rspm_database_name }}"]
    user: "{{ rspm_database_user }}"
    password: "{{ rspm_database_password }}"
    exclude: ["192.0.2.11"]
    expect: none
    timeout: 30
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
waited:
  description: Seconds that were waited for the last session to end.
  returned: always, unless the server could not be asked
  type: float
  sample: 0.0
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample:
    - check: database-sessions
      found: "1 session is left at db1:5432: rstudio-pm from 192.0.2.12 as rstudio_pm on rstudio_pm (pid 4711, idle)"
      why: A node that still works on the old schema can corrupt data while the schema changes
      fix: Stop what holds the session on the host that is named, then run this again
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection, open_session, require_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import judge_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import SESSION_OPTIONS
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import (
    ADDRESS_QUERY,
    Session,
    judge_sessions,
    parse_sessions,
    remaining,
    sessions_query,
)

LOGIN_TIMEOUT = 10.0
POLL_INTERVAL = 0.25


def wait_for_sessions(
    connection: Connection, databases: list[str], exclude: list[str], timeout: float
) -> tuple[tuple[Session, ...], float]:
    """Return the sessions that count as soon as none is left, or after timeout seconds; and the seconds waited."""
    begin = time.monotonic()
    while True:
        sessions = remaining(parse_sessions(connection.query(sessions_query(databases))), exclude)
        waited = time.monotonic() - begin
        if not sessions or waited >= timeout:
            return sessions, round(waited, 2)
        time.sleep(min(POLL_INTERVAL, timeout - waited))


def ask_own_address(connection: Connection) -> str:
    """Return the address that the server sees this host with, "" for a local socket."""
    return connection.query(ADDRESS_QUERY).as_dicts()[0]["address"] or ""


def fail(module: AnsibleModule, problems: list[Problem], **facts: object) -> None:
    """End the module with the problems, as text for people and as data for playbooks."""
    module.fail_json(
        msg=" ".join(str(problem) for problem in problems),
        problems=[problem.to_dict() for problem in problems],
        **facts,
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **SESSION_OPTIONS,
            "exclude": {"type": "list", "elements": "str", "default": []},
            "expect": {"type": "str", "choices": ["any", "none"], "default": "any"},
            "timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    given = module.params
    databases: list[str] = given["databases"]
    if not databases:
        module.fail_json(msg="databases is empty: name at least one.")
    try:
        remaining((), given["exclude"])
    except ValueError as error:
        module.fail_json(msg=f"exclude takes addresses and networks: {error}.")
    require_driver(module)
    account = (given["user"], given["password"], given["sslmode"])
    result, connection = open_session(
        given["host"], given["port"], databases[0], *account, LOGIN_TIMEOUT, options=given["options"]
    )
    if connection is None:
        fail(module, judge_login(result))
        return
    timeout = given["timeout"] if given["expect"] == "none" else 0.0
    try:
        own_address = ask_own_address(connection)
        sessions, waited = wait_for_sessions(connection, databases, given["exclude"], timeout)
    except (ServerRefused, ConnectFailed) as error:
        problem = Problem(
            "database-sessions",
            f"{result.where} could not be asked for its sessions ({error})",
            "Who still works on the database is not known",
            "See the log of the database server, then run this again",
        )
        fail(module, [problem])
        return
    finally:
        connection.close()
    facts = {
        "sessions": [session.to_dict() for session in sessions],
        "count": len(sessions),
        "own_address": own_address,
        "waited": waited,
    }
    if given["expect"] == "none" and sessions:
        fail(module, judge_sessions(sessions, f"{result.host}:{result.port}"), **facts)
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
