# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the ordered upgrade, or of the way back, did: for a program and for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.report import (
    aligned,
    done_phases,
    outage,
    outage_line,
    phase_table,
    plan_lines,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import RestorePoint
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.way_back import lost_by_upgrade, moment_of, seconds_of

_BEFORE_STOP = ("lock", "stage", "restore_point", "save")
_SAVES = ("save", "final_save")
_BEFORE_COMMIT = (*_BEFORE_STOP, "drain", "stop", "prove", "final_restore_point", "install", "first_awaited", "commit")


def outline(plan: Mapping[str, Any]) -> list[str]:
    """Return a plan (Plan.to_dict()) as lines for a person."""
    if not plan["phases"]:
        return [f"Nothing is to be done: every node has and runs {plan['to_version']}."]
    way = f"From {plan['from_version']} to {plan['to_version']}" if plan["from_version"] else f"To {plan['to_version']}"
    gives_up = [f"{plan['gives_up']}."] if plan["gives_up"] else []
    return [f"{way}; {plan['first']} goes first.", *gives_up, *plan_lines(plan["phases"])]


def report(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run did, with a table of it.

    run: purpose, outcome (done, stopped, predicted, nothing to do), plan, began, before and after (versions by
    name), done (as done_phases takes it), failures (text by name), at (the phase that began last), steps (its timelines
    by name), measured (service_probe's result, {} for nothing), point (restore_point's result, {} for none), saved (
    the folder of what a rollback saved before it, "" for nothing).
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
            name: {"before": before, "after": run["after"].get(name) or versions({})}
            for name, before in run["before"].items()
        },
        "phases": done_phases(run["done"]),
        "outage": outage(run["measured"]),
        "failures": dict(run["failures"]),
        "restore_point": run["point"].get("created", ""),
        "saved": run["saved"],
    }
    lost = "nothing is lost" if _is_given_back(run) else _lost(run)
    result["says"] = _says(result, lost, plan["gives_up"])
    result["table"] = _table(result)
    return result


def versions(node: Mapping[str, Any]) -> dict[str, str]:
    """Return which version is on a node. node: node_info's, {} for one that could not be reached."""
    if not node:
        return {"installed": "?", "runs": "?"}
    return {"installed": node["package"]["version"], "runs": node["running_version"]}


def _is_given_back(run: Mapping[str, Any]) -> bool:
    """Whether the first node has taken back that the restore point is in use, since it has moved nothing."""
    return any(step["step"] == "given_back" for steps in run["steps"].values() for step in steps)


def _lost(run: Mapping[str, Any]) -> str:
    """Return what going back from this upgrade would lose."""
    told = [steps for entry in run["done"] for steps in entry["steps"].values()] + list(run["steps"].values())
    # the last one to stop does so in the phase that moves the schema
    ends = [seconds_of(step["at"]) + step["seconds"] for steps in told for step in steps if step["step"] == "stop"]
    point = RestorePoint(created=run["point"].get("created", ""))
    return lost_by_upgrade(point, moment_of(max(ends)) if ends else "")


def _says(result: Mapping[str, Any], lost: str, gives_up: str) -> list[str]:
    """Return how the run ended, and what to type next. lost, gives_up: what going back would lose, and has lost."""
    verb, old, new, phase = result["purpose"], result["from_version"], result["to_version"], result["stopped_in"]
    if result["outcome"] == "nothing to do":
        return [f"Nothing was to be done: every node has and runs {new}."]
    kept = [f"What was there before it is saved until the next upgrade: {result['saved']}."] if result["saved"] else []
    if result["outcome"] != "stopped":
        way = [f"{gives_up}."] if gives_up else []
        if verb == "upgrade" and result["outcome"] == "done":
            back = f"{PLAYBOOK}.rollback -e rspm_rollback_to={result['restore_point']}"
            way = [f"The way back to {old}: {back} ({lost}, and from now on what is written since)."]
        return [f"{verb} from {old or '?'} to {new}: {result['outcome']}.", *way, *kept]
    again = f"{PLAYBOOK}.{verb}" + (f" -e rspm_version={new}" if verb == "upgrade" else "")
    lines = [f"The {verb} from {old or '?'} to {new} stopped in phase {phase}."]
    lines += [f"{host}: {text}" for host, text in result["failures"].items()]
    if verb == "rollback":
        lines.append(f"To go on, once the cause is gone: {again}.")
        if phase in _SAVES:
            lines.append(f"Nothing is restored yet; to stay with {old}: {PLAYBOOK}.upgrade -e rspm_version={old}.")
    elif phase in _BEFORE_STOP:
        lines.append(f"No node was stopped or changed, and the cluster serves {old}. To try again: {again}.")
    else:
        price = "nothing is lost" if phase in _BEFORE_COMMIT else lost
        lines.append(
            f"To go on, once the cause is gone: {again}. To give up and go back to {old} ({price}): "
            f"{PLAYBOOK}.rollback."
        )
    return [*lines, *kept, f"What every node is now: {PLAYBOOK}.status."]


def _table(result: Mapping[str, Any]) -> list[str]:
    nodes: list[tuple[str, ...]] = [("node", "had", "ran", "has", "runs")]
    for name, node in result["nodes"].items():
        before, after = node["before"], node["after"]
        shown = (before["installed"], before["runs"], after["installed"], after["runs"])
        nodes.append((name, *(text or "nothing" for text in shown)))
    table = phase_table(result["phases"], "node")
    return [*result["says"], "", *table, *aligned(nodes), "", outage_line(result["outage"])]
