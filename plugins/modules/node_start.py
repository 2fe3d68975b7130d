#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_start
short_description: Start the wanted version as configured, and wait until the node is healthy
version_added: 1.0.0
description:
  - Enables the unit, and starts it where nothing runs, or restarts it where what runs was started with another
    configuration or is another version. Ends the block that M(rspm.ha.server_package) made. Then waits for health.
  - Healthy is a node that answers 200 at C(/__ping__) and says the wanted version at C(/__api__/status).
  - Takes nothing out of the load balancer; whether a restart is needed, M(rspm.ha.node_info) says before.
  - Refuses where a step of an earlier run, whose controller may be gone, is still at work on the node.
options:
  version:
    description: Product version that must run. It must be the one that is installed.
    type: str
    required: true
  restart_predicted:
    description:
      - In check mode, RV(rspm.ha.server_config#module:needs_restart), since nothing was written that could be seen.
    type: bool
    default: false
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.node.start
attributes:
  check_mode:
    description: Reports what would be done. Waits for nothing.
  diff_mode:
    description: Shows what runs before and after.
  idempotent:
    description: Does nothing where the wanted version runs as configured.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Start the wanted version
  rspm.ha.node_start:
    version: 2026.08.0
"""

RETURN = r"""
action:
  description: What was, or would be, done. C(none), C(start) or C(restart).
  returned: success
  type: str
  sample: restart
reasons:
  description: Why.
  returned: success
  type: list
  elements: str
  sample: [/etc/rstudio-pm/rstudio-pm.gcfg changed since it started]
version:
  description: The version that the server says it runs, empty in check mode, or where it says none.
  returned: success
  type: str
  sample: 2026.08.0
health_code:
  description: HTTP status of C(/__ping__).
  returned: success
  type: int
  sample: 200
seconds:
  description: Seconds from the start until it was healthy.
  returned: success
  type: float
  sample: 3.2
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "node-health", "found": "node2 is not healthy after 300 s ...", "why": "...", "fix": "..."}]
"""

import socket
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.host_work import node_work
from ansible_collections.rspm.ha.plugins.module_utils._node.host import load_service
from ansible_collections.rspm.ha.plugins.module_utils._service.host import carry_out, wait_for_health
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import decide_start


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do the work and return the result."""
    runner = module_runner(module)
    wanted, unlicensed = module.params["version"], module.params["allow_unlicensed"]
    now = load_service(runner)
    decision = decide_start(
        now.package,
        now.unit,
        now.api,
        now.config,
        wanted,
        planning=module.check_mode,
        predicted=module.params["restart_predicted"],
    )
    api, seconds = now.api, 0.0
    if not module.check_mode:
        carry_out(runner, decision)
        if decision.action != "none" or not now.api.healthy(unlicensed):
            api, seconds = wait_for_health(
                runner,
                socket.gethostname(),
                wanted,
                allow_unlicensed=unlicensed,
                timeout=module.params["health_timeout"],
            )
    before = f"running {now.api.version or 'an unknown version'}" if now.unit.running else "not running"
    after = f"running {wanted}" if decision.action != "none" else before
    return {
        "changed": decision.changes,
        "action": decision.action,
        "reasons": list(decision.reasons),
        "version": api.version,
        "health_code": api.health_code,
        "seconds": round(seconds, 1),
        "diff": {
            "before": f"{before}{'' if now.unit.enabled else ', not enabled'}\n",
            "after": f"{after}{', restarted' if decision.action == 'restart' else ''}\n",
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "allow_unlicensed": {"type": "bool", "default": False},
            "health_timeout": {"type": "int", "default": 300},
            "restart_predicted": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    with problems_told(module), node_work("start", module.check_mode):
        module.exit_json(**run(module))


if __name__ == "__main__":
    main()
