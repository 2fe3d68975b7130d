# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: migration_report
short_description: What a migration to one node did
version_added: 1.0.0
description:
  - Puts together what the run noted, with timeline, what was moved, the outage that a client saw, and what is left of
    the old cluster with the commands that remove it.
options:
  _input:
    description: What the run noted, as the role C(migration) gathers it.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show the report
  ansible.builtin.debug:
    msg: "{{ (run | rspm.ha.migration_report).table }}"
  vars:
    run:
      purpose: migrate
      outcome: nothing to do
      plan: {target: node1, version: 2026.08.0, phases: []}
      choices: {target: node1, load_balancer: keep, data: keep, data_dir: "", database: keep}
      record: finished
      began: "2026-11-24T05:50:01Z"
      done: []
      failures: {}
      at: ""
      seen: {}
      data: {}
      databases: {}
      left: {}
"""

RETURN = r"""
_value:
  description: The report, with C(table), the lines for a person, and C(says), how it ended and what to type next.
  type: dict
  sample: {"purpose": "migrate", "outcome": "done", "target": "node1"}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._migration.report import report


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"migration_report": report}
