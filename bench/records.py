"""What a benchmark writes down: one line of JSON for the machine, and one for each run, in .cache/bench.

The page is made of those that are kept beside it, so that each benchmark may have run on another day.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = _REPOSITORY / ".cache" / "bench"
PAGE = _REPOSITORY / "docs" / "performance.md"
KEPT = PAGE.with_suffix("")


@dataclass(frozen=True)
class Record:
    """One run. way: what was done, as the page names it. setting: Ansible's, "" where Ansible has no part in it.

    round: ways with the same number were measured soon after each other. figures: name with unit, and value. load: of
    the machine before it began. detail: what the page does not show.
    """

    benchmark: str
    way: str
    setting: str
    round: int
    figures: dict[str, float]
    load: float
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What all benchmarks wrote. machines: by benchmark, what it ran on."""

    machines: dict[str, dict[str, str]]
    records: list[Record]


def path_of(benchmark: str, folder: Path = FOLDER) -> Path:
    """Return the file of a benchmark."""
    return folder / f"{benchmark}.jsonl"


def begin(benchmark: str, machine: dict[str, str], folder: Path = FOLDER) -> None:
    """Begin a benchmark's file anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path_of(benchmark, folder).write_text(json.dumps(machine) + "\n", encoding="utf-8")


def add(record: Record, folder: Path = FOLDER) -> None:
    """Write a run down at once: a benchmark that is stopped leaves what it has."""
    with path_of(record.benchmark, folder).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def keep(benchmarks: Iterable[str], folder: Path = FOLDER, kept: Path = KEPT) -> None:
    """Copy what was measured last to where the page is made of it; what was not measured stays as it was."""
    kept.mkdir(exist_ok=True)
    for path in (path_of(benchmark, folder) for benchmark in benchmarks):
        if path.exists():
            shutil.copyfile(path, kept / path.name)


def read(folder: Path = FOLDER) -> Measured:
    """Return what is in a folder."""
    machines, records = {}, []
    for path in sorted(folder.glob("*.jsonl")):
        first, *others = path.read_text(encoding="utf-8").splitlines()
        machines[path.stem] = json.loads(first)
        records += [Record(**json.loads(line)) for line in others]
    return Measured(machines, records)
