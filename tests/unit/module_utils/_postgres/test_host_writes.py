# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a PostgreSQL server that the test starts counts as written, and what makes that doubtful."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres import host_writes
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import connect
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_writes import Witness
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, Credentials, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._postgres.writes import doubt_old_server
from tests.unit.worlds.postgres_server import BINARIES, Server, running_server

COUNTS = bool(BINARIES) and int(BINARIES[-1].parts[-3]) >= 15
pytestmark = pytest.mark.skipif(not COUNTS, reason="needs a PostgreSQL server from 15 on: apt-get install postgresql")

RULES = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
SETUP = """\
CREATE ROLE pm LOGIN;
CREATE ROLE deputy LOGIN;
CREATE DATABASE main OWNER pm;
CREATE DATABASE usage OWNER pm;
"""
TABLES = """\
CREATE TABLE package (id serial PRIMARY KEY, name text UNIQUE);
INSERT INTO package (name) SELECT 'p' || n FROM generate_series(1, 2000) AS n;
CREATE TABLE kept AS SELECT 1 AS id;
CREATE TABLE wide AS SELECT repeat(md5(n::text), 20) AS text FROM generate_series(1, 500) AS n;
CREATE STATISTICS spread ON id, name FROM package;
CREATE SEQUENCE numbers;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE MATERIALIZED VIEW names AS SELECT name FROM package;
SELECT lo_create(7);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server(("max_prepared_transactions=5", "autovacuum=off", "autovacuum_naptime=1"), rules=RULES) as made:
        made.sql(SETUP)
        for name in ("main", "usage"):
            work(made, TABLES, name)
        yield made


def work(server: Server, text: str, database: str = "main", user: str = "pm") -> None:
    """Do something in a session that has ended then, each statement by itself."""
    with closing(connect("127.0.0.1", server.port, Credentials(user, database, ""), "disable", 20)) as session:
        for statement in filter(None, map(str.strip, text.split(";"))):
            session.query(statement)


def options(server: Server, **changed: Any) -> dict[str, Any]:
    found = {"host": "127.0.0.1", "port": server.port, "databases": ["main", "usage"], "user": "pm", "password": ""}
    return {**found, "sslmode": "disable", "options": {}, "timeout": 1, **changed}


@pytest.fixture
def witness(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    monkeypatch.setattr(host_writes, "_PATIENCE", 2.0)
    with closing(Witness(options(server))) as made:
        made.begin()
        yield made


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count(*) FROM package; SELECT name FROM package WHERE id = 3 FOR UPDATE",
        "BEGIN; LOCK TABLE package; SELECT 1; COMMIT",
        "SELECT pg_advisory_lock(1)",
        "INSERT INTO package (id, name) VALUES (1, 'p1') ON CONFLICT DO NOTHING",
        "UPDATE package SET name = 'x' WHERE false",
        "VACUUM package",
        "ANALYZE; ANALYZE; ANALYZE package",
        "SELECT to_regclass('schema_version')",
    ],
)
def test_what_reads_or_analyzes_has_written_nothing(server: Server, witness: Witness, text: str) -> None:
    work(server, text, "usage")
    assert witness.doubt() == ""


WRITES = {
    "a table": "CREATE TABLE more (id int)",
    "a table that goes again": "BEGIN; CREATE TABLE gone (id int); DROP TABLE gone; COMMIT",
    "a column": "ALTER TABLE package ADD COLUMN size int",
    "an index": "CREATE INDEX ON package (name)",
    "a new name": "ALTER TABLE package RENAME COLUMN size TO bytes",
    "a right": "GRANT SELECT ON package TO deputy",
    "a comment": "COMMENT ON TABLE package IS 'packages'",
    "a function": "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "an extension": "CREATE EXTENSION IF NOT EXISTS plpgsql; CREATE SCHEMA extra",
    "a type": "CREATE TYPE colour AS ENUM ('red'); ALTER TYPE colour ADD VALUE 'blue'",
    "rows": "INSERT INTO package (name) VALUES ('new')",
    "rows of a query": "CREATE TABLE copied AS SELECT * FROM package",
    "a change": "UPDATE package SET name = 'other' WHERE id = 2",
    "the same again": "UPDATE package SET name = name WHERE id = 3",
    "a deletion": "DELETE FROM package WHERE id = 4",
    "a truncation": "TRUNCATE package",
    "a truncation of nothing": "TRUNCATE package",
    "what is rolled back": "BEGIN; INSERT INTO package (name) VALUES ('never'); ROLLBACK",
    "definitions that are rolled back": "BEGIN; CREATE TABLE never (id int); ROLLBACK",
    "what a savepoint takes back": "BEGIN; SAVEPOINT s; DELETE FROM kept; ROLLBACK TO s; COMMIT",
    "a number of a sequence": "SELECT nextval('numbers')",
    "a place of a sequence": "SELECT setval('numbers', 900)",
    "a large object": "SELECT lo_create(9)",
    "bytes of a large object": "SELECT lo_put(7, 0, 'x')",
    "a materialized view": "REFRESH MATERIALIZED VIEW names",
    "a setting of the database": "ALTER DATABASE usage SET search_path = public",
    "a right on the database": "GRANT CREATE ON DATABASE usage TO deputy",
    "a setting of the role": "ALTER ROLE pm SET work_mem = '5MB'",
    "what is prepared": "BEGIN; INSERT INTO package (name) VALUES ('later'); PREPARE TRANSACTION 'xusage'",
    "what was prepared": "ROLLBACK PREPARED 'xusage'",
    "a temporary table": "CREATE TEMPORARY TABLE t (id int)",
    "a rewritten table": "VACUUM FULL package",
}


@pytest.mark.parametrize("text", WRITES.values(), ids=WRITES)
def test_whatever_is_written_is_seen(server: Server, witness: Witness, text: str) -> None:
    work(server, text, "usage")
    assert "usage" in witness.doubt() or "prepared" in witness.doubt()


def test_what_analyze_puts_aside_is_not_counted_either(server: Server) -> None:
    work(server, "ALTER TABLE wide ALTER COLUMN text SET STATISTICS 300")
    with closing(Witness(options(server))) as made:
        made.begin()
        work(server, "ANALYZE")
        assert made.doubt() == ""
    counters = ", ".join(f"pg_stat_get_tuples_inserted({number}) > 0" for number in (2619, 2840, 3429))
    assert server.sql(f"SELECT {counters}", "main") == "t|t|t"


def test_it_is_told_what_was_written_and_where(server: Server, witness: Witness) -> None:
    work(server, "INSERT INTO package (name) VALUES ('one more')")
    assert witness.doubt() == "in main 1 rows inserted, sequences changed"


def test_what_a_session_is_still_at_is_waited_for(server: Server, witness: Witness) -> None:
    """A server goes on with a statement whose client is gone, and counts it at its end."""
    late = threading.Thread(
        target=lambda: work(server, "INSERT INTO kept SELECT 2 FROM pg_sleep(1)"),
    )
    late.start()
    time.sleep(0.5)
    assert witness.doubt() == "in main 1 rows inserted"
    late.join()


@pytest.mark.parametrize("user", ["pm", "deputy"])
def test_a_session_that_stays_is_a_doubt(server: Server, witness: Witness, user: str) -> None:
    with closing(connect("127.0.0.1", server.port, Credentials(user, "usage", ""), "disable", 20)):
        assert witness.doubt() == f"sessions that may write are left in a database: rspm.ha of {user}"


@pytest.mark.parametrize(
    "reset", ["SELECT pg_stat_reset()", "SELECT pg_stat_reset_single_table_counters('kept'::regclass)"]
)
def test_counters_that_begin_anew_are_a_doubt(server: Server, witness: Witness, reset: str) -> None:
    server.sql(reset, "usage")
    assert "reset changed" in witness.doubt()


def test_a_role_that_may_stop_the_counting_is_a_doubt(server: Server) -> None:
    with closing(Witness(options(server, user="postgres"))) as made:
        made.begin()
        assert "track_counts" in made.doubt()


def test_counting_that_is_off_in_one_of_the_databases_is_a_doubt(server: Server) -> None:
    server.sql("ALTER DATABASE usage SET track_counts = off")
    try:
        with closing(Witness(options(server))) as made:
            made.begin()
            assert "track_counts" in made.doubt()
    finally:
        server.sql("ALTER DATABASE usage RESET track_counts")


def test_a_first_reading_that_has_to_wait_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_writes, "_FIRST_TIMEOUT", 0.2)
    with closing(connect("127.0.0.1", server.port, Credentials("pm", "main", ""), "disable", 20)) as holder:
        with closing(Witness(options(server))) as made:
            holder.query("BEGIN")
            holder.query("ALTER SEQUENCE numbers INCREMENT 2")
            made.begin()
            assert "no answer within 0.2 s" in made.doubt()
        holder.query("ROLLBACK")


@pytest.mark.parametrize("changed", [{"port": 1}, {"databases": ["main", "missing"]}])
def test_a_database_that_does_not_answer_is_a_doubt(server: Server, changed: dict[str, Any]) -> None:
    with closing(Witness(options(server, **changed))) as made:
        made.begin()
        assert "could not be asked" in made.doubt()


def test_without_a_first_reading_nothing_is_known(server: Server) -> None:
    with closing(Witness(options(server))) as made:
        assert made.doubt() == "nothing was read before"


def test_an_older_server_is_a_doubt() -> None:
    assert "PostgreSQL 14 may lose" in doubt_old_server(140011) and not doubt_old_server(150000)


def test_a_server_that_has_crashed_in_between_is_a_doubt(server: Server, witness: Witness) -> None:
    """It serves again as the same postmaster, and has lost what it had counted."""
    with closing(connect("127.0.0.1", server.port, Credentials("pm", "main", ""), "disable", 20)) as victim:
        pid = victim.query("SELECT pg_backend_pid()").values[0][0]
        os.kill(int(pid or 0), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(ConnectFailed, ServerRefused):
            work(server, "SELECT 1")
            break
        time.sleep(0.2)
    assert "could not be asked" in witness.doubt()
