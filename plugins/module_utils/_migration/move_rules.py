# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one call that moves everything to the node: what is left to do, and what keeps the switch from being written.

The order is what keeps the way back open: proved, copied, looked at once more, and only then the switch; what names the
new data and databases is written after it, and nothing starts before that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord, how_lost, refusal
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written, advance
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import RecordState
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import Remains, judge_blocked, judge_stopped

PURPOSE = "migrate_to_single_node"
"""Why the node is blocked until it starts on its own data and databases."""
_WHY = "A node that works on the old databases writes what the copies would lack"


@dataclass(frozen=True)
class MovePlan:
    """What is left to do. stop: whether the node runs or is not blocked. switched: only configuring and starting is."""

    switched: bool
    stop: bool
    copy_data: bool
    copy_databases: bool

    def actions(self, configure: bool, start: Iterable[str]) -> list[str]:
        """Return it by name, in its order. configure: whether files change. start: what starts the node."""
        before = {
            "stop": self.stop,
            "copy_data": self.copy_data,
            "copy_databases": self.copy_databases,
            "switch": not self.switched,
            "configure": configure,
        }
        return [*(name for name, wanted in before.items() if wanted), *start]


def start_after(plan: MovePlan, needs_restart: bool, now: Sequence[str]) -> list[str]:
    """Return what a check expects to start the node. now: what would start it as it is, before anything is done.

    needs_restart: whether it runs with another configuration than it is to have.
    """
    if plan.switched and not needs_restart:
        return list(now)
    return ["stop"] * plan.switched + ["unblock"] + [name for name in now if name == "enable"] + ["start", "wait"]


def plan_move(
    record: Written | None, remains: Remains, *, move_data: bool, move_databases: bool, planning: bool
) -> MovePlan:
    """Return what is left to do. Raises DomainError where the record is of no migration like this one.

    planning: check mode, in which nothing was written down before.
    """
    switched = False
    if record is not None or not planning:
        # raises where there is nothing to be switched
        switched = _switch(record, "") == record
    chosen = {"data": move_data, "database": move_databases}
    other = [name for name, moved in chosen.items() if record and (getattr(record, name) == "move") != moved]
    if other and record:
        kept = ", ".join(f"{name}: {getattr(record, name)}" for name in other)
        raise DomainError(
            Problem(
                check="migration-choices",
                found=f"a migration with other choices has begun ({kept})",
                why="What one has copied and switched is not what the other needs",
                fix="Run the same command again, which looks anew",
            )
        )
    return MovePlan(
        switched=switched,
        stop=not switched and (remains.alive or remains.unit.blocked_for != PURPOSE),
        copy_data=move_data and not switched,
        copy_databases=move_databases and not switched,
    )


def switched_record(record: Written | None, time: str) -> Written:
    """Return what is written for the switch. Raises DomainError where somebody has given the migration up meanwhile."""
    return _switch(record, time)


def _switch(record: Written | None, time: str) -> Written:
    empty = Written("", "", "", "", "", "", "", "")
    written = advance(record, RecordState.SWITCHED, record or empty, time)
    if written is None:
        raise TypeError("the switch is written, not removed")
    return written


def judge_still(host: str, remains: Remains) -> list[Problem]:
    """Return why the node is not as it was stopped: whatever has run since may have written what the copies lack."""
    problems = judge_stopped(host, remains) or judge_blocked(host, remains)
    return [replace(problem, why=_WHY) for problem in problems]


def copying_killed(host: str) -> Problem:
    """Return the problem of data whose copying has told nothing."""
    return Problem(
        check="tree-copy",
        found=f"the copying of the data on {host} was killed",
        why="What it has not copied or compared yet is not known to be on the node",
        fix=f"See journalctl -k on {host} for a lack of memory, and run the same command again, which goes on from it",
    )


def judge_sessions_left(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems of sessions, or of a database that can't be asked for them, with why they matter here."""
    return [replace(problem, why=_WHY) for problem in problems]


def judge_lock(found: LockRecord | None, held: Mapping[str, Any]) -> None:
    """Raise DomainError where the run that asked for the switch has lost the cluster's lock. held: what it had."""
    lost = how_lost(found, held["holder"], held["run_id"])
    if lost:
        raise refusal(lost)
