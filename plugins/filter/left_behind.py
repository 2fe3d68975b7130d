# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: left_behind
short_description: Why an inventory must not be used, by what earlier runs have left on its nodes
version_added: 1.0.0
description:
  - Takes what M(rspm.ha.migration_record) or RV(rspm.ha.host_preflight#module:left) tells of each node, and returns the
    problem of an inventory whose cluster a migration to one node has left behind, or is about to. One node that can
    tell is enough.
  - Before a run that takes the lock by itself, C(preflight) and C(site), it also is the lock that another run holds.
options:
  _input:
    description: By node what it tells; empty for one that tells nothing.
    type: dict
    required: true
  verb:
    description: The playbook that runs.
    type: str
    required: true
  settings:
    description: What the inventory says; C(storage_path), C(data_dir) and C(database).
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stop where a migration has left this inventory behind
  ansible.builtin.fail:
    msg: "{{ problems | rspm.ha.problem_report | join('\\n') }}"
  when: problems | length > 0
  vars:
    problems: >-
      {{ found | rspm.ha.left_behind('upgrade', {'storage_path': '/mnt/rstudio-pm', 'data_dir': '/mnt/rstudio-pm/data',
                                                 'database': 'db1.example.org'}) }}
"""

RETURN = r"""
_value:
  description: By node, problems with check, found, why and fix; empty where nothing is in the way.
  type: dict
  sample: {}
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import identify
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.left import Settings, judge_left, judge_lock, left_of

# The others see the lock in their plan.
_LOCK_IS_TOLD = ("preflight", "site")


def left_behind(
    found: Mapping[str, Mapping[str, Any]], verb: str, settings: Mapping[str, str]
) -> dict[str, list[dict[str, str]]]:
    """Return the problems by node, nothing where there are none."""
    given = {name: str(settings.get(name, "")) for name in ("storage_path", "data_dir", "database")}
    problems = [problem.to_dict() for problem in judge_left(left_of(found), Settings(**given), verb)]
    locked: Mapping[str, Any] = next((result for result in found.values() if result.get("lock")), {})
    if locked and verb in _LOCK_IS_TOLD and not problems:
        me = identify(str(locked["lock"]["holder"]))
        over = bool(locked.get("over"))
        problems = [problem.to_dict() for problem in judge_lock(locked["lock"], me["holder"], me["holder_gone"], over)]
    return dict.fromkeys(found, problems) if problems else {}


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., dict[str, list[dict[str, str]]]]]:
        """Return the filter."""
        return {"left_behind": left_behind}
