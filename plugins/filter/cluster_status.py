# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_status
short_description: What a cluster is now
version_added: 1.0.0
description:
  - Takes what M(rspm.ha.node_info) found on every node, and what the lock says, and returns one account of the cluster,
    with what is half-done or wrong and what to type next.
options:
  _input:
    description: RV(rspm.ha.node_info#module:node) of each node, by its name; empty for one that could not be reached.
    type: dict
    required: true
  lock:
    description: What M(rspm.ha.cluster_lock) says of the lock.
    type: str
    default: ""
  held:
    description: RV(rspm.ha.cluster_lock#module:lock), empty while the lock is free.
    type: dict
    default: {}
  restore_point:
    description: The result of M(rspm.ha.restore_point), empty where it could not be asked.
    type: dict
    default: {}
  reasons:
    description: Why a node could not be asked, by its name.
    type: dict
    default: {}
  left:
    description: Why the inventory is not the cluster's any more, RV(rspm.ha.left_behind#filter:_value) of one node.
    type: list
    elements: dict
    default: []
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Describe the cluster
  ansible.builtin.debug:
    msg: "{{ nodes | rspm.ha.cluster_status }}"
  vars:
    nodes:
      node1: "{{ hostvars['node1']['status_node']['node'] }}"
      node2: {}
"""

RETURN = r"""
_value:
  description: Whether it is healthy, the versions that run, the lock, the nodes, the problems, and a table of it all.
  type: dict
  sample: {"healthy": true, "versions": ["2026.08.0"], "lock": "", "problems": []}
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._status.rules import summarise, table


def cluster_status(
    nodes: Mapping[str, Any],
    lock: str = "",
    restore_point: Mapping[str, Any] = MappingProxyType({}),
    held: Mapping[str, str] = MappingProxyType({}),
    reasons: Mapping[str, str] = MappingProxyType({}),
    left: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Return the summary with its table."""
    summary = summarise(nodes, lock, restore_point, held, reasons, left)
    return {**summary, "table": table(summary)}


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return the filter."""
        return {"cluster_status": cluster_status}
