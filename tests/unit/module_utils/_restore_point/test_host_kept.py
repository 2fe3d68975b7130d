# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Going back never ends in nothing: whatever is in a database, whoever uses it, and whatever dies in the middle."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres import host as postgres_host
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import host_restore as host
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from tests.unit.worlds.postgres_server import SECRET, needs_server
from tests.unit.worlds.restore_points import MOVED, Server, create, store_of

pytestmark = needs_server


RIGHT = [
    "CREATE SCHEMA crew AUTHORIZATION crew; SET ROLE crew; CREATE TABLE crew.t AS SELECT 1 AS v",
    "CREATE TABLE of_group AS SELECT 1 AS v; ALTER TABLE of_group OWNER TO crew; GRANT CREATE ON SCHEMA public TO crew",
    "SET ROLE pm; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO monitor",
    "SET ROLE pm; ALTER DEFAULT PRIVILEGES IN SCHEMA own GRANT SELECT ON TABLES TO monitor",
    "SET ROLE pm; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO monitor",
    "SET ROLE pm; CREATE PUBLICATION of_table FOR TABLE package",
    "CREATE PUBLICATION of_all FOR ALL TABLES WITH (publish = 'insert')",
    "SET ROLE pm; SELECT lo_from_bytea(0, 'a large object')",
    "SET ROLE pm; CREATE TEXT SEARCH CONFIGURATION words (COPY = english)",
    "SET ROLE pm; CREATE TEXT SEARCH DICTIONARY stop (TEMPLATE = pg_catalog.simple)",
    "SET ROLE pm; CREATE COLLATION german (LOCALE = 'C'); CREATE TABLE sorted (v text COLLATE german)",
    "CREATE EXTENSION pg_trgm; SET ROLE pm; CREATE INDEX near ON package USING gin (name gin_trgm_ops)",
    "CREATE EXTENSION pageinspect",
    "SET ROLE pm; CREATE EXTENSION pg_trgm; CREATE INDEX near ON package USING gin (name gin_trgm_ops)",
    "CREATE FUNCTION pg_temp.x() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE SCHEMA audit; "
    "CREATE EXTENSION pageinspect SCHEMA audit",
    "CREATE SCHEMA lent; GRANT ALL ON SCHEMA lent TO pm; SET ROLE pm; CREATE TABLE lent.t AS SELECT 1 AS v",
    "SET ROLE pm; CREATE SCHEMA shown; GRANT USAGE ON SCHEMA shown TO monitor; COMMENT ON SCHEMA shown IS 'x'",
    "SET ROLE pm; CREATE STATISTICS counted ON id, name FROM package",
    "SET ROLE pm; CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)",
    "SET ROLE pm; CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "SET ROLE pm; CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); CREATE TABLE s (v short); "
    "CREATE PROCEDURE p(v short) LANGUAGE sql AS 'SELECT 1'; CREATE TYPE pair AS (a short, b int)",
    "SET ROLE pm; ALTER TABLE package ENABLE ROW LEVEL SECURITY; CREATE POLICY later ON package USING (id > 1)",
    "SET ROLE pm; CREATE TABLE parts (v int) PARTITION BY LIST (v); CREATE TABLE part PARTITION OF parts DEFAULT",
    'SET ROLE pm; CREATE TABLE "odd ""name" ("select" text); '
    'INSERT INTO "odd ""name" VALUES (E\'COMMIT;\\n-- Name: \')',
    "SET ROLE pm; CREATE PROCEDURE odd() LANGUAGE plpgsql AS E'BEGIN\\nCOMMIT;\\nEND'",
    "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none; "
    "GRANT USAGE ON FOREIGN SERVER far TO pm; SET ROLE pm; CREATE FOREIGN TABLE there (v int) SERVER far",
]
REFUSED = [
    ("CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", 'ALTER FUNCTION public.f(integer) OWNER TO "pm"'),
    ("CREATE VIEW seen AS SELECT 1 AS v; GRANT SELECT ON seen TO pm", 'ALTER VIEW public.seen OWNER TO "pm"'),
    ("CREATE TABLE theirs (v int); GRANT SELECT ON theirs TO pm", 'ALTER TABLE public.theirs OWNER TO "pm"'),
    ("CREATE PUBLICATION of_table FOR TABLE package", "ALTER PUBLICATION of_table DROP TABLE public.package"),
    ("SELECT lo_create(4242); GRANT SELECT ON LARGE OBJECT 4242 TO pm", 'ALTER LARGE OBJECT 4242 OWNER TO "pm"'),
    ("CREATE TEXT SEARCH CONFIGURATION words (COPY = english)", "ALTER TEXT SEARCH CONFIGURATION public.words OWNER"),
    ("CREATE TEXT SEARCH TEMPLATE made (LEXIZE = dsimple_lexize)", "DROP TEXT SEARCH TEMPLATE public.made"),
    ("CREATE COLLATION german (LOCALE = 'C')", 'ALTER COLLATION public.german OWNER TO "pm"'),
    ("CREATE TYPE kinds AS ENUM ('a')", 'ALTER TYPE public.kinds OWNER TO "pm"'),
    (
        "CREATE TABLE of_group (v int); ALTER TABLE of_group OWNER TO crew",
        "permission denied for schema public (ALTER TABLE public.of_group OWNER TO crew;)",
    ),
    (
        "GRANT SELECT ON package TO monitor WITH GRANT OPTION; SET ROLE monitor; GRANT SELECT ON package TO crew",
        "could not be made anew",
    ),
]


