# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the ordered upgrade, or of the way back, did: for a program and for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._phase_report import (
    aligned,
    done_phases,
    outage,
    outage_line,
    phase_table,
    plan_lines,
)
from ansible_collections.rspm.ha.plugins.module_utils._problem import PLAYBOOK

_BEFORE_STOP = ("lock", "stage", "restore_point")
_BEFORE_COMMIT = (*_BEFORE_STOP, "drain", "stop", "prove", "commit")


def outline(plan: Mapping[str, Any]) -> list[str]:
    """Return a plan (Plan.to_dict()) as lines for a person."""
    if not plan["phases"]:
        return [f"Nothing is to be done: every node has and runs {plan['to_version']}."]
    way = f"From {plan['from_version']} to {plan['to_version']}" if plan["from_version"] else f"To {plan['to_version']}"
    return [f"{way}; {plan['first']} goes first.", *plan_lines(plan["phases"])]


def report(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run did, with a table of it.

    run: purpose, outcome (done, stopped, predicted, nothing to do), plan, began, before and after (node_info's node by
    name), done (as done_phases takes it), failures (text by name), at (the phase that began last), seen (what
    service_probe measured, {} for nothing).
    """
    plan = run["plan"]
    result: dict[str, Any] = {
        "purpose": run["purpose"],
        "outcome": run["outcome"],
        "from_version": plan["from_version"],
        "to_version": plan["to_version"],
        "first": plan["first"],
        "began": run["began"],
        "stopped_in": run["at"] if run["outcome"] == "stopped" else "",
        "nodes": {
            name: {"before": _versions(before), "after": _versions(run["after"].get(name, {}))}
            for name, before in run["before"].items()
        },
        "phases": done_phases(run["done"]),
        "outage": outage(run["seen"]),
        "failures": dict(run["failures"]),
    }
    result["says"] = _says(result)
    result["table"] = _table(result)
    return result


def _versions(node: Mapping[str, Any]) -> dict[str, str]:
    if not node:
        return {"installed": "?", "runs": "?"}
    return {"installed": node["package"]["version"], "runs": node["running_version"]}


def _says(result: Mapping[str, Any]) -> list[str]:
    """Return how the run ended, and what to type next."""
    verb, old, new, phase = result["purpose"], result["from_version"], result["to_version"], result["stopped_in"]
    if result["outcome"] == "nothing to do":
        return [f"Nothing was to be done: every node has and runs {new}."]
    if result["outcome"] != "stopped":
        return [f"{verb} from {old or '?'} to {new}: {result['outcome']}."]
    again = f"{PLAYBOOK}.{verb}" + (f" -e rspm_version={new}" if verb == "upgrade" else "")
    lines = [f"The {verb} from {old or '?'} to {new} stopped in phase {phase}."]
    lines += [f"{host}: {text}" for host, text in result["failures"].items()]
    if verb == "rollback":
        lines.append(f"To go on, once the cause is gone: {again}.")
    elif phase in _BEFORE_STOP:
        lines.append(f"No node was stopped or changed, and the cluster serves {old}. To try again: {again}.")
    else:
        kept = "nothing is lost" if phase in _BEFORE_COMMIT else "what was written since the restore point is lost"
        lines.append(
            f"To go on, once the cause is gone: {again}. To give up and go back to {old} ({kept}): {PLAYBOOK}.rollback."
        )
    return [*lines, f"What every node is now: {PLAYBOOK}.status."]


def _table(result: Mapping[str, Any]) -> list[str]:
    nodes: list[tuple[str, ...]] = [("node", "had", "ran", "has", "runs")]
    for name, node in result["nodes"].items():
        before, after = node["before"], node["after"]
        shown = (before["installed"], before["runs"], after["installed"], after["runs"])
        nodes.append((name, *(text or "nothing" for text in shown)))
    table = phase_table(result["phases"], "node")
    return [*result["says"], "", *table, *aligned(nodes), "", outage_line(result["outage"])]
