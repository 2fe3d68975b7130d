# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_report
short_description: What an ordered upgrade did
version_added: 1.0.0
description:
  - Puts together what the run noted, with timeline, versions before and after, and the outage that a client saw.
options:
  _input:
    description: What the run noted, as the role C(upgrade) gathers it.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show the report
  ansible.builtin.debug:
    msg: "{{ (run | rspm.ha.upgrade_report).table }}"
  vars:
    run:
      purpose: upgrade
      outcome: nothing to do
      plan: {first: "", from_version: "", to_version: 2026.08.0, gives_up: "", phases: []}
      began: "2026-11-24T05:50:01Z"
      before: {}
      after: {}
      done: []
      failures: {}
      at: ""
      steps: {}
      seen: {}
      point: {}
      saved: ""
"""

RETURN = r"""
_value:
  description: The report, with C(table), the lines for a person, and C(says), how it ended and what to type next.
  type: dict
  sample: {"purpose": "upgrade", "outcome": "done", "from_version": "2026.04.0", "to_version": "2026.08.0"}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.report import report


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"upgrade_report": report}
