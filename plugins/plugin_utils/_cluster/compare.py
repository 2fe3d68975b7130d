# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether what was observed on several nodes is one cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem

_Value = Callable[[Mapping[str, Any]], str]


def _data_directory(node: Mapping[str, Any]) -> str:
    """Return where a node has its data."""
    mount = node["mount"] or {"source": "a local disk"}
    return f"{node['config']['data_dir']} on {mount['source']}"


# Check, what differs, how to read it from a node, why it matters, what to type next.
_SAME: tuple[tuple[str, str, _Value, str, str], ...] = (
    (
        "one-version",
        "versions",
        lambda node: node["running_version"] or "none",
        "Two versions on one schema are the error that the guide warns of",
        f"Run {PLAYBOOK}.status, and then rspm.ha.upgrade for the version that is wanted",
    ),
    (
        "one-configuration",
        "configurations (hashes)",
        lambda node: node["config"]["config_hash"][:12] or "none",
        "Nodes with different configurations give different answers to one request",
        "Remove from host_vars what should be the same everywhere, and run rspm.ha.site again",
    ),
    (
        "one-key",
        "encryption keys (hashes)",
        lambda node: node["config"]["key_hash"][:12] or "none",
        "What one node encrypts, the others could not read",
        "Set rspm_encryption_key to the key that is right, and run rspm.ha.site again",
    ),
    (
        "one-data-directory",
        "data directories",
        _data_directory,
        "Each node's Server.DataDir must point to the same shared location",
        "Run rspm.ha.site again, and compare the mounts: findmnt",
    ),
)


def judge_cluster(nodes: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Return what the nodes do not have in common.

    nodes: NodeState.to_dict() of each node, by its name in the inventory.
    """
    problems = []
    for check, subject, value, why, fix in _SAME:
        having: dict[str, list[str]] = {}
        for name in nodes:
            having.setdefault(value(nodes[name]), []).append(name)
        if len(having) > 1:
            found = "; ".join(f"{text} on {', '.join(names)}" for text, names in having.items())
            problems.append(Problem(check, f"The nodes have different {subject}: {found}", why, fix))
    return problems


def judge_clocks(nodes: Mapping[str, Mapping[str, Any]], limit: float) -> list[Problem]:
    """Return a problem where the clocks of two nodes differ by more than limit seconds. nodes: as of judge_cluster."""
    offsets = {name: node["clock"]["offset"] for name, node in nodes.items() if node["clock"]}
    if not offsets:
        return []
    one, other = min(offsets, key=lambda name: offsets[name]), max(offsets, key=lambda name: offsets[name])
    spread = offsets[other] - offsets[one]
    if spread <= limit:
        return []
    listed = ", ".join(f"{name} {offset:+.3f} s" for name, offset in sorted(offsets.items()))
    return [
        Problem(
            check="clocks-agree",
            found=f"The clocks of {one} and {other} differ by {spread:.3f} s, more than {limit:g} s; "
            f"chronyd still corrects: {listed}",
            why="Nodes whose clocks differ disagree on what is new, on sessions and on certificates",
            fix="Give all nodes the same rspm_ntp_servers and run rspm.ha.site again",
        )
    ]
