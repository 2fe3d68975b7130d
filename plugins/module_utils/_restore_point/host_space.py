# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking databases, staging folder and shared storage for the room that a restore point needs."""

from __future__ import annotations

import os
from contextlib import closing, suppress

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import load_free
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import STAGING_FOLDER
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import require_session
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import dumps_of
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.space import Space, size_query

_QUERY_TIMEOUT = 60.0


def load_space(runner: Runner, path: str, database: Database) -> Space:
    """Return what the storage has below path, and what a restore point needs; raises DomainError where none tells."""
    place, free = path, load_free(runner, [path])
    while not free and place != "/":
        # not made yet
        place = os.path.dirname(place)
        free = load_free(runner, [place])
    return Space(path=place, free=free.get(place, 0), dump=_dumps(database) + _package())


def _dumps(database: Database) -> int:
    total = 0
    for dump in dumps_of(database):
        arguments = (database.host, database.port, dump.database, database.user, database.password, database.sslmode)
        with closing(require_session(*arguments, options=database.options)) as connection:
            connection.timeout = _QUERY_TIMEOUT
            try:
                total += int(connection.query(size_query(dump.schema)).as_dicts()[0]["bytes"] or 0)
            except (ServerRefused, ConnectFailed) as error:
                raise DomainError(
                    Problem(
                        "restore-point-space",
                        f"the database {dump.database} does not tell how large it is ({error})",
                        "Its dump has to fit on the shared storage",
                        "See the log of the database server, and run the same command again",
                    )
                ) from error
    return total


def _package() -> int:
    """Return the size of the largest package file here; one of them goes into the restore point."""
    sizes = [0]
    # a node that is new to the collection has none staged
    with suppress(FileNotFoundError):
        sizes += [entry.stat().st_size for entry in os.scandir(STAGING_FOLDER) if entry.is_file()]
    return max(sizes)
