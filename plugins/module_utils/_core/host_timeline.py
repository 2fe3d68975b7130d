# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the steps of a module's work began, and how long they took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any


@dataclass
class Timeline:
    """When each step began, in UTC, and how many seconds it took; also of the step that failed.

    part: what the steps are of, where several things are done at the same time.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    part: str = ""

    def of(self, part: str) -> Timeline:
        """Return one that notes the steps of a part among these."""
        return Timeline(self.steps, part)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note one step."""
        at, begun = datetime.now(timezone.utc), time.monotonic()
        try:
            yield
        finally:
            moment = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            step = f"{self.part} {name}".lstrip()
            self.steps.append({"step": step, "at": moment, "seconds": round(time.monotonic() - begun, 3)})
