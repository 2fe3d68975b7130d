# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of each schema number and the migration to the number that this version needs."""

from __future__ import annotations

import time
from typing import Callable

from . import facts
from .database import DatabaseError, Session

LOCK_MIGRATION = 7474001
LOCK_PUBLISH = 7474002

# Number of a schema: statements in the main database, statements in the usage database.
_STEPS: dict[int, tuple[list[str], list[str]]] = {
    41: (
        [
            "CREATE TABLE schema_version (version INTEGER NOT NULL)",
            """CREATE TABLE nodes (name TEXT PRIMARY KEY, version TEXT NOT NULL, address TEXT NOT NULL,
                wanted TEXT NOT NULL, state TEXT NOT NULL, last_seen DOUBLE PRECISION NOT NULL)""",
            "CREATE TABLE repos (id {serial}, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL)",
            "CREATE TABLE sources (id {serial}, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL)",
            "CREATE TABLE subscriptions (repo TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY (repo, source))",
            """CREATE TABLE packages (id {serial}, repo TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
                sha256 TEXT NOT NULL, path TEXT NOT NULL UNIQUE, details TEXT NOT NULL)""",
            "INSERT INTO repos (name, type) VALUES ('cran', 'R'), ('pypi', 'Python')",
            "INSERT INTO sources (name, type) VALUES ('local', 'R'), ('local-python', 'Python')",
            "INSERT INTO subscriptions VALUES ('cran', 'local'), ('pypi', 'local-python')",
        ],
        [
            "CREATE TABLE usage_schema_version (version INTEGER NOT NULL)",
            """CREATE TABLE usage_downloads (day TEXT NOT NULL, node TEXT NOT NULL, repo TEXT NOT NULL,
                file TEXT NOT NULL, downloads BIGINT NOT NULL, PRIMARY KEY (day, node, repo, file))""",
        ],
    ),
    44: (
        [
            "ALTER TABLE packages ADD COLUMN published_by TEXT NOT NULL DEFAULT ''",
            "CREATE TABLE audit (id {serial}, at DOUBLE PRECISION NOT NULL, node TEXT NOT NULL, what TEXT NOT NULL)",
            "CREATE INDEX packages_by_name ON packages (repo, name)",
        ],
        ["ALTER TABLE usage_downloads ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0"],
    ),
    48: (
        [
            "ALTER TABLE packages ADD COLUMN size BIGINT NOT NULL DEFAULT -1",
            "ALTER TABLE nodes ADD COLUMN started DOUBLE PRECISION NOT NULL DEFAULT 0",
            "UPDATE packages SET published_by = 'unknown' WHERE published_by = ''",
        ],
        ["CREATE INDEX usage_by_file ON usage_downloads (repo, file)"],
    ),
}


class SchemaError(DatabaseError):
    """The schema is not the one that this version can work with."""


def current(session: Session, table: str = "schema_version") -> int | None:
    """Return the schema's number, or None in an empty database; raises DatabaseError."""
    if session.kind == "sqlite":
        found = session.run("SELECT name FROM sqlite_master WHERE name = %s", table)
    else:
        found = session.run("SELECT to_regclass(%s)", table)
    if not found or found[0][0] is None:
        return None
    rows = session.run(f"SELECT version FROM {table}")
    return int(rows[0][0]) if rows else None


def _statements(session: Session, found: int | None, part: int) -> list[str]:
    """Return what leads from the found number to the one of this version."""
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT" if session.kind == "sqlite" else "SERIAL PRIMARY KEY"
    steps = [number for number in sorted(_STEPS) if (found or 0) < number <= facts.SCHEMA]
    statements = [text.replace("{serial}", serial) for number in steps for text in _STEPS[number][part]]
    if facts.SCHEMA not in _STEPS and part == 0:
        statements.append(f"CREATE TABLE schema_{facts.SCHEMA} (id INTEGER NOT NULL)")
    return statements


def _migrate(session: Session, table: str, part: int, midway: Callable[[], None]) -> tuple[int | None, bool]:
    """Bring one database to this version's schema in the running transaction; return what was found and if it moved."""
    found = current(session, table)
    if found is not None and found > facts.SCHEMA:
        raise SchemaError(
            f"the database has schema {found}, version {facts.VERSION} needs {facts.SCHEMA}: "
            "this version is older than the one that last migrated the database"
        )
    if found == facts.SCHEMA:
        return found, False
    statements = _statements(session, found, part)
    for position, statement in enumerate(statements):
        if position == len(statements) // 2:
            midway()
        session.run(statement)
    session.run(f"DELETE FROM {table}")
    session.run(f"INSERT INTO {table} (version) VALUES (%s)", facts.SCHEMA)
    return found, True


def ensure(main: Session, usage: Session | None, log: Callable[[str], None]) -> None:
    """Migrate both databases, each in one transaction, under the migration lock; raises DatabaseError."""

    def midway() -> None:
        log("migrating the database schema")
        time.sleep(float(facts.switch("MIGRATION_SECONDS", "0")))
        if facts.enabled("FAIL_MIGRATION"):
            raise DatabaseError("the migration failed midway, as this faulty build is meant to")

    if usage:
        usage.run("SELECT 1")  # nothing moves before both databases have been reached
    with main.transaction(LOCK_MIGRATION):
        found, changed = _migrate(main, "schema_version", 0, midway)
        if usage:
            with usage.transaction():
                _migrate(usage, "usage_schema_version", 1, lambda: None)
    if changed:
        log(f"database schema migrated from {found or 'nothing'} to {facts.SCHEMA}")


def require(session: Session) -> None:
    """Raise SchemaError unless the database has this version's schema."""
    found = current(session)
    if found != facts.SCHEMA:
        raise SchemaError(
            f"the database has schema {found or 'none'}, version {facts.VERSION} needs {facts.SCHEMA}; "
            "start the service of the right version first"
        )
