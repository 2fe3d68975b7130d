#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: clock_sync
short_description: Synchronise the clock of this host with chrony
version_added: 1.0.0
description:
  - Writes chrony's configuration where one is given, has the service enabled and running with the time sources that
    were asked for, disables other daemons that steer the clock, and waits until the clock is right.
  - Does not take chronyd's word for it, since a chronyd that was at work while the clock was set believes for minutes
    that all is well. C(chronyd -Q) measures the clock against its sources during the call, and a clock that is off is
      stepped.
options:
  node:
    description: Name of this host, for messages.
    type: str
    required: true
  servers:
    description:
      - NTP servers that chronyd has to use, and no others. With an empty list its configuration is left as it is.
    type: list
    elements: str
    default: []
  config_path:
    description: Where chrony's configuration lies; written only with O(config).
    type: path
    default: /etc/chrony/chrony.conf
  config:
    description: Chrony's configuration. With an empty one the file is left as it is.
    type: str
    default: ""
  service:
    description: Name of chrony's systemd unit.
    type: str
    default: chrony
  limit:
    description: How far the clock may be off, in seconds.
    type: float
    default: 0.5
  timeout:
    description: For how many seconds to wait until the clock is right.
    type: int
    default: 60
  controller_time:
    description:
      - Seconds since 1970 on the machine that runs Ansible. Used only to say about how far off a clock is when no NTP
        server answers.
    type: float
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  check_mode:
    description: Reports what would be written, started, or stepped. Does not wait.
  diff_mode:
    description: Shows the configuration before and after.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Synchronise the clock with the distribution's time servers
  rspm.ha.clock_sync:
    node: "{{ inventory_hostname }}"

- name: Synchronise the clock with our own time servers
  rspm.ha.clock_sync:
    node: "{{ inventory_hostname }}"
    servers: [ntp1.example.com, ntp2.example.com]
    config: "{{ lookup('ansible.builtin.template', 'chrony.conf.j2') }}"
    controller_time: "{{ now(fmt='%s.%f') }}"
  register: clock
"""

RETURN = r"""
synchronised:
  description: Whether the clock is followed and within the limit; in check mode as it is now.
  returned: success
  type: bool
  sample: true
offset:
  description: Seconds to be added to the clock to get the time of the source; null where it could not be measured.
  returned: success
  type: float
  sample: 0.00021
stratum:
  description: Distance to a reference clock in hops; null where chronyd does not run.
  returned: success
  type: int
  sample: 3
source:
  description: The time source that the offset was measured with; empty for none.
  returned: success
  type: str
  sample: 192.0.2.7
actions:
  description: What was done, or in check mode would be, in this order.
  returned: success
  type: list
  elements: str
  sample: ["configure", "restart", "step"]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "clock", "found": "The clock of node2 is 61.2 s off and no NTP server answers: 192.0.2.7",
           "why": "...", "fix": "..."}]
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._clock import host as clock_host
from ansible_collections.rspm.ha.plugins.module_utils._clock.rules import (
    ClockState,
    chrony_missing,
    decide_clock,
    judge_clock,
    sources_differ,
    units_in_the_way,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner, module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, raise_any

# chronyd's first measurements (iburst) take about 7 s
SETTLE_SECONDS = 12


class Clock:
    """The clock of this host during one call."""

    def __init__(self, module: AnsibleModule, run: Runner) -> None:
        self.module, self.run, self.params = module, run, module.params
        self.actions: list[str] = []
        self.diff: dict[str, str] = {}

    def act(self, action: str, work: Any, *args: Any) -> None:
        """Do work, except in check mode, and take down its name."""
        self.actions.append(action)
        if not self.module.check_mode:
            work(*args)

    def configure(self) -> None:
        """Bring the configuration and the services into the wanted state."""
        service, wanted = self.params["service"], self.params["config"]
        units = clock_host.read_units(self.run, service)
        unit_state = units.get(f"{service}.service")
        # a check finds none on a new machine, where it is to be installed before
        if (unit_state is None or unit_state.load == "not-found") and not self.module.check_mode:
            raise DomainError(chrony_missing(self.params["node"], service))
        restart = False
        if wanted:
            path = self.params["config_path"]
            before = read_text(path) or ""
            if before != wanted:
                restart = True
                self.diff = {"before": before, "after": wanted, "before_header": path, "after_header": path}
                self.act("configure", write_file, path, wanted, 0o644)
        for unit in units_in_the_way(units):
            self.act(f"disable {unit}", clock_host.disable_unit, self.run, unit)
        if unit_state is None or unit_state.enablement not in ("enabled", "enabled-runtime", "alias"):
            self.act("enable", clock_host.enable_service, self.run, service)
        if unit_state is None or unit_state.active != "active":
            self.act("start", clock_host.restart_service, self.run, service)
            return
        names = clock_host.read_source_names(self.run)
        if restart or (names is not None and sources_differ(self.params["servers"], names)):
            self.act("restart", clock_host.restart_service, self.run, service)

    def settle(self) -> ClockState:
        """Wait until the clock is right, or the time is over; step it where it is off."""
        limit, service = self.params["limit"], self.params["service"]
        started = time.monotonic()
        restart_from = started + SETTLE_SECONDS if {"start", "restart"} & set(self.actions) else started
        asked = False
        while True:
            state = clock_host.read_clock(self.run)
            decision = decide_clock(state, limit)
            now = time.monotonic()
            if decision == "nothing" or self.module.check_mode or now - started > self.params["timeout"]:
                if self.module.check_mode and decision in ("step", "restart"):
                    self.actions.append("step")
                return state
            lost = decision == "wait" and state.offset is not None and now >= restart_from + SETTLE_SECONDS
            if decision == "wait" and not asked:
                asked = True
                clock_host.ask_sources(self.run)
            if decision == "step":
                self.act("step", clock_host.step_clock, self.run)
            elif lost or (decision == "restart" and now >= restart_from):
                self.act("restart", clock_host.restart_service, self.run, service)
                restart_from = now + SETTLE_SECONDS
            time.sleep(1)

    def bring_up(self) -> dict[str, Any]:
        """Return the module's result, or raise DomainError."""
        sent, arrived = self.params["controller_time"], time.time()
        began = time.monotonic()
        self.configure()
        state = self.settle()
        elsewhere = None if sent is None else sent - arrived
        waited = time.monotonic() - began
        servers = clock_host.read_source_names(self.run) or [source.name for source in state.sources]
        problems = judge_clock(self.params["node"], state, self.params["limit"], servers, elsewhere, waited)
        if not self.module.check_mode:
            raise_any(problems)
        return {
            "changed": bool(self.actions),
            "synchronised": not problems,
            "offset": state.offset,
            "stratum": state.tracking.stratum if state.tracking else None,
            "source": state.measured_with,
            "actions": self.actions,
            "diff": self.diff,
        }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "servers": {"type": "list", "elements": "str", "default": []},
            "config_path": {"type": "path", "default": "/etc/chrony/chrony.conf"},
            "config": {"type": "str", "default": ""},
            "service": {"type": "str", "default": "chrony"},
            "limit": {"type": "float", "default": 0.5},
            "timeout": {"type": "int", "default": 60},
            "controller_time": {"type": "float"},
        },
        supports_check_mode=True,
    )
    with problems_told(module):
        module.exit_json(**Clock(module, module_runner(module)).bring_up())


if __name__ == "__main__":
    main()
