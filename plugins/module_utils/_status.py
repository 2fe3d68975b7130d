# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster is now, for a person and for a program: from what every node really runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._cluster import judge_cluster
from ansible_collections.rspm.ha.plugins.module_utils._problem import Problem

_COLUMNS = ("node", "package", "runs", "held", "unit", "health", "clock", "data directory")


def _judge_node(name: str, node: Mapping[str, Any]) -> list[Problem]:
    """Return what is half-done or wrong on one node."""
    package, unit = node["package"], node["unit"]
    problems = []

    def found(check: str, text: str, why: str, fix: str) -> None:
        problems.append(Problem(check, f"{name}: {text}", why, fix))

    again = "Run ansible-playbook rspm.ha.site, which finishes what an earlier run left"
    if not package["version"]:
        found("package", "the package is not installed", "The node does not serve", again)
        return problems
    if not package["held"]:
        found("held", "the package is not held", "An unattended update could give one node another version", again)
    if node["masked"]:
        found(
            "masked",
            f"the unit {unit['load_state']} can't be started",
            "A run that changes the cluster goes on, or was interrupted",
            "Run the same playbook again; it goes on from here",
        )
    elif not node["running"]:
        found("stopped", "the service does not run", "The node does not serve", again)
    elif node["api"]["health_code"] != 200:
        found(
            "unhealthy",
            f"the service answers {node['api']['health_code'] or 'nothing'}",
            "The load balancer sends it no requests",
            "See why, on the node: journalctl -u rstudio-pm -n 50",
        )
    if node["restart_needed"]:
        found("restart", "; ".join(node["restart_reasons"]), "What runs is not what is on disk", again)
    return problems


def summarise(nodes: Mapping[str, Mapping[str, Any] | None], lock: str) -> dict[str, Any]:
    """Return the cluster's state.

    nodes: NodeState.to_dict() of each node, None for one that could not be reached. lock: what the lock says.
    """
    reached = {name: node for name, node in nodes.items() if node is not None}
    problems = [
        Problem(
            "unreachable",
            f"{name} can't be reached",
            "Nobody knows what it runs",
            f"Bring it back, or take it out of the inventory; then run rspm.ha.status again: ping {name}",
        )
        for name, node in nodes.items()
        if node is None
    ]
    for name, node in reached.items():
        problems += _judge_node(name, node)
    problems += judge_cluster({name: node for name, node in reached.items() if node["running"]})
    return {
        "healthy": not problems,
        "versions": sorted({node["running_version"] for node in reached.values() if node["running_version"]}),
        "lock": lock,
        "nodes": dict(nodes),
        "problems": [problem.to_dict() for problem in problems],
    }


def _row(name: str, node: Mapping[str, Any] | None) -> tuple[str, ...]:
    if node is None:
        return (name, "?", "?", "?", "?", "unreachable", "?", "?")
    clock, mount = node["clock"], node["mount"]
    return (
        name,
        node["package"]["version"] or "none",
        node["running_version"] or ("?" if node["running"] else "nothing"),
        "yes" if node["package"]["held"] else "no",
        "masked" if node["masked"] else node["unit"]["active_state"],
        str(node["api"]["health_code"] or "no answer"),
        "?" if clock is None else f"{clock['offset']:+.3f} s",
        f"{node['config']['data_dir'] or '?'} on {mount['source'] if mount else 'no mount'}",
    )


def table(summary: Mapping[str, Any]) -> list[str]:
    """Return what summarise found as lines for a person."""
    rows = [_COLUMNS, *(_row(name, node) for name, node in summary["nodes"].items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]
    lines += ["", f"Lock: {summary['lock'] or 'nobody holds it'}"]
    if summary["healthy"]:
        return [*lines, "Nothing is half-done, and nothing is wrong."]
    return [*lines, *(str(Problem(**problem)) for problem in summary["problems"])]
