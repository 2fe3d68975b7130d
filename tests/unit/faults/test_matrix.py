"""The fault matrix is whole: every phase is hit, every cell has a name of its own, and the page tells the truth."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.ahead_cells import AHEAD_PHASES, MODE
from tests.faults.all_cells import Matrix
from tests.faults.cells import PHASES, Cell
from tests.faults.migration_cells import FAMILIES, name_of
from tests.faults.table import read, render

CELLS = Matrix().cells


def record(cell: Cell, *wrong: str) -> dict[str, Any]:
    """Return the record of a cell."""
    return {"ended": "stopped", "typed": ["upgrade"], "end": "upgraded", "seconds": 99.4, "date": "D", "wrong": wrong}


def test_names_are_unique_and_fit_a_file() -> None:
    names = [cell.name for cell in CELLS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").replace(",", "").isalnum() for name in names), names


def test_the_controller_is_killed_at_every_phase() -> None:
    killed = {cell.phase for cell in CELLS if cell.family == "kill" and cell.place == "hook"}
    assert killed == set(PHASES) - {"before"}


def test_so_it_is_where_the_package_is_installed_before_the_outage() -> None:
    ahead = [cell for cell in CELLS if cell.family == "ahead"]
    assert all((cell.mode == MODE) == (cell in ahead) for cell in CELLS)
    killed = {cell.phase for cell in ahead if cell.fault == "kill at its begin"}
    assert killed == set(AHEAD_PHASES) - {"before"} and "install" in killed


def test_what_is_powered_off_or_hangs_comes_back() -> None:
    for cell in CELLS:
        gone = {act.machine for act in cell.acts if act.what in ("power_cut", "hang", "partition")}
        assert gone <= {act.machine for act in cell.undo}, cell.name


def test_a_fault_that_is_undone_while_the_run_goes_on_can_be_undone() -> None:
    assert all(cell.undo for cell in CELLS if cell.undo_after)


@pytest.mark.parametrize(("wrong", "shown"), [((), "upgraded"), (("lost",), "**wrong**")])
def test_the_page_tells_how_each_cell_ended(wrong: tuple[str, ...], shown: str) -> None:
    page = render(CELLS, {CELLS[0].name: record(CELLS[0], *wrong)})
    rows = [line for line in page.splitlines() if line.startswith(f"| {CELLS[0].phase} | {CELLS[0].fault} |")]
    assert rows[0].split("|")[3:7] == [" stopped ", " upgrade ", f" {shown} ", " 99 "]
    assert page.count("not run |") == len(CELLS) - 1 + sum(len(texts) for texts in FAMILIES.values())
    assert (f"- {CELLS[0].name}: lost" in page) == bool(wrong)


def test_the_page_tells_how_each_cell_of_the_migration_ended() -> None:
    names = [name_of(family, text) for family, texts in FAMILIES.items() for text in texts]
    assert len(set(names)) == len(names)
    found = {"seconds": 9.6, "date": "D"}
    page = render(CELLS, {names[0]: {**found, "wrong": []}, names[1]: {**found, "wrong": ["a row\nis | lost"]}})
    assert f"{len(names)} cells: 1 ended right, 1 did not, {len(names) - 2} were not run." in page
    assert "| choice | keep-keep-keep | right | 10 | D |" in page
    assert "| choice | keep-keep-move | **wrong**: a row is / lost | 10 | D |" in page


def test_a_page_that_is_read_and_written_again_keeps_what_ended_right() -> None:
    migration = [name_of(family, text) for family, texts in FAMILIES.items() for text in texts]
    known = {cell.name: record(cell) for cell in CELLS[::2]}
    known |= {name: {"seconds": 9.6, "date": "D", "wrong": []} for name in migration[::2]}
    page = render(CELLS, known)
    found = read(page, CELLS)
    assert set(found) == set(known) and render(CELLS, found) == page
    wrong = {CELLS[0].name: record(CELLS[0], "lost"), migration[0]: {**known[migration[0]], "wrong": ["x"]}}
    assert set(read(render(CELLS, {**known, **wrong}), CELLS)) == set(known) - set(wrong)
