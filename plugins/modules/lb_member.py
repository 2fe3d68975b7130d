#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: take a node out of the load balancer's service, or bring it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lb_member
short_description: Take a node out of the load balancer's service, or bring it back
version_added: 1.0.0
description:
  - Sets a node's state at HAProxy through its runtime API and waits for what that state is for.
  - Runs on the load balancer's host, as a user who may write to the socket.
  - For any other load balancer a command of the team's own is run instead.
  - With O(state=observed) it only tells how HAProxy sees every node.
author:
  - rspm.ha authors (@rspm-ha)
options:
  node:
    description:
      - Name of the node, which is its server name in HAProxy's configuration.
      - Required unless O(state=observed), which tells of all nodes.
    type: str
  state:
    description:
      - V(drain) sends the node no new requests, lets those that it has end, and goes on checking its health.
      - V(maintenance) does the same without health checks.
      - V(ready) sends it requests again as soon as its health checks succeed.
      - V(awaited) is for a node that is stopped. It waits for the health checks to find it down, and sends it requests
        as soon as they succeed again. Not with O(command).
      - V(observed) changes nothing and returns RV(members) and RV(in_service). Not with O(command).
    type: str
    choices: [drain, maintenance, ready, awaited, observed]
    required: true
  socket:
    description:
      - Path of HAProxy's stats socket with C(level admin).
      - Exactly one of O(socket) and O(command) is given.
    type: path
  backend:
    description: Name of HAProxy's backend. Used with O(socket).
    type: str
    default: rspm
  state_file:
    description:
      - File that HAProxy loads at its start (C(server-state-file)); nodes that are not ready are written to it, so that
        they stay out of service when HAProxy is reloaded or its host reboots. Used with O(socket).
      - Left out, such a start brings every node back.
    type: path
  command:
    description:
      - Program and arguments that do the same on another load balancer. C({node}) and C({state}) are replaced by
        O(node) and O(state). It runs without a shell, waits by itself, and exits with 0 when the state is reached.
      - What is in the arguments is left out of every message, since it may be secret. Give the task C(no_log) too, so
        that Ansible shows none of them.
    type: list
    elements: str
  timeout:
    description:
      - Seconds to wait for the last request on the node to end with V(drain) and V(maintenance). Requests that are left
        then are no failure; RV(sessions) counts them.
      - Seconds to wait for the health checks with V(ready) and V(awaited), after which the module fails.
      - With O(command), seconds after which the command is ended and the module fails.
    type: float
    default: 60
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  check_mode:
    description: Predicts the change and waits for nothing. A O(command) is not run.
  idempotent:
    description: With O(socket). Whether a O(command) changed anything can't be known, so it always reports a change.
    support: partial
"""

EXAMPLES = r"""
- name: Drain the node
  rspm.ha.lb_member:
    node: "{{ inventory_hostname }}"
    state: drain
    socket: /var/lib/haproxy/rspm-admin.sock
    state_file: /var/lib/haproxy/rspm-server-state
    timeout: 120
  delegate_to: "{{ item }}"
  loop: "{{ groups['rspm_load_balancer'] }}"

- name: Bring the node back into service
  rspm.ha.lb_member:
    node: "{{ inventory_hostname }}"
    state: ready
    socket: /var/lib/haproxy/rspm-admin.sock
    state_file: /var/lib/haproxy/rspm-server-state
  delegate_to: lb1

- name: Read how the load balancer treats every node
  rspm.ha.lb_member:
    state: observed
    socket: /var/lib/haproxy/rspm-admin.sock
  register: rspm_members
  delegate_to: lb1

- name: Drain the node at the team's own load balancer
  rspm.ha.lb_member:
    node: "{{ inventory_hostname }}"
    state: drain
    command: [/usr/local/bin/pool-member, --pool, rspm, "{node}", "{state}"]
  delegate_to: localhost
"""

RETURN = r"""
members:
  description: Every server of O(backend) by its name, each with what RV(before) has.
  returned: with O(state=observed)
  type: dict
  sample: {"node1": {"state": "ready", "status": "UP", "sessions": 2, "check": "L7OK"}}
in_service:
  description: Names of the nodes for which O(state=ready) has nothing to change and nothing to wait for.
  returned: with O(state=observed) and O(state_file)
  type: list
  elements: str
  sample: [node1, node2]
before:
  description: The node before the change. Not with O(command).
  returned: success, unless O(state=observed)
  type: dict
  contains: &member
    state:
      description: What is wanted of the node.
      type: str
      sample: ready
    status:
      description: What HAProxy finds it to be.
      type: str
      sample: UP
    sessions:
      description: Requests on the node and waiting for it.
      type: int
      sample: 2
    check:
      description: Result of the last health check.
      type: str
      sample: L7OK
after:
  description: The node after the change and the wait. Not with O(command).
  returned: success, unless O(state=observed)
  type: dict
  contains: *member
