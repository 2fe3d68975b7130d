"""One upgrade that a fault of each family befalls, one after the other, and that ends right."""

from __future__ import annotations

import pytest
from rspm_lab import lab as lab_module

from tests.faults.cell_run import Outcome, run_cells, wait_until_served
from tests.faults.cells import STORY, Matrix
from tests.faults.matrix import SNAPSHOT, keep_snapshot
from tests.scenarios.support import Lab


@pytest.fixture(scope="module")
def outcomes(lab: Lab) -> dict[str, Outcome]:
    """What each fault came to, by the name of its cell; the cluster is then as it was before all of them."""
    keep_snapshot(lab)
    outcomes = run_cells(lab, Matrix().story())
    lab_module.restore(lab, SNAPSHOT)
    wait_until_served(lab)
    return {outcome.cell: outcome for outcome in outcomes}


@pytest.mark.parametrize("cell", STORY)
def test_it_goes_on_after(outcomes: dict[str, Outcome], cell: str) -> None:
    assert cell in outcomes, f"the story ended before it: {list(outcomes.values())[-1]}"
    assert outcomes[cell].wrong == [], outcomes[cell]
