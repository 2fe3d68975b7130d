# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster is now, for a person and for a program: from what every node really runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import BLOCKED_FOR_GOOD
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.compare import judge_cluster
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import NodeObservation, Observations
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.observe import observe_restore_point
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.refuse import unfinished

_PLAYBOOKS = {"install": "site", "migrate": "migrate_to_single_node"}
_COLUMNS = ("node", "package", "runs", "held", "unit", "health", "clock", "data directory")


def _go_on(held: Mapping[str, str]) -> str:
    """Return the command that goes on with the work that the lock is held for."""
    version = f" -e rspm_version={held['target']}" if held["verb"] == "upgrade" else ""
    return f"{PLAYBOOK}.{_PLAYBOOKS.get(held['verb'], held['verb'])}{version}"


def _unfinished(held: Mapping[str, str]) -> Problem:
    back = f", or go back with {PLAYBOOK}.rollback" if held["verb"] == "upgrade" else ""
    return Problem(
        "unfinished",
        f"the {held['verb']}{' to ' + held['target'] if held['verb'] == 'upgrade' else ''} has come to phase "
        f"'{held['phase']}', and still runs or was interrupted there",
        "Until its end, nodes that are blocked or of another version are so on purpose",
        f"If it does not run any more, go on with {_go_on(held)}{back}",
    )


