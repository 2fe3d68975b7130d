# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: problem_table
short_description: The problems of all hosts, as a table
version_added: 1.0.0
description:
  - Takes what the modules of this collection found on each host, and returns the lines of a table for a person.
  - What several hosts have in common is one row, with the names of all of them.
options:
  _input:
    description: The problems of each host, by its name.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show the problems
  rspm.ha.report:
    lines: "{{ problems | rspm.ha.problem_table }}"
  vars:
    problems:
      node1: "{{ hostvars['node1']['preflight_node']['problems'] }}"
"""

RETURN = r"""
_value:
  description: The lines, with a heading; none where there is no problem.
  type: list
  elements: str
  sample:
    - "host   check       what was found, and what to do"
    - "node1  free-space  /var has 20 MiB free, 1024 MiB are needed."
    - "                   -> Make room on this host, and run the playbook again."
"""

from collections.abc import Callable

from ansible_collections.rspm.ha.plugins.plugin_utils._preflight.rules import problem_table


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filter."""
        return {"problem_table": problem_table}
