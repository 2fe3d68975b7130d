"""Runs the fault matrix: `python -m tests.faults.matrix [--only TEXT] [--fresh] [--share 1/2] [--list]`.

A cell that ended right, by its record in .cache/faults or by the page, is not run again. The lab is brought up,
converged once and kept as a snapshot, from which every cell starts.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from rspm_lab import lab as lab_module
from rspm_lab.lab import Lab
from rspm_lab.shell import LabError

from tests.faults import outside, table
from tests.faults.all_cells import Matrix
from tests.faults.cell_run import run_cell, wait_until_served
from tests.faults.cells import OLD, Cell
from tests.scenarios.support import LAB_NAME, PACKAGES, publish, run_playbook
from tests.scenarios.workplace import REPOSITORY

RECORDS = REPOSITORY / ".cache" / "faults"
PAGE = REPOSITORY / "docs" / "fault-matrix.md"
SNAPSHOT = "faults"


def say(text: str) -> None:
    """Tell the person who waits."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def records() -> dict[str, dict[str, Any]]:
    """Return what was recorded, by the name of the cell: here, else on the page."""
    found = table.read(PAGE.read_text(encoding="utf-8"), Matrix().cells) if PAGE.exists() else {}
    for path in sorted(RECORDS.glob("*.json")):
        found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(name: str, outcome: Mapping[str, object]) -> None:
    """Record a cell."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    part = RECORDS / f".{name}.part"
    part.write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")
    part.rename(RECORDS / f"{name}.json")


def write_page(matrix: Matrix) -> None:
    """Write what is recorded."""
    page = table.render(matrix.cells, records())
    # Messages name places of this one machine.
    for place in (sys.prefix, str(REPOSITORY), str(PACKAGES.parent)):
        page = page.replace(place, "...")
    PAGE.write_text(page, encoding="utf-8")


def prepared() -> Lab:
    """Return the lab with the snapshot that every cell starts from, made where it is missing; LabError."""
    try:
        lab = lab_module.load(LAB_NAME)
    except LabError:
        lab = lab_module.up(LAB_NAME, list(lab_module.DEFAULT_MACHINES), "full", 640)
    if (lab.folder / "snapshots" / SNAPSHOT).is_dir():
        return lab
    say(f"making the cluster of {OLD} that every cell starts from")
    package = str(PACKAGES / f"rstudio-pm_{OLD}_amd64.deb")
    for playbook in (str(REPOSITORY / "tests" / "lab" / "ntp.yml"), "site"):
        made = run_playbook(playbook, rspm_version=OLD, rspm_package_file=package)
        if made.code:
            raise LabError(f"{playbook} failed:\n{made.output[-3000:]}")
    publish_kept(lab)
    lab_module.snapshot(lab, SNAPSHOT)
    return lab


def publish_kept(lab: Lab) -> None:
    """Publish what is not to be lost."""
    for number, name in enumerate(outside.KEPT):
        publish(lab, name, f"node{number % 3 + 1}")
    wait_until_served(lab)


def record(lab: Lab, cell: Cell) -> dict[str, object]:
    """Run one cell from the snapshot and return its record."""
    begun = time.monotonic()
    lab_module.restore(lab, SNAPSHOT)
    outcome = run_cell(lab, cell)
    outcome.seconds = round(time.monotonic() - begun, 1)
    outcome.date = time.strftime("%Y-%m-%d", time.gmtime())
    return outcome.to_dict()


def share(text: str) -> tuple[int, int]:
    """Return which part of how many is meant by 1/2."""
    part, _slash, parts = text.partition("/")
    if not 1 <= int(part) <= int(parts):
        raise ValueError(text)
    return int(part), int(parts)


def main() -> int:
    """Run what the command line asks for; 1 where a cell ended wrong."""
    parser = argparse.ArgumentParser(prog="tests.faults.matrix")
    parser.add_argument("--only", default="", help="only cells with this in their name")
    parser.add_argument("--fresh", action="store_true", help="run also what ended right before")
    parser.add_argument("--list", action="store_true", help="print the names of the cells")
    parser.add_argument(
        "--share", type=share, default="1/1", help="2/3: the second third; each share needs its own lab"
    )
    given = parser.parse_args()
    # Ended in whatever way, it leaves no run behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    matrix = Matrix()
    part, parts = given.share
    chosen = matrix.choose(given.only)[part - 1 :: parts]
    if given.list:
        print("\n".join(cell.name for cell in chosen))
        return 0
    if not chosen:
        print(f"no cell has {given.only!r} in its name", file=sys.stderr)
        return 2
    known = records()
    todo = [cell for cell in chosen if given.fresh or cell.name not in known or known[cell.name]["wrong"]]
    say(f"{len(todo)} of {len(chosen)} cells to run")
    lab = prepared() if todo else None
    wrong = 0
    for number, cell in enumerate(todo, 1):
        assert lab
        outcome = record(lab, cell)
        write(cell.name, outcome)
        wrong += bool(outcome["wrong"])
        end = "WRONG" if outcome["wrong"] else outcome["end"]
        say(f"{number}/{len(todo)} {cell.name}: {outcome['ended']} -> {end} ({outcome['seconds']} s)")
        for text in outcome["wrong"] if isinstance(outcome["wrong"], list) else []:
            print("    " + str(text).replace("\n", "\n    "), flush=True)
        write_page(matrix)
    write_page(matrix)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
