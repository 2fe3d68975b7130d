# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: single_node_inventory
short_description: The inventory of what was a cluster and is one node now
version_added: 1.0.0
description:
  - Returns the files of the inventory for afterwards. Files of variables are taken over as they are, so that vaults
    stay vaults; what differs is in one more file that is read last. A secret that stood in no file is not written, but
    named.
options:
  _input:
    description:
      - C(target), C(target_address), C(address), C(load_balancer), C(data), C(data_dir), C(database); C(groups), the
        hosts of each group so far; C(connections), values by variable and host; C(memberships), the groups of each
        host; C(files), what M(ansible.builtin.slurp) read, and C(folders), where inventories lie; C(pinned), variables
        that no file sets; C(secret), names of secrets that no file sets.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: The files are known
  ansible.builtin.debug:
    msg: "{{ migration_inventory_facts | rspm.ha.single_node_inventory }}"
"""

RETURN = r"""
_value:
  description: The text of each file by its path.
  type: dict
  sample: {"hosts.yml": "..."}
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._migration_inventory import inventory_files, texts_of


def single_node_inventory(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the files."""
    return inventory_files({**given, "files": texts_of(given["files"], given["folders"])})


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"single_node_inventory": single_node_inventory}