@pytest.mark.parametrize("planted", RIGHT)
def test_what_can_come_back_comes_back_as_it_was(server: Server, node: Path, planted: str) -> None:
    server.sql(planted, "main")
    store = store_of(server, node)
    before = {name: server.schema(name) for name in ("main", "usage")}
    made = create(store)
    assert {name: server.schema(name) for name in before} == before
    server.sql(MOVED)
    assert {name: server.schema(name) for name in before} != before
    store.restore(made)
    assert {name: server.schema(name) for name in before} == before


@pytest.mark.parametrize(("planted", "line"), REFUSED)
def test_what_could_not_come_back_is_refused_by_name(server: Server, node: Path, planted: str, line: str) -> None:
    server.sql(planted, "main")
    store = store_of(server, node)
    before = server.schema("main")
    with pytest.raises(DomainError) as caught:
        create(store)
    assert line in str(caught.value) and store.read().state is RestoreState.INCOMPLETE
    assert server.schema("main") == before and os.listdir(store.path) == ["restore-point.json"]


@pytest.mark.parametrize(
    ("planted", "tables"),
    [
        ("CREATE PUBLICATION of_all FOR ALL TABLES", ["own.version"]),
        ("CREATE PUBLICATION changes FOR ALL TABLES WITH (publish = 'delete')", ["own.version"]),
        (
            "ALTER TABLE own.version REPLICA IDENTITY NOTHING; ALTER TABLE package REPLICA IDENTITY NOTHING; "
            "CREATE PUBLICATION p FOR ALL TABLES",
            ["own.version", "public.package"],
        ),
        ("SET ROLE pm; CREATE PUBLICATION p FOR TABLE package", []),
        ("ALTER TABLE own.version REPLICA IDENTITY FULL; CREATE PUBLICATION of_all FOR ALL TABLES", []),
    ],
)
def test_rows_that_a_migration_could_not_change_are_told_before(
    server: Server, node: Path, planted: str, tables: list[str]
) -> None:
    server.sql(planted, "main")
    store = store_of(server, node)
    if not tables:
        assert create(store).state is RestoreState.COMPLETE
        return
    with pytest.raises(DomainError) as caught:
        create(store)
    (problem,) = caught.value.problems
    lines = [f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name in tables]
    assert problem.check == "database-publication" and f": {'; '.join(lines)} (or" in problem.fix
    assert store.read().state is RestoreState.ABSENT
    # on the way back no schema moves
    assert store.create(store.read(), "r1", "2026.08.0", "2026.04.0").state is RestoreState.COMPLETE
    for name in tables:
        with pytest.raises(subprocess.CalledProcessError):
            server.sql(f"DELETE FROM {name}", "main")
    server.sql("; ".join(lines), "main")
    assert create(store, "r2").state is RestoreState.COMPLETE


def test_what_others_hang_on_the_tables_later_is_never_dropped(server: Server, node: Path) -> None:
    store = store_of(server, node)
    made = create(store)
    server.sql(MOVED)
    server.sql("CREATE VIEW report AS SELECT name FROM package", "main")
    before = server.schema("main")
    with pytest.raises(DomainError, match=r"would go: view public\.report") as caught:
        store.restore(made)
    assert "all that it held before" in str(caught.value) and server.schema("main") == before
    server.sql("DROP VIEW report", "main")
    assert store.restore(store.read()).state is RestoreState.RESTORED


