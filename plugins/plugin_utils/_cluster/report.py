# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The phases of a run, planned or done, and the outage that clients saw: what every report shows in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any


def plan_lines(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each phase. phases: at least one, as Plan.to_dict() has them."""
    width = max(len(each["name"]) for each in phases)
    lines = []
    for each in phases:
        by_action: dict[str, list[str]] = {}
        for host, action in each["steps"].items():
            by_action.setdefault(action, []).append(host)
        steps = "; ".join(
            action.replace("_", " ") + (f" on {', '.join(hosts)}" if hosts != [""] else "")
            for action, hosts in by_action.items()
        )
        lines.append(f"{each['name']:<{width}}  {steps}")
    return lines


def done_phases(done: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the phases that were done, in their order, with what each host did in them.

    done: of each phase, phase (its name), from, to (UTC), actions (by host; "" for one that is done once for all),
    steps (by host, as a module's timeline has them).
    """
    phases = []
    for entry in done:
        hosts: dict[str, dict[str, Any]] = {}
        for name, action in entry["actions"].items():
            # whoever tells of its part in what is done once has one
            told = [name] if name else [host for host, steps in entry["steps"].items() if steps]
            for host in told or ["cluster"]:
                steps = [dict(step) for step in entry["steps"].get(host, [])]
                hosts[host] = {"action": action, "seconds": round(_spent(steps), 3), "steps": steps}
        begun, ended = entry["from"], entry["to"]
        phases.append(
            {"name": entry["phase"], "from": begun, "to": ended, "nodes": hosts, "seconds": _seconds(begun, ended)}
        )
    return phases


def _spent(steps: Iterable[Mapping[str, Any]]) -> float:
    """Return the seconds in which steps were done, of which several may be done at the same time."""
    spans = sorted((_moment(step["at"]), step["seconds"]) for step in steps)
    spent, until = 0.0, 0.0
    for begun, seconds in spans:
        spent += max(0.0, begun + seconds - max(begun, until))
        until = max(until, begun + seconds)
    return spent


def done_by_phase(by_host: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the phases that were done as done_phases takes them.

    by_host: of each phase that a host has noted, phase (its name), from, to, actions, and steps (the host's timeline).
    A host that was lost has noted fewer than the others.
    """
    done: dict[str, dict[str, Any]] = {}
    for host, entries in by_host.items():
        for entry in entries:
            phase = done.setdefault(entry["phase"], {**entry, "steps": {}})
            phase["steps"][host] = entry["steps"]
            phase["to"] = max(phase["to"], entry["to"])
    return sorted(done.values(), key=lambda phase: phase["from"])


def left_to_do(plan: Mapping[str, Any], lines: Iterable[str], what: str, it: str) -> str:
    """Return how a run ends that finds something to do after all was done, "" where it does not.

    plan, lines: made after all phases, the lines for a person. what, it: "the cluster is not as it should be" and "it".
    """
    if not plan["problems"] and not plan["phases"]:
        return ""
    found = "\n".join(plan["problems"] or lines)
    return (
        f"Everything was done, and yet {what}: {found}. Somebody or something else changed {it}. Run the same command "
        "again."
    )


def _seconds(start: str, end: str) -> float:
    return round(_moment(end) - _moment(start), 3)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def phase_table(phases: Iterable[Mapping[str, Any]], who: str) -> list[str]:
    """Return done_phases as a table with an empty line after it; nothing for none. who: what takes part in them."""
    rows = [("phase", who, "action", "began (UTC)", "seconds", "of which")]
    for phase in phases:
        rows.append((phase["name"], "", "", phase["from"][11:23], f"{phase['seconds']:.1f}", ""))
        for host, done in phase["nodes"].items():
            parts = ", ".join(f"{step['step']} {step['seconds']:.1f}" for step in done["steps"])
            spent = f"{done['seconds']:.1f}" if parts else ""
            rows.append(("", host, done["action"].replace("_", " "), "", spent, parts))
    return [*aligned(rows), ""] if len(rows) > 1 else []


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with their columns below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]


def outage(measured: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a client saw; None where nobody asked, or where it never was served at all.

    measured: what service_probe measured, {} for nothing.
    """
    if not measured.get("samples") or measured["failures"] == measured["samples"]:
        return None
    return {
        name: measured[name]
        for name in ("samples", "failures", "longest_seconds", "total_seconds", "outages", "still_down", "from", "to")
    }


def outage_line(found: Mapping[str, Any] | None) -> str:
    """Return an outage as a line for a person."""
    if found is None:
        return "Outage at the load balancer: not measured."
    if not found["outages"]:
        return f"Outage at the load balancer: none in {found['samples']} requests."
    ended = ", and it lasts" if found["still_down"] else ""
    return (
        f"Outage at the load balancer: {found['total_seconds']:.1f} s in {len(found['outages'])} part(s), the "
        f"longest {found['longest_seconds']:.1f} s{ended}; {found['failures']} of {found['samples']} requests "
        "failed."
    )
