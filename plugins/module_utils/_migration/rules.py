# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration to one node keeps in its record: how far it has come, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ansible_collections.rspm.ha.plugins.module_utils._service.rules import BLOCKED_FOR_GOOD

RETIRED = BLOCKED_FOR_GOOD
"""Why a node is blocked for good."""


class RecordState(Enum):
    """How far the migration has come, as written on the shared storage."""

    ABSENT = "absent"
    BEGUN = "begun"
    """All data is with the old cluster; to abort is to start it again."""
    SWITCHED = "switched"
    """The node may have written to its own data and databases; this can't be undone."""
    FINISHED = "finished"
    """The node serves, the others are retired, the inventory for afterwards is written."""


@dataclass(frozen=True)
class Options:
    """What a team chooses. target: the node that stays.

    move_data, move_databases: whether they go to the target. route: whether users come to the node directly.
    data_dir: the local folder, with move_data. database: "keep", "move" or what else was asked for.
    """

    target: str
    move_data: bool = True
    move_databases: bool = True
    route: bool = False
    data_dir: str = "/var/lib/rstudio-pm/data"
    provider: str = "postgres"


@dataclass(frozen=True)
class Record:
    """What is written down of a migration. options: None where there is none. inventory: for afterwards, whose too."""

    state: RecordState = RecordState.ABSENT
    options: Options | None = None
    run_id: str = ""
    inventory: str = ""
