#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: server_package
short_description: Install and hold the wanted version of the package
version_added: 1.0.0
description:
  - Installs the staged package on a node that has none, and holds it, so that updates leave it alone.
  - The unit is blocked from starting before the package is installed, by a drop-in that outlives a reboot. The
    installer's own start does nothing, and a node cannot run before it is configured. M(rspm.ha.node_start) ends
    the block.
  - An installation that was cut off is finished by the next run. Where another version is installed, it refuses.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  version:
    description: Product version in full, as the vendor writes it.
    type: str
    required: true
  path:
    description: The staged package, RV(rspm.ha.package_stage#module:path). May be empty where the version is installed.
    type: path
    default: ""
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.node.packages
attributes:
  diff_mode:
    description: Shows the installed version and whether it is held.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stage the package on the node
  rspm.ha.package_stage:
    version: 2026.08.0
    checksum: sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9
  register: staged

- name: Install and hold the package
  rspm.ha.server_package:
    version: 2026.08.0
    path: "{{ staged.path }}"
"""

RETURN = r"""
before_version:
  description: The version that was installed before. Empty where that was nothing.
  returned: success
  type: str
  sample: ""
version:
  description: The version that is installed, as the package manager writes it.
  returned: success
  type: str
  sample: 2026.08.0
actions:
  description: What was, or would be, done, in that order.
  returned: success
  type: list
  elements: str
  sample: [block, install, hold]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "live-version", "found": "rstudio-pm 2025.12.0-14 is installed, ...", "why": "...", "fix": "..."}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, install_package, load_host
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import file_missing, plan_install
from ansible_collections.rspm.ha.plugins.module_utils._service.host import block, load_unit, stop
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import BLOCKED_FOR_INSTALL


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work and return the result."""
    wanted, path = module.params["version"], module.params["path"]
    runner = module_runner(module)
    tool = PackageTool(runner, load_host(), module.params["lock_timeout"])
    before = tool.state()
    plan = plan_install(before, wanted)
    if plan.install and not path:
        raise DomainError(file_missing(path))
    after_version = before.version if before.installed else wanted
    if not module.check_mode:
        if plan.install:
            block(runner, BLOCKED_FOR_INSTALL)
            after_version = install_package(tool, path, wanted, repair=plan.repair).version
            if load_unit(runner).running:
                stop(runner)
        if plan.hold:
            tool.hold()
    return {
        "changed": plan.changes,
        "before_version": before.version,
        "version": after_version,
        "actions": plan.actions(),
        "diff": {
            "before": f"rstudio-pm {before.version or 'absent'}{', held' if before.held else ''}\n",
            "after": f"rstudio-pm {after_version}, held\n",
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "path": {"type": "path", "default": ""},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    with problems_told(module), node_work("install", module.check_mode):
        module.exit_json(**run(module))


if __name__ == "__main__":
    main()
