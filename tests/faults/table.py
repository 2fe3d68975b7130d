"""docs/fault-matrix.md: what every cell came to, and which were not run."""

from __future__ import annotations

from typing import Any

from tests.faults.ahead_cells import AHEAD_PHASES
from tests.faults.cells import Cell
from tests.faults.migration_cells import FAMILIES, name_of

_HEAD = """# The fault matrix

## Upgrade

What happens to an upgrade of three nodes from 2025.12.0-14 to 2026.04.0 when something breaks at a given place, and
what it takes to come to the right end. `make test-faults` runs all of it on the lab, goes on where it was interrupted,
and writes this page; `FAULT=kill` chooses cells by their name, `FRESH=1` runs them anew. `make test` has
the last family, whose upgrade fails and is taken back.

Every end is judged from outside: the processes and packages of the nodes, the schema and rows of the database, the
state of the load balancer, and the published packages as clients get them from it and from each node. All the while the
nodes' processes are watched: two versions at the same time, or the older one after the newer one has begun, are
failures. After the end a second run changes nothing, the lock is free, and a new package is served by every node.

*at its begin* is where the phase has begun and its first step has not. *ahead* has the cells of the default,
`rspm_upgrade_mode=install_before_outage`; all others are those of `first_serves_until_its_turn`.
"""
_MIGRATION = """## From HA to one node

What happens to a migration of a cluster full of data when something breaks, or is chosen, and the same command is typed
again. Every end is judged from outside: a walk of our own over every file, a dump of our own of both databases, the
packages as clients get them, and attempts of the old nodes to start, mount and log in. *choice* is load balancer, data
and database, kept or moved; *kill* is the controller's; `make test` has a story with one of each family.
"""


def render(cells: tuple[Cell, ...], records: dict[str, dict[str, Any]]) -> str:
    """Return the page."""
    passed = [cell for cell in cells if cell.name in records and not records[cell.name]["wrong"]]
    failed = [cell for cell in cells if cell.name in records and records[cell.name]["wrong"]]
    left = len(cells) - len(passed) - len(failed)
    lines = [_HEAD, f"{len(cells)} cells: {len(passed)} ended right, {len(failed)} did not, {left} were not run.", ""]
    lines += _overview(cells, records)
    for family in dict.fromkeys(cell.family for cell in cells):
        lines += _family([cell for cell in cells if cell.family == family], family, records)
    if failed:
        lines += ["### What was wrong", ""]
        lines += [f"- {cell.name}: {_flat('; '.join(records[cell.name]['wrong']))[:300]}" for cell in failed]
        lines.append("")
    return "\n".join([*lines, *_migration(records)])


def read(page: str, cells: tuple[Cell, ...]) -> dict[str, dict[str, Any]]:
    """Return the records of the cells that ended right by what a page says, which is all that other machines know."""
    found: dict[str, dict[str, Any]] = {}
    rows = {(cell.family, cell.phase, cell.fault): cell.name for cell in cells}
    family = ""
    for line in page.splitlines():
        if line.startswith("### "):
            family = line.removeprefix("### ")
        fields = [field.strip() for field in line.strip("|").split("|")]
        if len(fields) == 7 and fields[4] in ("upgraded", "as before"):
            if name := rows.get((family, fields[0], fields[1])):
                typed = fields[3].split(", ") if fields[3] else []
                record = {"ended": fields[2], "typed": typed, "end": fields[4]}
                found[name] = {**record, "seconds": float(fields[5]), "date": fields[6], "wrong": []}
        elif len(fields) == 5 and fields[2] == "right" and fields[1] in FAMILIES.get(fields[0], ()):
            found[name_of(fields[0], fields[1])] = {"seconds": float(fields[3]), "date": fields[4], "wrong": []}
    return found


def _migration(records: dict[str, dict[str, Any]]) -> list[str]:
    names = [name_of(family, text) for family, texts in FAMILIES.items() for text in texts]
    known = [records[name] for name in names if name in records]
    wrong = sum(bool(record["wrong"]) for record in known)
    left = len(names) - len(known)
    count = f"{len(names)} cells: {len(known) - wrong} ended right, {wrong} did not, {left} were not run."
    lines = [_MIGRATION, count, "", "| family | cell | end | seconds | date |", "| --- | --- | --- | --- | --- |"]
    for family, texts in FAMILIES.items():
        for text in texts:
            found = records.get(name_of(family, text))
            shown = ["not run", "", ""]
            if found:
                end = f"**wrong**: {_flat(found['wrong'][0])[:200]}" if found["wrong"] else "right"
                shown = [end, f"{found['seconds']:.0f}", found["date"]]
            lines.append(f"| {family} | {text} | {' | '.join(shown)} |")
    return [*lines, ""]


def _overview(cells: tuple[Cell, ...], records: dict[str, dict[str, Any]]) -> list[str]:
    families = list(dict.fromkeys(cell.family for cell in cells))
    lines = ["Right ends of all cells, by phase and family:", "", f"| phase | {' | '.join(families)} |"]
    lines.append("| --- |" + " --- |" * len(families))
    for phase in AHEAD_PHASES:
        shown = []
        for family in families:
            here = [cell for cell in cells if (cell.phase, cell.family) == (phase, family)]
            right = sum(1 for cell in here if cell.name in records and not records[cell.name]["wrong"])
            shown.append(f"{right} of {len(here)}" if here else "")
        lines.append(f"| {phase} | {' | '.join(shown)} |")
    return [*lines, ""]


def _family(cells: list[Cell], family: str, records: dict[str, dict[str, Any]]) -> list[str]:
    lines = [f"### {family}", "", "| phase | fault | the run | then | end | seconds | date |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for cell in cells:
        found = records.get(cell.name)
        if found is None:
            shown = ["", "", "not run", "", ""]
        else:
            end = found["end"] if not found["wrong"] else "**wrong**"
            shown = [found["ended"], ", ".join(found["typed"]), end, f"{found['seconds']:.0f}", found["date"]]
        lines.append(f"| {cell.phase} | {cell.fault} | {' | '.join(shown)} |")
    return [*lines, ""]


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")
