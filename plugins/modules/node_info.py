#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_info
short_description: Read what a node is and what it runs
version_added: 1.0.0
description:
  - Observes one node in one call, and changes nothing. It tells of the package, unit, processes, version and health
    of the running server, configuration against what the process was started with, encryption key, mount, clock,
    and free space.
  - A folder on shared storage whose server does not answer makes it slower by a few seconds and is left out; it
    does not make it fail.
options:
  api_timeout:
    description: For how many seconds to wait for each of the two answers of the running server.
    type: float
    default: 5
  settle_timeout:
    description:
      - For how many seconds to wait, before the node is observed, for a step of an earlier run to end. Such a step goes
        on where its controller is gone, and what is observed beside it changes.
    type: float
    default: 0
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Read the state of the node
  rspm.ha.node_info:
  register: observed

- name: Wait for an earlier run's step to end, then read the state of the node
  rspm.ha.node_info:
    settle_timeout: 600
  register: observed

- name: Show the reasons for a restart
  ansible.builtin.debug:
    var: observed.node.restart_reasons
"""

RETURN = r"""
node:
  description: The node's state.
  returned: success
  type: dict
  contains:
    host:
      description: The node's own host name.
      type: str
      sample: node1
    package:
      description: The package manager's view.
      type: dict
      contains:
        version:
          description: Installed version, empty where there is none.
          type: str
          sample: 2026.08.0
        status:
          description: C(absent), C(installed), or C(broken) after an installation that was cut off.
          type: str
          sample: installed
        held:
          description: Whether updates leave it alone.
          type: bool
          sample: true
        configured_version:
          description: The version that was last installed without an error, empty where there was none.
          type: str
          sample: 2026.08.0
    unit:
      description: The unit C(rstudio-pm).
      type: dict
      contains:
        load_state:
          description: C(loaded), C(not-found) or C(masked).
          type: str
          sample: loaded
        file_state:
          description: C(enabled), C(disabled) or C(masked).
          type: str
          sample: enabled
        active_state:
          description: C(active), C(inactive), C(activating) or C(failed).
          type: str
          sample: active
        sub_state:
          description: More of the same, such as C(running) or C(auto-restart).
          type: str
          sample: running
        pid:
          description: Main process, 0 where there is none.
          type: int
          sample: 812
        started_at:
          description: When it started, in seconds since 1970, 0 where there is none.
          type: float
          sample: 1795550000.1
        stopped_at:
          description: When its last process since the boot ended, in seconds since 1970, 0 where none did or one runs.
          type: float
          sample: 0
        restarts:
          description: Automatic restarts since the last start by hand.
          type: int
          sample: 0
        need_daemon_reload:
          description: Whether systemd has read older unit files than there are.
          type: bool
          sample: false
        condition_failed:
          description: Whether the last start was skipped by a condition.
          type: bool
          sample: false
        control_group:
          description: The unit's control group.
          type: str
          sample: /system.slice/rstudio-pm.service
        blocked_for:
          description: Why the collection keeps it from starting, empty where it does not.
          type: str
          sample: ""
    api:
      description: What the server answers on its own machine.
      type: dict
      contains:
        url:
          description: What was asked.
          type: str
          sample: http://127.0.0.1:4242
        health_code:
          description: HTTP status of C(/__ping__), 0 where nothing answered.
          type: int
          sample: 200
        version:
          description: Version in C(/__api__/status), empty where it says none.
          type: str
          sample: 2026.08.0
        error:
          description: Why nothing answered, empty where something did.
          type: str
          sample: ""
        starting:
          description: Whether C(/__ping__) answers and C(/__api__/status) does not yet.
          type: bool
          sample: false
    config:
      description: The configuration on disk, and what the process was started with.
      type: dict
      contains:
        config_hash:
          description: Equal on all nodes with the same configuration, empty where there is none.
          type: str
          sample: 9f2c4e0b7a53f0c6a9d1c0f5f8e3b7d24c1a9e6d5b8f0a7c3e2d1b4a6f9c8e70
        data_dir:
          description: Server.DataDir.
          type: str
          sample: /mnt/rstudio-pm/data
        key_path:
          description: Where the encryption key lies.
          type: str
          sample: /mnt/rstudio-pm/data/rstudio-pm.key
        key_hash:
          description: SHA-256 of the key file, empty where there is none.
          type: str
          sample: b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9
    processes:
      description: Every process of the server, whoever started it.
      type: list
      elements: int
      sample: [812]
    running:
      description: Whether there is a process.
      type: bool
      sample: true
    running_version:
      description: Version of the process by its API, else by its executable where that is still the installed one.
      type: str
      sample: 2026.08.0
    masked:
      description: Whether neither a person nor a package's scripts nor a reboot can start it, by any means.
      type: bool
      sample: false
    restart_needed:
      description: Whether what runs is not what is installed and configured.
      type: bool
      sample: false
    restart_reasons:
      description: Why.
      type: list
      elements: str
      sample: []
    start_needed:
      description:
        - Whether M(rspm.ha.node_start) would do something or wait. A server that answers 402, since it has no licence,
          needs no start for that.
      type: bool
      sample: false
    listening:
      description: Addresses that the server's processes listen at.
      type: list
      elements: str
      sample: ["*:4242"]
    binary_changed_at:
      description: When the server's executable was put in place, in seconds since 1970, 0 where there is none.
      type: float
      sample: 1795540000.2
    mount:
      description: What the data directory lies on.
      type: dict
      contains:
        mount_point:
          description: Where it is mounted.
          type: str
          sample: /mnt/rstudio-pm
        fstype:
          description: File system.
          type: str
          sample: nfs4
        source:
          description: What is mounted.
          type: str
          sample: nfs1:/srv/rstudio-pm
        options:
          description: Options in force.
          type: list
          elements: str
          sample: [rw, lookupcache=pos, vers=4.2]
    clock:
      description: The clock as chronyd has it, null where no chronyd answers.
      type: dict
      contains:
        synchronised:
          description: Whether chronyd follows another clock.
          type: bool
          sample: true
        offset:
          description: Seconds that it still corrects.
          type: float
          sample: 0.000013
        source:
          description: What it follows.
          type: str
          sample: 192.0.2.5
    free_bytes:
      description: Free bytes by folder.
      type: dict
      sample: {"/": 9000000000, "/mnt/rstudio-pm/data": 90000000000}
    staged:
      description: Package files in the staging folder.
      type: list
      elements: str
      sample: [rstudio-pm_2026.08.0_amd64.deb]
    busy:
      description: The step of an earlier run that was at work when the node was observed, empty where there was none.
      type: str
      sample: stop, pid 4711
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "operating-system", "found": "...", "why": "...", "fix": "..."}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._node.host import load_node


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "api_timeout": {"type": "float", "default": 5},
            "settle_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    given = module.params
    with problems_told(module):
        node = load_node(module_runner(module), given["api_timeout"], given["settle_timeout"])
        module.exit_json(changed=False, node=node.to_dict())


if __name__ == "__main__":
    main()