def _judge_node(name: str, node: Mapping[str, Any], held: Mapping[str, str]) -> list[Problem]:
    """Return what is unfinished or wrong on one node. held: the lock, {} while it is free."""
    package, unit = node["package"], node["unit"]
    problems = []

    def found(check: str, text: str, why: str, fix: str) -> None:
        problems.append(Problem(check, f"{name}: {text}", why, fix))

    again = f"Run {PLAYBOOK}.site, which finishes what an earlier run left"
    if held:
        again = f"Run {_go_on(held)}, which goes on from here"
    if not package["version"]:
        found("package", "the package is not installed", "The node does not serve", again)
        return problems
    if not package["held"]:
        found("held", "the package is not held", "An unattended update could give one node another version", again)
    if unit["blocked_for"] == BLOCKED_FOR_GOOD:
        found(
            "retired",
            "a migration to a single node has retired it",
            "It can't be started, and reaches neither data nor databases",
            "Use the inventory that the migration wrote, which has the node that stayed",
        )
    elif node["masked"]:
        purpose = unit["blocked_for"]
        found(
            "masked",
            f"the service can't be started, blocked for: {purpose}" if purpose else "the unit is masked",
            "A run that changes the cluster goes on, or was interrupted" if purpose else "Somebody else did that",
            (again if held else f"Unless it still runs: {PLAYBOOK}.{_PLAYBOOKS.get(purpose, purpose)}, which goes on")
            if purpose
            else "If the reason is over, on the node: systemctl unmask rstudio-pm",
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
    elif node["api"]["starting"]:
        found(
            "starting",
            "the service answers at /__ping__, but not yet at /__api__/status",
            "It may be moving the schema",
            "Watch it, on the node: journalctl --follow --unit rstudio-pm",
        )
    if node["busy"]:
        found("busy", f"{node['busy']} is at work", "A run goes on, or its controller died", "Wait for it to end")
    if node["restart_needed"]:
        found(
            "restart",
            "; ".join(node["restart_reasons"]),
            "It runs another version or configuration than the disk has",
            again,
        )
    return problems


def _judge_upgrade(reached: Mapping[str, Any], restore_point: Mapping[str, Any]) -> list[Problem]:
    """Return what an upgrade, or the way back from one, has left unfinished on the nodes that could be reached."""
    observed = Observations(
        tuple(NodeObservation.from_result(name, {"node": node}, True) for name, node in reached.items()),
        restore_point=observe_restore_point(restore_point),
    )
    problems = unfinished(observed, observed.restore_point.from_version)
    stopped = any(node.blocked for node in observed.nodes)
    if observed.restore_point.state is RestoreState.COMPLETE and stopped and not problems:
        old, new = observed.restore_point.from_version, observed.restore_point.to_version
        problems.append(
            Problem(
                "unfinished-upgrade",
                f"an upgrade from {old} to {new} has stopped nodes, and changed none",
                "The nodes that are stopped don't serve",
                f"Finish it: {PLAYBOOK}.upgrade -e rspm_version={new}; or give it up, and "
                f"lose nothing: {PLAYBOOK}.rollback",
            )
        )
    return problems


def summarise(
    nodes: Mapping[str, Mapping[str, Any]],
    lock: str,
    restore_point: Mapping[str, Any],
    held: Mapping[str, str],
    reasons: Mapping[str, str] = MappingProxyType({}),
    left: Sequence[Problem] = (),
) -> dict[str, Any]:
    """Return the cluster's state.

    nodes: NodeState.to_dict() of each node, {} for one that could not be asked.
    lock: what the lock says, "" where nobody could ask.
    restore_point: the module's result, {} where it could not be asked. held: the lock, {} while it is free.
    reasons: by name, why a node could not be asked. left: problems of an inventory that a migration has left behind.
    """
    reached = {name: node for name, node in nodes.items() if node}
    problems = list(left)
    problems += [
        Problem(
            "unreachable",
            f"{name} can't be reached" + (f": {reasons[name]}" if reasons.get(name) else ""),
            "What it runs is not known",
            f"Bring it back, or take it out of the inventory; then run rspm.ha.status again: ping {name}; "
            f"ssh {name} df -h",
        )
        for name, node in nodes.items()
        if not node
    ]
    problems += [_unfinished(held)] if held else _judge_upgrade(reached, restore_point)
    for name, node in reached.items():
        problems += _judge_node(name, node, held)
    problems += judge_cluster({name: node for name, node in reached.items() if node["running"]})
    return {
        "healthy": not problems,
        "state": "unknown" if len(reached) < len(nodes) or not nodes else "wrong" if problems else "healthy",
        "versions": sorted({node["running_version"] for node in reached.values() if node["running_version"]}),
        "lock": lock,
        "restore_point": {
            name: restore_point.get(name, "") for name in ("state", "from_version", "to_version", "created")
        },
        "nodes": dict(nodes),
        "problems": [problem.to_dict() for problem in problems],
    }


def _row(name: str, node: Mapping[str, Any]) -> tuple[str, ...]:
    if not node:
        return (name, "?", "?", "?", "?", "unreachable", "?", "?")
    clock, mount = node["clock"], node["mount"]
    return (
        name,
        node["package"]["version"] or "none",
        node["running_version"] or ("?" if node["running"] else "nothing"),
        "yes" if node["package"]["held"] else "no",
        "blocked" if node["unit"]["blocked_for"] else "masked" if node["masked"] else node["unit"]["active_state"],
        str(node["api"]["health_code"] or "no answer"),
        "?" if clock is None else f"{clock['offset']:+.3f} s",
        f"{node['config']['data_dir'] or '?'} on {mount['source'] if mount else 'no mount'}",
    )


def table(summary: Mapping[str, Any]) -> list[str]:
    """Return what summarise found as lines for a person."""
    rows = [_COLUMNS, *(_row(name, node) for name, node in summary["nodes"].items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]
    # a node without the shared storage can't tell of the lock either
    lock = {"": "not known", "free": "nobody holds it"}.get(summary["lock"], summary["lock"])
    lines += ["", f"Lock: {lock}", f"Restore point: {_point(summary['restore_point'])}"]
    if summary["healthy"]:
        return [*lines, "Nothing is unfinished, and nothing is wrong."]
    return [*lines, *(str(Problem(**problem)) for problem in summary["problems"])]


def _point(point: Mapping[str, str]) -> str:
    if point["state"] in ("", "absent"):
        return "none" if point["state"] else "not known"
    way = f"of {point['created']}, leads from {point['to_version']} back to {point['from_version']}"
    # in use is what it is from the moment on from which only it leads back
    return way if point["state"] == "in_use" else f"{way} ({point['state']})"
