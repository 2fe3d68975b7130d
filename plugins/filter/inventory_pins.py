# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_pins
short_description: Which variables an inventory of files would miss
version_added: 1.0.0
description:
  - Returns which of the collection's variables no file of variables sets, such as those of a command line - those that
    can be written into a file, and secrets, which can't.
options:
  _input:
    description: Names of all variables that hold now.
    type: list
    elements: str
    required: true
  files:
    description: The files of variables, as M(ansible.builtin.slurp) read them.
    type: list
    elements: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: They are known
  ansible.builtin.debug:
    msg: "{{ ['rspm_version'] | rspm.ha.inventory_pins([]) }}"
"""

RETURN = r"""
_value:
  description: Names, C(plain) and C(secret).
  type: dict
  sample: {"plain": ["rspm_version"], "secret": []}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._migration_inventory import pinned_names, texts_of


def inventory_pins(names: Sequence[str], files: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the names."""
    return pinned_names(names, list(texts_of(files, ["/"]).values()))


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"inventory_pins": inventory_pins}
