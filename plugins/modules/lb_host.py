#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lb_host
short_description: Check that the load balancer can run on a host beside what is there
version_added: 1.0.0
description:
  - Tells what of this host is somebody else's, where the load balancer of Package Manager is to run with a HAProxy
    process of its own. Changes nothing, and needs nothing but Python on the host.
  - Does not fail on a problem. The caller collects those of all hosts and then fails once.
options:
  port:
    description: Port at which users are to come in.
    type: int
    required: true
  config_file:
    description: The load balancer's own configuration of HAProxy.
    type: path
    default: /etc/haproxy/rspm.cfg
  unit_file:
    description: The unit that runs it.
    type: path
    default: /etc/systemd/system/rspm-haproxy.service
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check the load balancer's host
  rspm.ha.lb_host:
    port: 443
  register: load_balancer_host
"""

RETURN = r"""
problems:
  description: What is in the way, each with what is wrong, why it matters, and what to type next.
  returned: success
  type: list
  elements: dict
  sample:
    - check: load-balancer-port
      found: Port 80 is taken by nginx (pid 512, nginx.service)
      why: "..."
      fix: "..."
old_layout:
  description:
    - Whether C(haproxy.service) still is the load balancer, as an older version of this collection made it.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._load_balancer.host import read_configs, read_listeners
from ansible_collections.rspm.ha.plugins.module_utils._load_balancer.rules import (
    PACKAGE_CONFIG,
    is_old_layout,
    judge_host,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "port": {"type": "int", "required": True},
            "config_file": {"type": "path", "default": "/etc/haproxy/rspm.cfg"},
            "unit_file": {"type": "path", "default": "/etc/systemd/system/rspm-haproxy.service"},
        },
        supports_check_mode=True,
    )
    port: int = module.params["port"]
    listeners, configs = read_listeners(port), read_configs()
    own = {path: read_text(path) or "" for path in (module.params["config_file"], module.params["unit_file"])}
    module.exit_json(
        changed=False,
        problems=[problem.to_dict() for problem in judge_host(port, listeners, configs, own)],
        old_layout=is_old_layout(configs[PACKAGE_CONFIG], listeners),
    )


if __name__ == "__main__":
    main()
