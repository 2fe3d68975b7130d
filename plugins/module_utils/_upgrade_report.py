# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the ordered upgrade, or of the way back, did: for a program and for a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

_PLAYBOOK = "ansible-playbook -i <inventory> rspm.ha"
_BEFORE_STOP = ("lock", "stage", "restore_point")
_BEFORE_COMMIT = (*_BEFORE_STOP, "drain", "stop", "prove", "commit")


def outline(plan: Mapping[str, Any]) -> list[str]:
    """Return a plan (Plan.to_dict()) as lines for a person."""
    if not plan["phases"]:
        return [f"Nothing is to be done: every node has and runs {plan['to_version']}."]
    way = f"From {plan['from_version']} to {plan['to_version']}" if plan["from_version"] else f"To {plan['to_version']}"
    lines = [f"{way}; {plan['first']} goes first."]
    width = max(len(each["name"]) for each in plan["phases"])
    for each in plan["phases"]:
        by_action: dict[str, list[str]] = {}
        for host, action in each["steps"].items():
            by_action.setdefault(action, []).append(host)
        steps = "; ".join(
            action.replace("_", " ") + (f" on {', '.join(hosts)}" if hosts != [""] else "")
            for action, hosts in by_action.items()
        )
        lines.append(f"{each['name']:<{width}}  {steps}")
    return lines


def report(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run did, with a table of it.

    run: purpose, outcome (done, stopped, predicted, nothing to do), plan, began, before and after (node_info's node by
    name), timelines (by name, a list of phase, from, to, action, steps), failures (text by name), at (the phase that
    began last), seen (what service_probe measured, {} for nothing).
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
        "phases": _phases(run["timelines"], {each["name"] for each in plan["phases"] if "" in each["steps"]}),
        "outage": _outage(run["seen"]),
        "failures": dict(run["failures"]),
    }
    result["says"] = _says(result)
    result["table"] = _table(result)
    return result


def _versions(node: Mapping[str, Any]) -> dict[str, str]:
    if not node:
        return {"installed": "?", "runs": "?"}
    return {"installed": node["package"]["version"], "runs": node["running_version"]}


def _seconds(start: str, end: str) -> float:
    first, last = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (start, end))
    return round((last - first).total_seconds(), 3)


def _phases(timelines: Mapping[str, Sequence[Mapping[str, Any]]], once: Collection[str]) -> list[dict[str, Any]]:
    """Return each phase once, with what each node did in it, in the order of time.

    once: names of the phases whose step is done once for the cluster, or is every node's part of one.
    """
    phases: dict[str, dict[str, Any]] = {}
    for host, entries in timelines.items():
        for entry in entries:
            phase = phases.setdefault(
                entry["phase"], {"name": entry["phase"], "from": entry["from"], "to": entry["to"], "nodes": {}}
            )
            phase["from"], phase["to"] = min(phase["from"], entry["from"]), max(phase["to"], entry["to"])
            if entry["action"]:
                steps = [dict(step) for step in entry["steps"]]
                spent = round(sum(step["seconds"] for step in steps), 3)
                if entry["phase"] not in once or steps:
                    phase["nodes"][host] = {"action": entry["action"], "seconds": spent, "steps": steps}
                else:
                    phase["nodes"].setdefault("cluster", {"action": entry["action"], "seconds": spent, "steps": []})
    ordered = sorted(phases.values(), key=lambda phase: str(phase["from"]))
    return [{**phase, "seconds": _seconds(phase["from"], phase["to"])} for phase in ordered]


def _outage(seen: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a client saw; None where nobody asked, or where it never was served at all."""
    if not seen.get("samples") or seen["failures"] == seen["samples"]:
        return None
    return {
        name: seen[name]
        for name in ("samples", "failures", "longest_seconds", "total_seconds", "outages", "still_down", "from", "to")
    }


def _says(result: Mapping[str, Any]) -> list[str]:
    """Return how the run ended, and what to type next."""
    verb, old, new, phase = result["purpose"], result["from_version"], result["to_version"], result["stopped_in"]
    if result["outcome"] == "nothing to do":
        return [f"Nothing was to be done: every node has and runs {new}."]
    if result["outcome"] != "stopped":
        return [f"{verb} from {old or '?'} to {new}: {result['outcome']}."]
    again = f"{_PLAYBOOK}.{verb}" + (f" -e rspm_version={new}" if verb == "upgrade" else "")
    lines = [f"The {verb} from {old or '?'} to {new} stopped in phase {phase}."]
    lines += [f"{host}: {text}" for host, text in result["failures"].items()]
    if verb == "rollback":
        lines.append(f"To go on, once the cause is gone: {again}.")
    elif phase in _BEFORE_STOP:
        lines.append(f"No node was stopped or changed, and the cluster serves {old}. To try again: {again}.")
    else:
        kept = "nothing is lost" if phase in _BEFORE_COMMIT else "what was written since the restore point is lost"
        lines.append(
            f"To go on, once the cause is gone: {again}. To give up and go back to {old} ({kept}): "
            f"{_PLAYBOOK}.rollback."
        )
    return [*lines, f"What every node is now: {_PLAYBOOK}.status."]


def _table(result: Mapping[str, Any]) -> list[str]:
    rows = [("phase", "node", "action", "began (UTC)", "seconds", "of which")]
    for phase in result["phases"]:
        rows.append((phase["name"], "", "", phase["from"][11:23], f"{phase['seconds']:.1f}", ""))
        for host, done in phase["nodes"].items():
            parts = ", ".join(f"{step['step']} {step['seconds']:.1f}" for step in done["steps"])
            spent = f"{done['seconds']:.1f}" if parts else ""
            rows.append(("", host, done["action"].replace("_", " "), "", spent, parts))
    nodes: list[tuple[str, ...]] = [("node", "had", "ran", "has", "runs")]
    for name, node in result["nodes"].items():
        before, after = node["before"], node["after"]
        shown = (before["installed"], before["runs"], after["installed"], after["runs"])
        nodes.append((name, *(text or "nothing" for text in shown)))
    return [*result["says"], "", *([*_aligned(rows), ""] if len(rows) > 1 else []), *_aligned(nodes), "", _seen(result)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]


def _seen(result: Mapping[str, Any]) -> str:
    outage = result["outage"]
    if outage is None:
        return "Outage at the load balancer: not measured."
    if not outage["outages"]:
        return f"Outage at the load balancer: none in {outage['samples']} requests."
    ended = ", and it lasts" if outage["still_down"] else ""
    return (
        f"Outage at the load balancer: {outage['total_seconds']:.1f} s in {len(outage['outages'])} part(s), the "
        f"longest {outage['longest_seconds']:.1f} s{ended}; {outage['failures']} of {outage['samples']} requests "
        "failed."
    )
