# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One way to talk to SQLite and to PostgreSQL."""

from __future__ import annotations

import importlib
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Callable
from urllib.parse import parse_qsl, unquote, urlsplit

from .gcfg import ConfigError
from .secret import decrypt, read_key
from .settings import Settings

CHANNEL = "rstudio_pm"


class DatabaseError(Exception):
    """The database can't be reached or refuses a statement; the text is meant for a person."""


def _readable(seconds: float, *descriptors: int) -> set[int]:
    """Return the descriptors that have data, after the time at the latest; any number of them may be open besides."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _event in poll.poll(seconds * 1000)}


class Session:
    """A connection that is opened when needed and dropped after an error."""

    def __init__(self, kind: str, opener: Callable[[], Any], failures: type[Exception]) -> None:
        self.kind = kind
        self._opener = opener
        self._failures = failures
        self._connection: Any = None
        self._lock = threading.RLock()
        self._listening = False
        self._in_transaction = False

    def run(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of one statement; %s marks a parameter; raises DatabaseError."""
        with self._lock:
            old = self._connection is not None and not self._in_transaction
            try:
                return self._execute(sql, parameters)
            except self._failures as error:
                lost = old and self.kind == "postgres" and self._connection.closed
                self.close()
                if not lost:
                    raise DatabaseError(" ".join(str(error).split())) from error
        return self.run(sql, *parameters)  # the database was restarted since the last statement

    def _execute(self, sql: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = self._opener()
        if self.kind == "sqlite":
            cursor = self._connection.execute(sql.replace("%s", "?"), parameters)
        else:
            cursor = self._connection.cursor()
            cursor.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self, lock: int | None = None) -> Iterator[None]:
        """Run the block in one transaction, alone among those that give the same lock."""
        with self._lock:
            self.run("BEGIN IMMEDIATE" if self.kind == "sqlite" else "BEGIN")
            self._in_transaction = True
            try:
                if lock is not None and self.kind == "postgres":
                    self.run("SELECT pg_advisory_xact_lock(%s)", lock)
                yield
                self.run("COMMIT")
            except BaseException:
                self.close()  # which rolls back and lets the lock go
                raise
            finally:
                self._in_transaction = False

    def notify(self) -> None:
        """Wake the sessions that wait for a change."""
        if self.kind == "postgres":
            self.run("SELECT pg_notify(%s, '')", CHANNEL)

    def wait(self, seconds: float, interrupt: int) -> None:
        """Return after a change was notified, the interrupting descriptor has data, or the time is over."""
        if self.kind == "sqlite":
            _readable(min(seconds, 0.3), interrupt)
            return
        with self._lock:
            if not self._listening:
                self.run(f"LISTEN {CHANNEL}")
                self._listening = True
            connection = self._connection
            try:
                if connection.fileno() in _readable(seconds, connection.fileno(), interrupt):
                    connection.poll()
                    connection.notifies.clear()
            except self._failures as error:
                self.close()
                raise DatabaseError(" ".join(str(error).split())) from error

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        with self._lock:
            if self._connection is not None:
                with suppress(self._failures):
                    self._connection.close()
                self._connection = None
                self._listening = False


def _postgres_arguments(url: str, password: str, timeout: float) -> dict[str, str]:
    """Return the connection's keywords; options may hold a bare equals sign, which libpq's own reader refuses."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ConfigError("a database address must start with postgres://")
    try:
        port = parts.port or 5432
    except ValueError as error:
        raise ConfigError(f"the port of a database address is wrong: {error}") from None
    found = {
        "host": unquote(parts.hostname or ""),
        "port": str(port),
        "user": unquote(parts.username or ""),
        "password": password or unquote(parts.password or ""),
        "dbname": unquote(parts.path.lstrip("/")),
    }
    query = dict(parse_qsl(parts.query))
    search_path = query.pop("search_path", "")
    if search_path:
        query["options"] = f"{query.get('options', '')} -csearch_path={search_path}".strip()
    found.update(query)
    found["connect_timeout"] = str(max(2, int(timeout)))
    found["application_name"] = "rstudio-pm"
    # A database machine that is gone without a word is noticed in some ten seconds.
    found.update(keepalives="1", keepalives_idle="5", keepalives_interval="2", keepalives_count="3")
    found["tcp_user_timeout"] = "10000"
    return {name: value for name, value in found.items() if value}


def _postgres(url: str, password: str, timeout: float) -> Session:
    try:
        driver = importlib.import_module("psycopg2")
    except ImportError as error:
        raise DatabaseError("PostgreSQL needs the package python3-psycopg2") from error
    arguments = _postgres_arguments(url, password, timeout)

    def opener() -> Any:
        connection = driver.connect(**arguments)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT current_schema()")
        if cursor.fetchone()[0] is None:
            connection.close()
            raise driver.OperationalError("no schema of the connection's search_path exists in the database")
        return connection

    return Session("postgres", opener, driver.Error)


def _sqlite(settings: Settings, name: str) -> Session:
    sqlite3 = importlib.import_module("sqlite3")
    folder = settings.sqlite_dir

    def opener() -> Any:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(f"the folder {folder} can't be made: {error.strerror}") from error
        connection = sqlite3.connect(str(folder / name), timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection

    return Session("sqlite", opener, sqlite3.Error)


def _secret(settings: Settings, *names: str) -> str:
    """Return the first of the keys that is set, decrypted."""
    for name in names:
        text = settings.text(name)
        if text:
            return decrypt(read_key(settings.key_path), text)
    return ""


def main_session(settings: Settings) -> Session:
    """Return a session of the main database; raises ConfigError or DatabaseError."""
    if settings.provider == "sqlite":
        return _sqlite(settings, "rstudio-pm.db")
    timeout = settings.seconds("Database.ConnectionTimeout", 10)
    return _postgres(settings.text("Postgres.URL"), _secret(settings, "Postgres.Password"), timeout)


def usage_session(settings: Settings) -> Session | None:
    """Return a session of the usage database, or None where there is none; raises ConfigError or DatabaseError."""
    if not settings.boolean("Server.UsageDataEnabled", True):
        return None
    if settings.provider == "sqlite":
        return _sqlite(settings, "usage.db")
    url = settings.text("Postgres.UsageDataURL")
    if not url:
        return None
    password = _secret(settings, "Postgres.UsageDataPassword", "Postgres.Password")
    return _postgres(url, password, settings.seconds("Database.ConnectionTimeout", 10))
