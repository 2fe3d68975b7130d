# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Try the logins that a node needs, or as much of them as works without psycopg2."""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import open_session, try_port
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import (
    LoginResult,
    judge_login,
    judge_managed_login,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import SERVER_ERROR


def login(database: Database, name: str, schema: str, timeout: float) -> LoginResult:
    """Return how far a login to one database comes."""
    account = (database.user, database.password, database.sslmode)
    result, session = open_session(database.host, database.port, name, *account, timeout, schema, database.options)
    if session is not None:
        session.close()
    return result


def try_logins(database: Database, made: bool, timeout: float) -> tuple[list[Problem], int]:
    """Return why a login to the databases does not do, and the server's version number, 0 where it is not known.

    made: whether the same run makes the databases, so that they need not be there yet.
    """
    problems: list[Problem] = []
    version = 0
    for name, schema in ((database.name, database.schema), (database.usage_name, database.usage_schema)):
        result = login(database, name, schema, timeout)
        problems += judge_managed_login(result) if made else judge_login(result)
        version = version or result.server_version_num
        if result.failure not in ("", SERVER_ERROR):
            break  # the other database is on the same server
    return problems, version


def try_server(database: Database, timeout: float) -> LoginResult:
    """Return how far a login without psycopg2 comes."""
    options = {name: str(value) for name, value in database.options.items()}
    failure, detail = try_port(database.host, database.port, options, timeout)
    return LoginResult(
        host=options.get("host", database.host),
        port=options.get("port", database.port),
        database=database.name,
        user=database.user,
        sslmode=database.sslmode,
        failure=failure,
        detail=detail,
    )
