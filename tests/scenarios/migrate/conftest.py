"""The cluster that every test of the migration begins with, and what its cells of the fault matrix came to."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator

import pytest
from rspm_lab import lab as lab_module

from tests.faults import matrix
from tests.faults.migration_cells import FAMILIES, name_of
from tests.scenarios import support
from tests.scenarios.migrate.migration import BASE, answers, prepare
from tests.scenarios.support import Lab

# whether a test has changed the cluster that the first one found
_USED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def base(lab: Lab, request: pytest.FixtureRequest) -> Lab:
    """The lab with a cluster full of data, whose disks are kept for the tests after the first one."""
    if (lab.folder / "snapshots" / BASE).exists():
        request.session.stash[_USED] = True
        return lab
    request.getfixturevalue("site")
    prepare(lab)
    if sum(item.get_closest_marker("skip") is None for item in request.session.items) > 1:
        lab_module.snapshot(lab, BASE)
    return lab


@pytest.fixture
def cluster(base: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The cluster as it was, for one test."""
    if request.session.stash.get(_USED, False):
        lab_module.restore(base, BASE)
    request.session.stash[_USED] = True
    support.wait_for("the cluster", lambda: all(answers(base, node) for node in support.NODES), 120)
    yield base


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "cell(family, text): a cell of the fault matrix; its parameter without text")


def _cell_of(item: pytest.Item) -> tuple[str, str] | None:
    marker = item.get_closest_marker("cell")
    if marker is None:
        return None
    family, *text = marker.args
    found = text[0] if text else item.callspec.id  # type: ignore[attr-defined]
    assert found in FAMILIES[family], (family, found)
    return family, found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the matrix to `make test-faults`, and what ended right there to the first time, or to FRESH=1."""
    known = matrix.records()
    for item in items:
        cell = _cell_of(item)
        if cell and os.environ.get("RSPM_MIGRATE") != "all":
            item.add_marker(pytest.mark.skip(reason="make test-faults"))
        elif cell and not os.environ.get("RSPM_FRESH"):
            found = known.get(name_of(*cell))
            if found and not found["wrong"]:
                item.add_marker(pytest.mark.skip(reason=f"ended right on {found['date']}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a cell came to, and write the page anew."""
    report = yield
    cell = _cell_of(item)
    if cell and (report.failed or (report.when == "call" and report.passed)):
        wrong = str(report.longrepr).strip().splitlines() if report.failed else []
        found = {
            "seconds": round(report.duration, 1),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "wrong": wrong[-1:],
        }
        matrix.write(name_of(*cell), found)
        matrix.write_page(matrix.Matrix())
    return report
