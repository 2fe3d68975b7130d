"""The cluster that every test of the migration begins with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rspm_lab import lab as lab_module

from tests.scenarios import support
from tests.scenarios.migrate.migration import BASE, answers, prepare
from tests.scenarios.support import Lab


@pytest.fixture(scope="session")
def base(lab: Lab) -> Lab:
    """The lab with a cluster full of data, whose disks are kept."""
    if not (lab.folder / "snapshots" / BASE).exists():
        prepare(lab)
        lab_module.snapshot(lab, BASE)
    return lab


@pytest.fixture
def cluster(base: Lab) -> Iterator[Lab]:
    """The cluster as it was, for one test."""
    lab_module.restore(base, BASE)
    support.wait_for("the cluster", lambda: all(answers(base, node) for node in support.NODES), 120)
    yield base
