#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: service_probe
short_description: Measure what a client observes of the service while it is worked on
version_added: 1.0.0
description:
  - Asks O(url) again and again, one request at a time, each on a connection of its own, without redirections and
    proxies, and tells when it was not served.
  - An outage lasts from the start of the first request that failed to the end of the first one served after it. A
    request that gets no answer counts from its start.
  - Goes on until the file O(marker) is removed, so run it with C(async) and C(poll=0), on the load balancer's host.
    SIGTERM ends it with its result too. A request that is under way is finished.
  - Whatever the service does, it does not fail.
options:
  url:
    description: What is asked, with C(http) or C(https).
    type: str
    required: true
  marker:
    description:
      - File that the probe writes its process id to, and in that moment begins. It ends when the file is removed or
        holds another id. So a new probe takes the place of one that an earlier run has left.
      - The probe removes the file itself where it ends for another reason. Its folder must be there.
    type: path
    required: true
  interval:
    description: Seconds from the start of a request to that of the next. Those that a slow one delays are left out.
    type: float
    default: 0.1
  timeout:
    description: Seconds after which a request without a complete answer has failed.
    type: float
    default: 5
  limit:
    description: Seconds after which the probe ends by itself.
    type: float
    default: 7200
  codes:
    description: HTTP statuses that count as served.
    type: list
    elements: int
    default: [200]
  validate_certs:
    description: Whether the certificate of an C(https) service is checked.
    type: bool
    default: true
extends_documentation_fragment:
  - rspm.ha.attributes.looks
attributes:
  check_mode:
    description: Asks nothing, writes nothing, and returns zeros.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Begin to measure what clients observe
  rspm.ha.service_probe:
    url: http://127.0.0.1/__ping__
    marker: ~/.rspm-ha-probe
  async: 7300
  poll: 0
  register: rspm_probe

- name: Tell the measurement to end
  ansible.builtin.file:
    path: ~/.rspm-ha-probe
    state: absent

- name: Read what clients observed
  ansible.builtin.async_status:
    jid: "{{ rspm_probe.ansible_job_id }}"
  register: rspm_measured
  until: rspm_measured is finished
  retries: 20
  delay: 1
"""

RETURN = r"""
samples:
  description: How many requests were made.
  returned: success
  type: int
  sample: 642
failures:
  description: How many of them were not served.
  returned: success
  type: int
  sample: 71
outages:
  description: The outages in their order, at most 100 of them.
  returned: success
  type: list
  elements: dict
  contains:
    from:
      description: When the first request that failed began, in UTC.
      type: str
      sample: "2026-11-24T05:50:01.123Z"
    to:
      description: When the first one served after it had ended, in UTC. Where there was none, when the last one ended.
      type: str
      sample: "2026-11-24T05:50:08.327Z"
    seconds:
      description: How long that was.
      type: float
      sample: 7.204
    said:
      description: What came instead, the HTTP status or the name of the error, each once, separated by commas.
      type: str
      sample: 503, TimeoutError
more_outages:
  description: How many more outages there were than RV(outages) has.
  returned: success
  type: int
  sample: 0
longest_seconds:
  description: Seconds of the longest outage.
  returned: success
  type: float
  sample: 7.204
total_seconds:
  description: Seconds of all outages together.
  returned: success
  type: float
  sample: 7.204
from:
  description: When the first request began, in UTC; empty where there was none.
  returned: success
  type: str
  sample: "2026-11-24T05:49:41.120Z"
to:
  description: When the last request had ended, in UTC; empty where there was none.
  returned: success
  type: str
  sample: "2026-11-24T05:50:45.301Z"
still_down:
  description: Whether the last request was not served.
  returned: success
  type: bool
  sample: false
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "service-probe", "found": "the marker /run/x can't be written ...", "why": "...", "fix": "..."}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import raise_any
from ansible_collections.rspm.ha.plugins.module_utils._probe.host import Client, Marker, load_samples
from ansible_collections.rspm.ha.plugins.module_utils._probe.rules import (
    Measurement,
    judge_times,
    measure,
    parse_target,
)


def run(module: AnsibleModule) -> Measurement:
    """Measure, and return what was measured."""
    given = module.params
    target = parse_target(given["url"])
    raise_any(judge_times(**{name: given[name] for name in ("interval", "timeout", "limit")}))
    if module.check_mode:
        return Measurement()
    marker = Marker(given["marker"], given["limit"])
    marker.set()
    try:
        client = Client(target, given["timeout"], given["codes"], given["validate_certs"])
        return measure(load_samples(client, marker, given["interval"]))
    finally:
        marker.clear()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "marker": {"type": "path", "required": True},
            "interval": {"type": "float", "default": 0.1},
            "timeout": {"type": "float", "default": 5},
            "limit": {"type": "float", "default": 7200},
            "codes": {"type": "list", "elements": "int", "default": [200]},
            "validate_certs": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    with problems_told(module):
        module.exit_json(changed=False, **run(module).to_dict())


if __name__ == "__main__":
    main()
