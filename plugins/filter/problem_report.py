# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: problem_report
short_description: The problems of all hosts, as lines for a person
version_added: 1.0.0
description:
  - Takes what the modules of this collection found on each host, and returns one line a problem.
  - What several hosts have in common is said once, with the names of all of them.
options:
  _input:
    description: The problems of each host, by its name.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stop if there are problems on any node
  ansible.builtin.fail:
    msg: "{{ problems | rspm.ha.problem_report }}"
  when: problems | rspm.ha.problem_report | length > 0
  vars:
    problems:
      node1: "{{ hostvars['node1']['preflight_node']['problems'] }}"
"""

RETURN = r"""
_value:
  description: One line a problem, with the hosts, what was found, why it matters, and what to type next.
  type: list
  elements: str
  sample: ["node1, node2: [free-space] /var has 20 MiB free, 1024 MiB are needed. ..."]
"""

from collections.abc import Callable

from ansible_collections.rspm.ha.plugins.plugin_utils._preflight.rules import report


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filter."""
        return {"problem_report": report}
