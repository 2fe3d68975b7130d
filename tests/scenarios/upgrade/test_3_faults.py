"""One upgrade that a fault of each family befalls, one after the other, and that ends right."""

from __future__ import annotations

import pytest

from tests.faults.cell_run import Outcome, run_cells
from tests.faults.cells import STORY, Matrix
from tests.faults.matrix import publish_kept
from tests.scenarios.support import Lab

pytestmark = pytest.mark.usefixtures("site")


@pytest.fixture(scope="module")
def outcomes(lab: Lab) -> dict[str, Outcome]:
    """What each fault came to, by the name of its cell. In the guide's order, for test_4_upgrade has the other one."""
    publish_kept(lab)
    outcomes = run_cells(lab, Matrix().story(), rspm_upgrade_mode="stop_all_first")
    return {outcome.cell: outcome for outcome in outcomes}


@pytest.mark.parametrize("cell", STORY)
def test_it_goes_on_after(outcomes: dict[str, Outcome], cell: str) -> None:
    assert cell in outcomes, f"the story ended before it: {list(outcomes.values())[-1]}"
    assert outcomes[cell].wrong == [], outcomes[cell]
