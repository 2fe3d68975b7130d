# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an inventory is that of a cluster which a migration to one node has left, or is about to leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import (
    LockRecord,
    LockView,
    Request,
    may_take,
    refusal,
)
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import (
    LOCAL_PATH,
    OUT,
    Written,
    further,
    to_record,
)
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import RETIRED, RecordState
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import ABORT
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.refuse import command

UNLOCK = "unlock"


@dataclass(frozen=True)
class Left:
    """What one node of the inventory tells. own: "stays" or "retired" by its own record, "" where it has none."""

    name: str
    record: Written | None = None
    own: str = ""
    blocked_for: str = ""

    @property
    def is_out(self) -> bool:
        """Whether a migration has taken it out for good."""
        return self.own == OUT or self.blocked_for == RETIRED


@dataclass(frozen=True)
class Settings:
    """What the inventory says: where data and databases are."""

    storage_path: str
    data_dir: str
    database: str


def left_of(results: Mapping[str, Mapping[str, Any]]) -> list[Left]:
    """Return what each node tells. results: of migration_record, {} for a node that tells nothing."""
    return [
        Left(
            name,
            Written(**result["record"]) if result.get("record") else None,
            str(result.get("own") or ""),
            str(result.get("blocked_for") or ""),
        )
        for name, result in results.items()
    ]


def judge_left(nodes: Sequence[Left], settings: Settings, verb: str) -> list[Problem]:
    """Return why the inventory must not be used for this verb; none = nothing is known against it.

    nodes: of the inventory. One that can tell is enough.
    """
    record: Written | None = None
    for node in nodes:
        record = further(record, node.record)
    out = [node.name for node in nodes if node.is_out]
    if record is None:
        return [_without_record(out)] if out else []
    state = RecordState(record.state)
    if state is RecordState.FINISHED:
        reasons = _reasons(nodes, out, record, settings)
        return [_finished(nodes, record, settings, reasons)] if reasons else []
    if verb == UNLOCK:
        # the lock is the migration's own, and may have to be broken before it can go on
        return []
    return [_begun(record) if state is RecordState.BEGUN else _switched(record)]


def judge_lock(lock: Mapping[str, str], holder: str, gone: str, over: bool = False) -> list[Problem]:
    """Return the problem of a lock that a run of site would not get. lock: as it lies on the storage, {} for none.

    holder: of this run. gone, over: of the lock's holder and its lease, as may_take has them.
    """
    if not lock:
        return []
    record = LockRecord(**lock)
    decision = may_take(record, Request("", holder, "", "site", "", gone=gone), "", over)
    return list(refusal(decision.says).problems) if decision.view is LockView.HELD else []


def _reasons(nodes: Sequence[Left], out: Sequence[str], record: Written, settings: Settings) -> list[str]:
    """Return by what an inventory is that of the cluster; none: it is the single node's."""
    names = [node.name for node in nodes]
    reasons = []
    if out:
        reasons.append(f"names {', '.join(out)}, which a migration has retired")
    elif len(names) > 1:
        reasons.append(f"has the nodes {', '.join(names)}")
    elif names != [record.target] and not any(node.own for node in nodes):
        reasons.append(f"has {', '.join(names)} in its place")
    if record.data == "move" and record.old_data_dir == settings.data_dir:
        reasons.append(f"has rspm_data_dir {settings.data_dir}, from where the data was moved")
    if record.database == "move" and record.old_database == settings.database:
        reasons.append(f"has rspm_database_host {settings.database}, from where the databases were moved")
    return reasons


def _afterwards(record: Written) -> str:
    """Return how the inventory for afterwards is used."""
    if not record.inventory:
        return "use the inventory that the migration wrote (single-node-inventory, where its command was typed)"
    return f"use the inventory that the migration wrote: -i {record.inventory} (by {record.operator})"


def _finished(nodes: Sequence[Left], record: Written, settings: Settings, reasons: Sequence[str]) -> Problem:
    told = [node.name for node in nodes if node.own] or [record.target]
    return Problem(
        check="migration-finished",
        found=f"The cluster became the single node {record.target} on {record.finished[:10]}, and this inventory "
        + "; and it ".join(reasons),
        why="It is that of the cluster that was left: what is typed with it would bring back old data, or start nodes "
        "beside the one that has it. Nothing was changed",
        fix=f"For this cluster {_afterwards(record)}. If the machines are to be a new cluster, remove {LOCAL_PATH} on "
        f"{', '.join(told)} and {settings.storage_path}/.rspm-ha/migration first",
    )


def _switched(record: Written) -> Problem:
    options = to_record(record.to_dict()).options
    forward = command(options) if options else ""
    where = f"; if it is finished ({record.target} knows): {_afterwards(record)}" if record.inventory else ""
    return Problem(
        check="migration-switched",
        found=f"A migration to the single node {record.target} was switched on {record.switched[:10]}, and nobody who "
        "could be asked knows that it is finished",
        why="That node may have served since, and this inventory is that of the cluster that is left "
        "behind. Nothing was changed",
        fix=f"Finish it: {forward}{where}",
    )


def _begun(record: Written) -> Problem:
    options = to_record(record.to_dict()).options
    forward = command(options) if options else ""
    return Problem(
        check="migration-begun",
        found=f"A migration to the single node {record.target} has begun on {record.begun[:10]}",
        why="Until it is finished or given up the nodes are as it needs them. Nothing was changed",
        fix=f"Finish it: {forward}; or give it up: {ABORT}",
    )


def _without_record(out: Sequence[str]) -> Problem:
    names = ", ".join(out)
    return Problem(
        check="migration-finished",
        found=f"{names} was retired by a migration to a single node",
        why="This inventory is that of the cluster that was left: what is typed with it would start nodes beside the "
        "one that has the data. Nothing was changed",
        fix="Use the inventory that the migration wrote (single-node-inventory, where its command was typed); if "
        f"{names} is to be a node of a new cluster, install it anew first",
    )
