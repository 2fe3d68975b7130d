# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_plan
short_description: What remains to be done of an ordered upgrade, or of the way back
version_added: 1.0.0
description:
  - Takes what was found on every host and returns the phases that lead from there to one version everywhere, or why
    none of them may be taken. Nothing is remembered between runs, so that the same command goes on from wherever an
    earlier run was cut off.
options:
  _input:
    description:
      - What was found. By node C(nodes) (RV(rspm.ha.node_info#module:node), empty where it could not be reached),
        C(silent) (why it could not), C(sessions) (the results of M(rspm.ha.database_sessions)), C(asked_versions),
        C(package_sources) and C(staged) (RV(rspm.ha.package_stage#module:path) of this run). C(balancers), a list
        of RV(rspm.ha.lb_member#module:members); C(balancer_command); C(database), the name of its host;
        C(allow_unlicensed); C(lock) and C(restore_point), the results of M(rspm.ha.cluster_lock) and
        M(rspm.ha.restore_point); C(saved), that of what a way back has saved before it; C(space), that of the restore
        point asked together with the databases, empty where nobody asked; C(now), seconds since 1970.
    type: dict
    required: true
  purpose:
    description: Which way.
    type: str
    choices: [upgrade, rollback]
    required: true
  target:
    description: Version that an upgrade leads to. A rollback leads to that of the restore point.
    type: str
    default: ""
  first:
    description: The node that goes first; by default one that serves.
    type: str
    default: ""
  mode:
    description: When that node stops.
    type: str
    choices: [first_serves_until_its_turn, stop_all_first]
    default: first_serves_until_its_turn
  rollback_to:
    description: When the restore point was made that a finished upgrade may be given up for.
    type: str
    default: ""
  phase:
    description: The phase that is about to begin, where a run looks anew.
    type: str
    default: ""
  expected:
    description: The phases from there on, as they were planned. What is to be done now must be the same.
    type: list
    elements: dict
    default: []
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show what remains to be done
  ansible.builtin.debug:
    msg: "{{ upgrade_observed | rspm.ha.upgrade_plan('upgrade', target='2026.08.0') }}"
"""

RETURN = r"""
_value:
  description:
    - The first node, the versions, the phases with their steps by host, a sentence on the writes that going back gives
      up, and the problems that are in the way, as text.
  type: dict
  sample:
    first: node1
    from_version: 2026.04.0
    to_version: 2026.08.0
    gives_up: ""
    phases: [{"name": "lock", "steps": {"": "take_lock"}}]
    problems: []
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Refusal
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import Mode, Options, Plan
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.observe import judge_drift, observe
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.plan import plan_rollback, plan_upgrade


def upgrade_plan(
    found: Mapping[str, Any],
    purpose: str,
    target: str = "",
    first: str = "",
    mode: str = Mode.FIRST_SERVES.value,
    rollback_to: str = "",
    phase: str = "",
    expected: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the plan as plain data, with the problems that are in its way."""
    seen, options = observe(found), Options(Mode(mode), first, rollback_to)
    outcome = plan_rollback(seen, options) if purpose == "rollback" else plan_upgrade(seen, target, options)
    if isinstance(outcome, Refusal):
        return {**Plan().to_dict(), "problems": [str(problem) for problem in outcome.problems]}
    plan = outcome.to_dict()
    drift = judge_drift(phase, expected, plan["phases"]) if phase else []  # type: ignore[arg-type]
    return {**plan, "problems": [str(problem) for problem in drift]}


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return the filter."""
        return {"upgrade_plan": upgrade_plan}
