# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a migration to one node, beside the shared data and, after the switch, on each node too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Options as Choices
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Record, RecordState

FILE = "migration.json"
LOCAL_PATH = "/var/lib/rspm-ha/migration.json"
"""On each node: what was switched is known there when the shared storage is gone."""

OUT = "retired"

_ORDER = [RecordState.ABSENT, RecordState.BEGUN, RecordState.SWITCHED, RecordState.FINISHED]


@dataclass(frozen=True)
class Written:
    """The record as it lies in a file. Times: UTC, YYYY-mm-ddTHH:MM:SSZ, "" for not yet.

    load_balancer: keep or route. data, database: keep or move. data_dir: with data moved.
    old_data_dir, old_database: data directory and host of the databases before. inventory, operator: the folder that
    the inventory for afterwards is written to, and on whose controller; "" until the others are retired.
    here: "retired" in the file of a node that is out for good.
    """

    state: str
    run_id: str
    target: str
    load_balancer: str
    data: str
    data_dir: str
    database: str
    begun: str
    switched: str = ""
    finished: str = ""
    old_data_dir: str = ""
    old_database: str = ""
    inventory: str = ""
    operator: str = ""
    here: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return it as plain data."""
        return asdict(self)


def parse(text: str, path: str) -> Written:
    """Return the record of a text. Raises DomainError for anything that render did not write."""
    try:
        data = json.loads(text)
        # an older one has no more than it had
        known = {field.name: field.default for field in fields(Written) if isinstance(field.default, str)}
        found = Written(**{field.name: str({**known, **data}[field.name]) for field in fields(Written)})
        RecordState(found.state)
    except (ValueError, KeyError, TypeError) as error:
        raise DomainError(
            Problem(
                check="migration-record",
                found=f"{path} can't be read: {error!r}",
                why="Whether the migration has been switched is not known",
                fix=f"Look at {path}; it was not written by this collection, or is damaged",
            )
        ) from error
    return found


def render(record: Written) -> str:
    """Return the text that lies in a file."""
    return json.dumps(record.to_dict(), indent=1) + "\n"


def further(one: Written | None, other: Written | None) -> Written | None:
    """Return the record that has come further; of two alike, the first."""
    if one is None or other is None:
        return one or other
    return other if _ORDER.index(RecordState(other.state)) > _ORDER.index(RecordState(one.state)) else one


def advance(now: Written | None, state: RecordState, new: Written, time: str) -> Written | None:
    """Return what is to be written so that the state is this one, None for no record.

    new: of a first BEGUN; of FINISHED, where the inventory for afterwards is.
    Raises DomainError for a step that is none: what is switched is never given up, and nothing is left out.
    """
    current = RecordState(now.state) if now else RecordState.ABSENT
    if state is current:
        return now
    if state is RecordState.ABSENT and current is RecordState.BEGUN:
        return None
    if now is None and state is RecordState.BEGUN:
        return replace(new, state=state.value, begun=time)
    if now is not None and (current, state) == (RecordState.BEGUN, RecordState.SWITCHED):
        return replace(now, state=state.value, switched=time)
    if now is not None and (current, state) == (RecordState.SWITCHED, RecordState.FINISHED):
        return replace(now, state=state.value, finished=time, inventory=new.inventory, operator=new.operator)
    raise DomainError(
        Problem(
            check="migration-record",
            found=f"the migration is {current.value}, and was to become {state.value}",
            why="Somebody else has changed it since this run looked at it",
            fix="Run the same command again, which looks anew",
        )
    )


def retire(now: Written, inventory: str, operator: str) -> Written:
    """Return the record for a retired node, which may be the only one that can still be asked."""
    return replace(now, inventory=inventory, operator=operator, here=OUT)


def to_record(found: Mapping[str, str]) -> Record:
    """Return what a plan is made from. found: a Written as plain data, {} for none."""
    if not found:
        return Record()
    choices = Choices(
        target=found["target"],
        move_data=found["data"] == "move",
        move_databases=found["database"] == "move",
        route=found["load_balancer"] == "route",
        data_dir=found["data_dir"],
    )
    where = f"{found['inventory']} (by {found['operator']})" if found.get("inventory") else ""
    return Record(RecordState(found["state"]), choices, found["run_id"], where)
