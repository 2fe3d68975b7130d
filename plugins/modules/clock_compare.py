#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: clock_compare
short_description: Check that the clocks of several hosts agree
version_added: 1.0.0
description:
  - Fails when the clocks of two hosts differ by more than a limit, and names all hosts with their offsets.
  - Reads nothing from the host; it compares what M(rspm.ha.clock_sync) measured.
options:
  offsets:
    description: Offset of each host in seconds, by host, as RV(rspm.ha.clock_sync#module:offset) gives it.
    type: dict
    required: true
  limit:
    description: How far two clocks may be apart, in seconds.
    type: float
    default: 0.5
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check that the clocks of the nodes agree
  rspm.ha.clock_compare:
    offsets:
      node1: 0.0002
      node2: -0.0011
    limit: 0.5
"""

RETURN = r"""
spread:
  description: Seconds between the two clocks that are furthest apart.
  returned: success
  type: float
  sample: 0.0013
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "clocks-agree", "found": "The clocks of node1 and node2 differ", "why": "...", "fix": "..."}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._clock.rules import compare_clocks
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, raise_any


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "offsets": {"type": "dict", "required": True},
            "limit": {"type": "float", "default": 0.5},
        },
        supports_check_mode=True,
    )
    try:
        offsets = {host: float(offset) for host, offset in module.params["offsets"].items()}
        raise_any(compare_clocks(offsets, module.params["limit"]))
        values = list(offsets.values())
        module.exit_json(changed=False, spread=max(values) - min(values) if values else 0.0)
    except DomainError as error:
        module.fail_json(**error.to_result())


if __name__ == "__main__":
    main()
