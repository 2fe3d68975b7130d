"""All cells of an upgrade."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.ahead_cells import ahead_cells
from tests.faults.cells import Cell, serving_cells


@dataclass(frozen=True)
class Matrix:
    """All cells, and each by its name."""

    cells: tuple[Cell, ...] = field(default_factory=lambda: (*serving_cells(), *ahead_cells()))

    def choose(self, pattern: str) -> list[Cell]:
        """Return the cells whose name has the pattern in it."""
        return [cell for cell in self.cells if pattern in cell.name]