sessions:
  description: Requests that were still on the node at the end. Not with O(command).
  returned: success, unless O(state=observed)
  type: int
  sample: 0
waited:
  description: Seconds from the change to the end of the wait.
  returned: success, unless O(state=observed)
  type: float
  sample: 0.4
stdout:
  description: What the O(command) printed.
  returned: when O(command) was run
  type: str
  sample: member node1 disabled
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample:
    - check: load-balancer-socket
      found: HAProxy does not answer at /var/lib/haproxy/rspm-admin.sock (No such file or directory)
      why: Without it no node can be taken out of service or brought back
      fix: See systemctl status haproxy on this host; site.yml configures the socket
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import command_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._haproxy import rules as haproxy
from ansible_collections.rspm.ha.plugins.module_utils._haproxy.host import Runtime, write_if_different
from ansible_collections.rspm.ha.plugins.module_utils._load_balancer import command_rules


def run_command(module: AnsibleModule, command: list[str], node: str, state: str, timeout: float) -> dict[str, object]:
    """Run the team's own command. Raises DomainError unless it exits with 0."""
    if module.check_mode:
        return {"changed": True, "waited": 0.0}
    begin = time.monotonic()
    # no argument of it is told, not even in the host's log: it may be a token
    argv = haproxy.fill(command, node, state)
    done = command_runner(lambda _text: None)(argv, timeout=timeout)
    if done.rc:
        raise DomainError(command_rules.failed(command, node, state, done.rc, done.stderr or done.stdout))
    return {"changed": True, "waited": round(time.monotonic() - begin, 2), "stdout": done.stdout}


def change_member(module: AnsibleModule, runtime: Runtime) -> dict[str, object]:
    """Change the state through the runtime API and wait for it. Raises DomainError."""
    given = module.params
    backend, node, state = given["backend"], given["node"], given["state"]
    awaited = state == haproxy.AWAITED
    wanted = haproxy.READY if awaited else state
    before = runtime.member(backend, node)
    changed = before.state != wanted
    after, waited = before, 0.0
    if changed and not module.check_mode:
        if awaited:
            after, waited = runtime.wait(backend, node, state, given["timeout"])
            raise_any(haproxy.judge_awaited(after, node, waited))
        raise_any(haproxy.judge_change(runtime(haproxy.change_command(backend, node, wanted)), backend, node, wanted))
    if not module.check_mode:
        if given["state_file"]:
            changed |= write_if_different(given["state_file"], haproxy.state_file(runtime("show servers state")))
        if not awaited:
            after, waited = runtime.wait(backend, node, state, given["timeout"])
        if state == haproxy.READY:
            raise_any(haproxy.judge_ready(after, node, waited))
    return {
        "changed": changed,
        "before": before.to_dict(),
        "after": {**after.to_dict(), "state": wanted},
        "sessions": after.sessions,
        "waited": waited,
        "diff": {"before": {"state": before.state}, "after": {"state": wanted}},
    }


def observe_members(runtime: Runtime, backend: str, kept_in: str | None) -> dict[str, object]:
    """Return how HAProxy sees every server of the backend. Raises DomainError."""
    members = runtime.members(backend)
    raise_any(haproxy.judge_members(members, backend))
    told: dict[str, object] = {"members": {name: member.to_dict() for name, member in members.items()}}
    if kept_in:
        told["in_service"] = haproxy.in_service(members, runtime("show servers state"), read_text(kept_in) or "")
    return {"changed": False, **told}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str"},
            "state": {"type": "str", "required": True, "choices": [*haproxy.STATES, haproxy.AWAITED, haproxy.OBSERVED]},
            "socket": {"type": "path"},
            "backend": {"type": "str", "default": "rspm"},
            "state_file": {"type": "path"},
            "command": {"type": "list", "elements": "str"},
            "timeout": {"type": "float", "default": 60},
        },
        mutually_exclusive=[("socket", "command"), ("state_file", "command")],
        required_one_of=[("socket", "command")],
        required_if=[
            *(("state", state, ["node"]) for state in haproxy.STATES),
            ("state", haproxy.AWAITED, ["node", "socket"]),
            ("state", haproxy.OBSERVED, ["socket"]),
        ],
        supports_check_mode=True,
    )
    given = module.params
    with problems_told(module):
        if given["state"] == haproxy.OBSERVED:
            result = observe_members(Runtime(given["socket"]), given["backend"], given["state_file"])
        elif given["command"]:
            result = run_command(module, given["command"], given["node"], given["state"], given["timeout"])
        elif module.check_mode and not os.path.exists(given["socket"]):
            # A check of a new balancer has configured nothing; there, a node is in service from the start.
            result = {"changed": given["state"] != haproxy.READY, "sessions": 0, "waited": 0.0}
        else:
            result = change_member(module, Runtime(given["socket"]))
        module.exit_json(**result)


if __name__ == "__main__":
    main()
