#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a PostgreSQL server lets the nodes in, beside whoever else uses it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_server
short_description: Let the nodes log in to a PostgreSQL server that others may use too
version_added: 1.0.0
description:
  - Run it as the superuser's account on the host of the server, which it asks over its socket. With O(state=checked) it
    may be root as well.
  - A database of the nodes' that belongs to another role is refused.
  - C(max_connections) is only raised. C(listen_addresses) is only added to, and only where the nodes' addresses are not
    met; a server without databases of others then listens everywhere. TLS is turned on where the nodes need it.
    All that with C(ALTER SYSTEM), so that C(ALTER SYSTEM RESET) takes it back. Nothing else is set.
  - The client rules of the nodes stand in C(pg_hba.conf) between two lines of comment, before the first rule that may
    match a node. Every other line keeps its place and its text. A file that the server can't read is put back.
  - A node that is not in O(clients) any more but has a session is let in as before, see O(keep_connected).
  - The server is reloaded where that is needed, and never restarted; RV(restart) says why it has to be.
author:
  - rspm.ha authors (@rspm-ha)
options:
  state:
    description:
      - With V(checked) nothing is changed, and what is wrong is returned in place of a failure, as RV(problems). A
        server that does not run is no problem then.
    type: str
    choices: [present, checked]
    default: present
  port:
    description: Port of the server.
    type: int
    default: 5432
  databases:
    description: The databases of the nodes, the main one first, by which the rules are found again.
    type: list
    elements: str
    required: true
  user:
    description: The role of the nodes.
    type: str
    required: true
  clients:
    description: Addresses of the nodes as the server sees them, or networks.
    type: list
    elements: str
    required: true
  connections:
    description: The least that the server accepts at a time, of all clients together.
    type: int
    default: 200
  addresses:
    description:
      - Names or addresses at which the nodes connect to the server. Of the first that this host has an address of, that
        one is listened to.
    type: list
    elements: str
    default: []
  tls:
    description: Whether the nodes are let in by TLS only.
    type: bool
    default: true
  keep_connected:
    description:
      - Whether an address that is not in O(clients) any more, but has a session, is let in as before, so that a wrong
        list shuts no live node out. To be turned off where the others are proved to be stopped for good.
    type: bool
    default: true
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  diff_mode:
    description: Shows the client rules.
"""

EXAMPLES = r"""
- name: Let the nodes log in
  rspm.ha.database_server:
    databases: [rstudio_pm, rstudio_pm_usage]
    user: rstudio_pm
    clients: [192.0.2.11, 192.0.2.12]
    addresses: [192.0.2.20]
  become: true
  vars:
    ansible_become_user: postgres
  register: server
"""

RETURN = r"""
changes:
  description: Settings that were changed, or that wait for the restart.
  returned: success
  type: list
  elements: str
  sample: ["max_connections from 100 to 200"]
restart:
  description: Why the server has to be restarted; empty where it has not.
  returned: success
  type: list
  elements: str
  sample: ["max_connections from 100 to 200"]
others:
  description: Databases of others, which a restart would cut off for a moment.
  returned: success
  type: list
  elements: str
  sample: ["shop"]
others_pending:
  description: Settings of others that wait for a restart too, and would come into force with it.
  returned: success
  type: list
  elements: str
  sample: ["shared_buffers"]
kept:
  description: Addresses that are let in although they are in O(clients) no more, since they have a session.
  returned: success
  type: list
  elements: str
  sample: ["192.0.2.13"]
reloaded:
  description: Whether the server has read its configuration again.
  returned: success
  type: bool
  sample: true
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure, and with O(state=checked)
  type: list
  elements: dict
  sample:
    - check: database-clients
      found: There is no node to let in to the databases
      why: A list without nodes would shut out those that run
      fix: Give the group rspm_nodes its hosts
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._address.host import is_own, resolve
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner, module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.client_rules import Access
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.host import (
    UNANSWERED,
    PostgresServer,
    superuser_runner,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.rules import (
    Wanted,
    decide_settings,
    judge_clients,
    judge_owners,
    kept_clients,
)


def met_at(addresses: list[str]) -> tuple[str, ...]:
    """Return the own addresses that the first of the names that has any stands for."""
    each = (tuple(address for address in resolve(name) if is_own(address)) for name in addresses if name)
    return next((own for own in each if own), ())


def let_in(run: Runner, given: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Have the server let the nodes in and return the result. Raises DomainError."""
    raise_any(judge_clients(given["clients"]))
    server = PostgresServer(run, given["port"])
    access = Access(tuple(dict.fromkeys(given["databases"])), given["user"], tuple(given["clients"]), given["tls"])
    server.observe(access)
    raise_any(judge_owners(server.foreign, access.user, server.port))
    live = server.live if given["keep_connected"] else []
    kept = kept_clients(server.clients(access), map(str, access.networks), live)
    access = replace(access, clients=(*access.clients, *kept))
    wanted = Wanted(given["connections"], met_at(given["addresses"]), given["tls"])
    changes = decide_settings(server.settings(), wanted, server.listening(), bool(server.others))
    before, after = server.planned_rules(access)
    encrypt = any(change.name == "ssl" for change in changes)
    reload = encrypt or before != after or server.found["stale"]
    if not check_mode:
        server.set(changes)
        if encrypt:
            server.reload()
            server.refuse_without_tls()
        if before != after:
            server.write_rules(after)
        if before != after or (server.found["stale"] and not encrypt):
            server.reload()
    return {
        "changed": reload or any(change.write for change in changes),
        "changes": [str(change) for change in changes],
        "restart": [str(change) for change in changes if change.restart],
        "others": server.others,
        "others_pending": server.pending,
        "kept": kept,
        "reloaded": reload,
        "diff": {"before": before, "after": after, "before_header": "pg_hba.conf", "after_header": "pg_hba.conf"},
    }


def check(run: Runner, port: int, problems: Sequence[Problem]) -> list[dict[str, str]]:
    """Return what is wrong before the server is made: one that does not run yet is started later."""
    if problems[0].check == UNANSWERED and not PostgresServer(run, port).answers():
        return []
    return [problem.to_dict() for problem in problems]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "checked"], "default": "present"},
            "port": {"type": "int", "default": 5432},
            "databases": {"type": "list", "elements": "str", "required": True},
            "user": {"type": "str", "required": True},
            "clients": {"type": "list", "elements": "str", "required": True},
            "connections": {"type": "int", "default": 200},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "tls": {"type": "bool", "default": True},
            "keep_connected": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    run, checked = superuser_runner(module_runner(module)), module.params["state"] == "checked"
    try:
        result = let_in(run, module.params, checked or module.check_mode)
    except DomainError as error:
        if checked:
            module.exit_json(changed=False, restart=[], problems=check(run, module.params["port"], error.problems))
        module.fail_json(**error.to_result())
        return
    if checked:
        module.exit_json(**{**result, "changed": False, "diff": {}, "problems": []})
    for address in result["kept"]:
        module.warn(f"{address} is no node of the inventory, but has a session of the nodes' role. It is still let in.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
