# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: upgrade_outline
short_description: A plan of an ordered upgrade, for a person
version_added: 1.0.0
description:
  - Returns a line for each phase that remains, with what is done on which node.
options:
  _input:
    description: What P(rspm.ha.upgrade_plan#filter) returned.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ plan | rspm.ha.upgrade_outline }}"
  vars:
    plan: {first: "", from_version: "", to_version: 2026.08.0, gives_up: "", phases: []}
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["From 2026.04.0 to 2026.08.0; node1 goes first.", "lock  take lock"]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.report import outline


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"upgrade_outline": outline}
