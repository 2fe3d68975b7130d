# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: migration_plan
short_description: What remains to be done of a migration from HA to one node, or of the way back
version_added: 1.0.0
description:
  - Takes what was found on every host and returns the phases that lead from there to one node alone or, before the
    switch, back to the cluster; or why none of them may be taken. Nothing is remembered between runs, so that the same
    command goes on from wherever an earlier run was cut off.
options:
  _input:
    description:
      - What was found. By node C(nodes) (RV(rspm.ha.node_info#module:node), empty where it could not be reached),
        C(silent) (why it could not), C(records) and C(sessions) (the results of M(rspm.ha.migration_record) and
        M(rspm.ha.database_sessions)). C(balancers), a list of RV(rspm.ha.lb_member#module:members);
        C(balancer_command); C(lock), the result of M(rspm.ha.cluster_lock); C(database), the name of its host;
        C(database_hosts), C(storage_hosts) and C(balancer_hosts), those of the inventory; C(storage_path),
        C(data_dir), C(config), C(allow_unlicensed).
    type: dict
    required: true
  choices:
    description: What the team chose; C(target), C(load_balancer), C(data), C(data_dir) and C(database).
    type: dict
    required: true
  abort:
    description: Whether the old cluster is to be started again.
    type: bool
    default: false
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show what remains to be done
  ansible.builtin.debug:
    msg: "{{ migration_observed | rspm.ha.migration_plan(migration_choices) }}"
"""

RETURN = r"""
_value:
  description:
    - The node that stays, its version, the phases with their steps by host, how far the migration has come
      (C(record)), what a migration that is given up may have copied (C(copied)), and the problems that are in the
      way, as text.
  type: dict
  sample:
    target: node1
    version: 2026.08.0
    phases: [{"name": "lock", "steps": {"": "take_lock"}}]
    record: absent
    copied: {data_dir: "", databases: false}
    problems: []
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.model import Refusal
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import Plan
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.observe import observe, options_of
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.plan import plan_abort, plan_migration


def migration_plan(found: Mapping[str, Any], choices: Mapping[str, Any], abort: bool = False) -> dict[str, Any]:
    """Return the plan as plain data, with the problems that are in its way."""
    seen = observe(found)
    outcome = plan_abort(seen) if abort else plan_migration(seen, options_of(choices))
    record = seen.record.state.value
    if isinstance(outcome, Refusal):
        return {**Plan().to_dict(), "record": record, "problems": [str(problem) for problem in outcome.problems]}
    was = seen.record.options if abort else None
    copied = {"data_dir": was.data_dir if was and was.move_data else "", "databases": bool(was and was.move_databases)}
    return {**outcome.to_dict(), "record": record, "copied": copied, "problems": []}


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"migration_plan": migration_plan}
