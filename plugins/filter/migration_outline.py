# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: migration_outline
short_description: The plan of a migration to one node as lines for a person
version_added: 1.0.0
description:
  - Returns what moves and how long that is likely to take, then a line for each phase that remains.
options:
  _input:
    description: What P(rspm.ha.migration_plan#filter) returned.
    type: dict
    required: true
  choices:
    description: What the team chose; C(target), C(load_balancer), C(data), C(data_dir) and C(database).
    type: dict
    required: true
  found:
    description:
      - What there is to move. C(data), what M(rspm.ha.tree_copy) predicts, and C(databases), what
        M(rspm.ha.database_copy) observed; each may be left out.
    type: dict
    default: {}
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ {'target': '', 'version': '', 'phases': []} | rspm.ha.migration_outline({}) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["node1 stays, with rstudio-pm 2026.08.0.", "lock  take lock"]
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._migration.report import outline


def migration_outline(
    plan: Mapping[str, Any], choices: Mapping[str, Any], found: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the lines."""
    return outline(plan, choices, found or {})


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"migration_outline": migration_outline}
