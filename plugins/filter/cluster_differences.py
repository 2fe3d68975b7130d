# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_differences
short_description: What the nodes of a cluster do not have in common
version_added: 1.0.0
description:
  - Compares version, configuration, encryption key and data directory of all nodes, as M(rspm.ha.node_info) found them.
options:
  _input:
    description: RV(rspm.ha.node_info#module:node) of each node, by its name.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check that the nodes are one cluster
  ansible.builtin.assert:
    that: nodes | rspm.ha.cluster_differences | length == 0
  vars:
    nodes:
      node1: "{{ hostvars['node1']['observed']['node'] }}"
      node2: "{{ hostvars['node2']['observed']['node'] }}"
"""

RETURN = r"""
_value:
  description: One line a difference; empty where there is none.
  type: list
  elements: str
  sample: ["[one-version] The nodes have different versions: 2026.04.0 on node1; 2026.08.0 on node2. ..."]
"""

from collections.abc import Callable

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.compare import differences


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filter."""
        return {"cluster_differences": differences}
