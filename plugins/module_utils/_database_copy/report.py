# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was observed on both sides, and the module's result made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import Content, missing_roles
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import (
    CopyStep,
    Facts,
    Part,
    TargetState,
    overall,
    release,
    state_of,
)

# Source and target by the name of the part.
Contents = dict[str, tuple[Content, Content]]


@dataclass(frozen=True)
class Observed:
    """Facts of both sides by the part's name; target: None where it can not be reached yet, problem: why."""

    source: Mapping[str, Facts]
    target: Mapping[str, Facts | None]
    problem: str = ""

    def states(self) -> dict[str, TargetState]:
        """Return the state of each part of the target."""
        return {name: state_of(facts, self.source[name].identity) for name, facts in self.target.items()}


def report(
    parts: Iterable[Part],
    observed: Observed,
    steps: Mapping[str, CopyStep],
    contents: Contents,
    sent: list[str],
    after: TargetState,
) -> dict[str, Any]:
    """Return the result of a copy, or of looking at one (no steps).

    contents: what was read of both sides. sent: rights that were carried over. after: state of the target then.
    """
    states, databases = observed.states(), []
    for part in parts:
        source, known = observed.source[part.name], contents.get(part.name)
        databases.append(
            {
                "name": part.name,
                "source": source.address,
                "target": part.target,
                "before_state": states[part.name].value,
                "action": steps[part.name].value if steps else "",
                "bytes": source.bytes,
                "tables": len(known[0].tables) if known else source.tables,
                "rows": known[0].rows if known else source.rows,
            }
        )
    target, before = observed.target["main"], overall(states.values())
    return {
        "changed": any(step is not CopyStep.KEEP for step in steps.values()) or bool(sent),
        "source_version": release(observed.source["main"].version),
        "target_version": release(target.version) if target else "",
        "target_state": after.value,
        "before_state": before.value,
        "target_problem": observed.problem,
        "databases": databases,
        "bytes": sum(one["bytes"] for one in databases),
        "tables": sum(one["tables"] for one in databases),
        "rows": sum(one["rows"] for one in databases),
        "verified_tables": sum(len(both[0].tables) for both in contents.values()),
        "missing_roles": missing_roles(contents.values()),
        "rights": sent,
        "diff": {
            "before": f"databases of the target: {before.value}\n",
            "after": f"databases of the target: {after.value}\n" + "".join(f"{right}\n" for right in sent),
        },
    }