def test_what_hangs_on_a_schema_from_outside_is_refused(server: Server, node: Path) -> None:
    store = store_of(server, node, name="one", usage_name="one", schema="a", usage_schema="B b")
    server.sql("SET ROLE pm; CREATE VIEW public.report AS SELECT v FROM a.t", "one")
    with pytest.raises(DomainError, match=r"DROP VIEW public\.report"):
        create(store)
    server.sql(
        "DROP VIEW public.report; SET ROLE pm; ALTER TABLE a.t ADD UNIQUE (v); CREATE TABLE public.r "
        "(v text CONSTRAINT far REFERENCES a.t (v)); SELECT lo_create(4242)",
        "one",
    )
    with pytest.raises(DomainError, match=r"ALTER TABLE public\.r DROP CONSTRAINT far; SELECT lo_unlink\(4242\)"):
        create(store)


def test_a_rehearsal_waits_for_no_writer_and_stops_none(server: Server, node: Path) -> None:
    store = store_of(server, node)
    with closing(postgres_host.require_session("127.0.0.1", server.port, "main", "pm", SECRET, "disable")) as session:
        session.query("SET lock_timeout = '1s'")
        session.query("BEGIN")
        session.query("UPDATE package SET name = name || '2'")
        made = create(store)
        session.query("COMMIT")
    assert made.rows["main.dump"] == {"own.version": 2, "public.package": 2}


@pytest.mark.parametrize("rehearsal", [True, False])
def test_who_keeps_a_table_is_named_and_nothing_goes_on_afterwards(
    server: Server, node: Path, monkeypatch: pytest.MonkeyPatch, rehearsal: bool
) -> None:
    # an extension's schema can't be set aside, so that the tables are locked for a rehearsal
    server.sql("CREATE EXTENSION pg_trgm", "main")
    monkeypatch.setattr(host, "_LOCK_MS", 300)
    monkeypatch.setattr(host, "_REHEARSAL_ATTEMPTS", 2)
    store = store_of(server, node)
    made = None if rehearsal else create(store)
    server.sql(MOVED)
    before = server.schema("main")
    keeper = subprocess.Popen(
        ["runuser", "-u", "postgres", "--", "psql", "-qX", "-h", str(server.folder), "-p", str(server.port), "main"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PGAPPNAME": "backup"}, cwd="/",
    )  # fmt: skip
    assert keeper.stdin and keeper.stdout
    keeper.stdin.write(b"BEGIN; LOCK TABLE package IN ACCESS SHARE MODE; SELECT 'held';\n")
    keeper.stdin.flush()
    while b"held" not in keeper.stdout.readline():
        continue
    with pytest.raises(DomainError, match="tables are in use by backup of postgres"):
        store.restore(made) if made else create(store)
    keeper.communicate(b"ROLLBACK;\n")
    time.sleep(0.5)
    assert server.schema("main") == before
    assert (store.restore(store.read()) if made else create(store)).state is not RestoreState.RESTORING


def test_a_dump_that_ends_too_early_changes_nothing(server: Server, node: Path) -> None:
    server.sql("SET ROLE pm; CREATE TABLE long AS SELECT md5(i::text) AS v FROM generate_series(1, 20000) i", "main")
    store = store_of(server, node)
    made = create(store)
    server.sql(MOVED)
    before = server.schema("main")
    file = Path(store.path, made.folder, "main.dump")
    os.truncate(file, file.stat().st_size * 2 // 3)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DomainError, match="could not read"):
        patch.setattr(type(store), "verify", lambda _store, _now: None)
        store.restore(made)
    assert server.schema("main") == before


def test_the_wrong_number_of_rows_is_never_committed(server: Server, node: Path) -> None:
    store = store_of(server, node)
    made = create(store)
    server.sql(MOVED)
    before = server.schema("main")
    made.rows["main.dump"]["public.package"] = 3  # type: ignore[index]
    with pytest.raises(DomainError, match=r"public\.package: 3 rows saved, 2 restored"):
        store.restore(made)
    assert server.schema("main") == before
