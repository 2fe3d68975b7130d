#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: service_account
short_description: Create the service's user and group with fixed numeric ids
version_added: 1.0.0
description:
  - Makes a system group and a system user of the same name with the ids that they have on every node, and the home
    folder.
  - Refuses when an id belongs to somebody else, or when the account is there with another id. The ids of an account
    that owns data are never changed.
  - Leaves home and shell of an account that is there as they are.
options:
  name:
    description: Name of the user and of the group.
    type: str
    default: rstudio-pm
  uid:
    description: Numeric id of the user.
    type: int
    required: true
  gid:
    description: Numeric id of the group.
    type: int
    required: true
  home:
    description: Home folder, made with mode 0701 where it is missing.
    type: path
    default: /var/lib/rstudio-pm
  shell:
    description: Login shell of a user that is made.
    type: path
    default: /usr/sbin/nologin
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  check_mode:
    description: Reports what would be made, and refuses what would be refused.
  diff_mode:
    description: Shows the ids before and after.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Create the service account with its ids
  rspm.ha.service_account:
    uid: 940
    gid: 940
"""

RETURN = r"""
commands:
  description: The commands that were run, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: ["groupadd --system --gid 940 rstudio-pm"]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "account-ids", "found": "The user rstudio-pm has the id 998", "why": "...", "fix": "..."}]
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._storage.account import AccountRequest, plan_account
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_account import read_account


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "rstudio-pm"},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
            "home": {"type": "path", "default": "/var/lib/rstudio-pm"},
            "shell": {"type": "path", "default": "/usr/sbin/nologin"},
        },
        supports_check_mode=True,
    )
    wanted = AccountRequest(**module.params)
    run = module_runner(module)
    try:
        before = read_account(wanted)
        commands = plan_account(wanted, before)
        if not module.check_mode:
            for command in commands:
                run(command, check=True)
    except DomainError as error:
        module.fail_json(**error.to_result())
    after = {"uid": wanted.uid, "gid": wanted.gid, "group_gid": wanted.gid, "home_exists": True}
    module.exit_json(
        changed=bool(commands),
        commands=[" ".join(command) for command in commands],
        diff={"before": {name: asdict(before)[name] for name in after}, "after": after},
    )


if __name__ == "__main__":
    main()
