# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read what a database holds, on several sessions at a time. The statements are in catalog."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from functools import partial

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import catalog, content
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.failure import CHECK, failed
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import Facts
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection, require_session
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, ServerRefused, literal

_LOGIN_TIMEOUT = 10.0
# one table may take long; that the server is gone, the keepalives tell
_STATEMENT_TIMEOUT = 6 * 3600.0
_LEFTOVER_TIMEOUT = 60.0
_POLL_INTERVAL = 0.2


def address_of(database: Database, name: str, schema: str = "") -> str:
    """Return where a part is, as people write it."""
    return f"{database.host}:{database.port}/{name}{', schema ' + schema if schema else ''}"


def open_side(database: Database, name: str) -> Connection:
    """Log in to one database with the settings that make two servers comparable. Raises DomainError."""
    account = (database.user, database.password, database.sslmode)
    connection = require_session(database.host, database.port, name, *account, _LOGIN_TIMEOUT, database.options)
    connection.timeout = _STATEMENT_TIMEOUT
    pairs = ", ".join(f"({literal(key)}, {literal(value)})" for key, value in content.SETTINGS.items())
    ask(
        connection,
        address_of(database, name),
        "SELECT pg_catalog.set_config(s.name, w.value, false) FROM pg_catalog.pg_settings s "
        f"JOIN (VALUES {pairs}) w (name, value) ON w.name = s.name",
    )
    return connection


def ask(connection: Connection, address: str, statement: str) -> list[dict[str, str | None]]:
    """Run a statement and return its rows. Raises DomainError that names the database."""
    try:
        return connection.query(statement).as_dicts()
    except ServerRefused as error:
        raise DomainError(failed(address, str(error), error.error.sqlstate)) from error
    except ConnectFailed as error:
        raise DomainError(failed(address, str(error))) from error


def load_facts(database: Database, name: str, schema: str, *, end_leftovers: bool) -> Facts:
    """Return what kind of database it is. Raises DomainError.

    end_leftovers: first end the sessions that a killed run of this host's left there.
    """
    address = address_of(database, name, schema)
    with closing(open_side(database, name)) as connection:
        if end_leftovers:
            _end_leftovers(connection, address_of(database, name))
        row = ask(connection, address, catalog.facts_query(schema))[0]
        objects = ask(connection, address, catalog.objects_query(schema))
        extensions = ask(connection, address, catalog.EXTENSIONS_QUERY)
        identity = ask(connection, address, catalog.IDENTITY_QUERY)[0]["identity"]
        hash_probe = ask(connection, address, content.PROBE_QUERY)[0]["hashes"]
    return Facts(
        address=address,
        version=int(row["version"] or 0),
        encoding=row["encoding"] or "",
        identity=f"{identity}/{schema}",
        hash_probe=hash_probe or "",
        bytes=int(row["bytes"] or 0),
        data_bytes=int(row["data_bytes"] or 0),
        tables=int(row["tables"] or 0),
        rows=int(row["rows"] or 0),
        objects=tuple(found["name"] or "" for found in objects),
        owner=row["owner"] == "true",
        comment=row["comment"] or "",
        schema_exists=row["schema_exists"] == "true",
        in_recovery=row["in_recovery"] == "true",
        large_objects=int(row["large_objects"] or 0),
        extensions=tuple(found["name"] or "" for found in extensions if found["installed"] == "true"),
        creatable=tuple(found["name"] or "" for found in extensions if found["installed"] == "false"),
    )


def _end_leftovers(connection: Connection, address: str) -> None:
    deadline = time.monotonic() + _LEFTOVER_TIMEOUT
    while ask(connection, address, catalog.LEFTOVER_QUERY):
        if time.monotonic() > deadline:
            raise DomainError(
                Problem(
                    CHECK,
                    f"sessions of an earlier copy do not end in {address}",
                    "What they still write would be mixed with this copy",
                    "Restart that database server, and run the same command again",
                )
            )
        time.sleep(_POLL_INTERVAL)


def scan(
    first: Connection, database: Database, name: str, schema: str, hashes: Sequence[str], jobs: int, listed_as: str
) -> content.Content:
    """Read all of a part, its tables on jobs sessions at a time. first: one that is open, and stays so.

    listed_as: name for the rights on the database.
    """
    do = partial(ask, first, address_of(database, name, schema))
    named = [row["name"] or "" for row in do(content.sequences_query(schema))]
    sequences = do(content.sequence_query(named)) if named else []
    large: tuple[int, str] = (0, "")
    if not schema:
        row = do(content.LARGE_OBJECTS_QUERY)[0]
        large = (int(row["objects"] or 0), row["digest"] or "")
    tables = [row["name"] or "" for row in do(content.tables_query(schema))]
    return content.Content(
        items=content.parse_items(do(catalog.items_query(schema))),
        tables=_scan_tables(first, database, name, tables, hashes, jobs),
        sequences={row["name"] or "": row["value"] or "" for row in sequences},
        large_objects=large,
        grants=content.parse_grants(do(catalog.grants_query(schema, listed_as))),
        roles=frozenset(row["name"] or "" for row in do(catalog.ROLES_QUERY)),
    )


def _scan_tables(
    first: Connection, database: Database, name: str, tables: list[str], hashes: Sequence[str], jobs: int
) -> dict[str, tuple[int, str]]:
    """Return rows and digest of every table. first: a session that is open already, one of the jobs."""
    left: queue.SimpleQueue[str] = queue.SimpleQueue()
    for table in tables:
        left.put(table)
    stop = threading.Event()

    def work(session: Connection | None) -> dict[str, tuple[int, str]]:
        found: dict[str, tuple[int, str]] = {}
        try:
            with nullcontext(session) if session else closing(open_side(database, name)) as connection:
                while not stop.is_set():
                    try:
                        table = left.get_nowait()
                    except queue.Empty:
                        break
                    where = f"{address_of(database, name)}, table {table}"
                    row = ask(connection, where, content.table_query(table, hashes))[0]
                    found[table] = (int(row["rows"] or 0), row["digest"] or "")
        except DomainError:
            stop.set()
            raise
        return found

    sessions = [first, *[None] * (min(jobs, len(tables)) - 1)]
    merged: dict[str, tuple[int, str]] = {}
    with ThreadPoolExecutor(max_workers=len(sessions)) as pool:
        for done in [pool.submit(work, session) for session in sessions]:
            merged.update(done.result())
    return merged
