#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_licence
short_description: Apply the licence of a node, or release it
version_added: 1.0.0
description:
  - Puts a licence file in place, activates a key, or names a licence server, where the node has no active licence yet.
    What somebody else has activated is left alone; a licence that this module applied is replaced by another one.
  - Restarts nothing. A file beside the unit's drop-in names the licence by a hash, so that M(rspm.ha.node_start)
    restarts a server that was started before it.
  - A licence file is best. It needs no server of the vendor, and nobody but root and the service's account sees it.
  - A key is an argument of the vendor's program, which has no other way to take one. While that runs, for some seconds
    once in a node's life, accounts of the machine can see it in the process list, unless C(/proc) is mounted with
    C(hidepid).
options:
  state:
    description:
      - V(present) applies the licence, before the first start.
      - V(absent) gives back the activation of a key, and removes the licence file that V(present) made. The lease of a
        licence server ends with the service.
    type: str
    choices: [present, absent]
    default: present
  key:
    description: A product key.
    type: str
  content:
    description: Text of a licence file.
    type: str
  server:
    description: >-
      Host and port of a licence server, as V(licences.example.org:8999). The configuration needs
      C(LicenseType = remote) in C([Licensing]) too.
    type: str
  timeout:
    description: Seconds that the vendor's program may take.
    type: int
    default: 120
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  check_mode:
    description: Looks at the licence, and says what would be done.
  diff_mode:
    description: Shows which kind of licence there is before and after, never the licence.
  idempotent:
    description: Does nothing where the node has its licence.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Apply the licence
  rspm.ha.node_licence:
    content: "{{ lookup('ansible.builtin.file', '/srv/licences/team.lic', rstrip=false) }}"
  no_log: true

- name: Release the licence
  rspm.ha.node_licence:
    state: absent
"""

RETURN = r"""
kind:
  description: The kind of licence that was applied, empty where none was.
  returned: success
  type: str
  sample: file
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "licence", "found": "license-manager activate ended with 1 ...", "why": "...", "fix": "..."}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner, module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._licence.host import apply, give_back, load_licence
from ansible_collections.rspm.ha.plugins.module_utils._licence.rules import (
    LicenceState,
    decide,
    not_installed,
    summary,
    wanted_licence,
)


def present(params: dict[str, Any], runner: Runner, check_mode: bool) -> dict[str, Any]:
    """Apply the licence where the node has none, and return the result."""
    wanted = wanted_licence(params["key"] or "", params["content"] or "", params["server"] or "")
    state = load_licence(runner)
    if state is None and wanted and not check_mode:
        raise DomainError(not_installed())
    before = state or LicenceState()
    changed = wanted is not None and decide(wanted, before)
    if wanted and changed and not check_mode:
        apply(runner, wanted, before, params["timeout"])
    kinds = {"file": "licence file", "key": "key", "server": f"licence server {params['server']}"}
    after = kinds[wanted.kind] if wanted and changed else summary(before)
    return {
        "changed": changed,
        "kind": wanted.kind if wanted and changed else "",
        "diff": {"before": f"{summary(before)}\n", "after": f"{after}\n"},
    }


def absent(params: dict[str, Any], runner: Runner, check_mode: bool) -> dict[str, Any]:
    """Give the licence back, and return the result."""
    state = load_licence(runner) or LicenceState()
    changed = state.key or state.ours is not None or bool(state.mark)
    if changed and not check_mode:
        give_back(runner, state, params["timeout"])
    after = "no licence" if changed else summary(state)
    return {"changed": changed, "kind": "", "diff": {"before": f"{summary(state)}\n", "after": f"{after}\n"}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "key": {"type": "str", "no_log": True},
            "content": {"type": "str", "no_log": True},
            "server": {"type": "str"},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    work = present if module.params["state"] == "present" else absent
    with problems_told(module):
        module.exit_json(**work(module.params, module_runner(module), module.check_mode))


if __name__ == "__main__":
    main()
