# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two PostgreSQL servers, one with databases to copy, and the module run on them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host as database_copy_host
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host_tools
from ansible_collections.rspm.ha.plugins.modules import database_copy
from tests.unit.worlds import postgres_server
from tests.unit.worlds.module_run import run_module
from tests.unit.worlds.postgres_server import SECRET, postgres

NAMES = ("main", "usage", "one")
ROLES = "SET password_encryption = 'scram-sha-256'; CREATE ROLE pm LOGIN PASSWORD '{}';"
DATABASES = """\
CREATE DATABASE main OWNER pm TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE usage OWNER pm TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE one OWNER pm TEMPLATE template0 ENCODING 'UTF8';
\\c one
CREATE SCHEMA a AUTHORIZATION pm;
CREATE SCHEMA "B b" AUTHORIZATION pm;
"""
# a little of everything whose text depends on a setting, whose name has to be quoted, or that a copy may forget
CONTENT = """\
\\c main
SET ROLE pm;
CREATE EXTENSION pg_trgm;
CREATE SCHEMA own;
CREATE TYPE kind AS ENUM ('source', 'binary');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
CREATE TABLE package (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE, gone int, kind kind,
  size float8, at timestamptz, took interval, raw bytea, meta jsonb, price money, label short, tags text[]);
ALTER TABLE package DROP COLUMN gone;
COMMENT ON TABLE package IS 'the packages';
INSERT INTO package (name, kind, size, at, took, raw, meta, price, label, tags)
  SELECT 'p' || i, 'source', i / 3.0, timestamptz '2026-03-29 00:30+00' + i * interval '1 hour', i * interval '1 day',
  decode(md5(i::text), 'hex'), jsonb_build_object('i', i, 'text', E'a\\n"b"'), i, 'l' || i, ARRAY[NULL, '', 'x']
  FROM generate_series(1, 3000) i;
INSERT INTO package (name) VALUES (NULL), (NULL), (''), (E'tab\\t, "quote" \\\\ (paren)');
CREATE INDEX search ON package USING gin (name gin_trgm_ops);
CREATE TABLE own.version (package int REFERENCES package, version text) PARTITION BY HASH (package);
CREATE TABLE own.v0 PARTITION OF own.version FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE own.v1 PARTITION OF own.version FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO own.version SELECT i, '1.' || i FROM generate_series(1, 500) i;
CREATE TABLE "odd ""name" ("rspm_ha" int, "select" text);
INSERT INTO "odd ""name" VALUES (1, 'twice'), (1, 'twice');
CREATE TABLE bare ();
CREATE SEQUENCE counter START 7;
SELECT nextval('counter'), nextval('counter');
CREATE SEQUENCE fresh;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT ON package FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW own.named AS SELECT name, version, twice(id) FROM package JOIN own.version ON package = id;
CREATE MATERIALIZED VIEW stored AS SELECT count(*) FROM package;
SELECT lo_from_bytea(0, 'a large object');
GRANT SELECT ON package, own.named TO reporting, auditor;
GRANT SELECT (version) ON own.version TO reporting WITH GRANT OPTION;
GRANT USAGE ON SCHEMA own TO reporting;
GRANT CONNECT ON DATABASE main TO reporting;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reporting;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE TABLE parent (v int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1);
\\c usage
SET ROLE pm;
CREATE TABLE download (name text, day date);
INSERT INTO download SELECT 'p' || i % 10, date '2026-01-01' + i % 300 FROM generate_series(1, 2000) i;
\\c one
SET ROLE pm;
CREATE TABLE a.t (v text);
INSERT INTO a.t VALUES ('one');
CREATE TABLE "B b".t (id serial, v text);
INSERT INTO "B b".t (v) VALUES ('two');
"""


class Server(postgres_server.Server):
    """A server whose databases are copied, or are a copy."""

    def dump(self, database: str) -> str:
        """Return everything in the database as text, rows sorted, without what differs between two dumps."""
        settings = "PGOPTIONS=-c bytea_output=hex -c timezone=UTC"
        text = postgres("env", settings, "pg_dump", "-h", str(self.folder), "-p", str(self.port), database)
        return "\n".join(sorted(line for line in text.splitlines() if not line.startswith("\\")))

    def drop(self) -> None:
        for name in NAMES:
            self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql("DROP ROLE IF EXISTS pm, reporting, auditor")

    def option(self, **changes: Any) -> dict[str, Any]:
        known = {"host": "127.0.0.1", "port": self.port, "name": "main", "usage_name": "usage", "user": "pm"}
        return {**known, "password": SECRET, "sslmode": "disable", **changes}


@contextmanager
def two_clusters() -> Iterator[tuple[Server, Server]]:
    """Give two servers without databases, which are slow to make."""
    with ExitStack() as stack:
        made = [stack.enter_context(postgres_server.running_server(["autovacuum=off"])) for _side in range(2)]
        servers = [Server(server.port, server.folder) for server in made]
        # whatever the text of a row depends on is another on this one
        servers[1].sql(
            "ALTER SYSTEM SET timezone = 'Asia/Tokyo'; ALTER SYSTEM SET datestyle = 'SQL, DMY';"
            "ALTER SYSTEM SET extra_float_digits = 0; ALTER SYSTEM SET bytea_output = 'escape';"
            "ALTER SYSTEM SET intervalstyle = 'iso_8601'; ALTER SYSTEM SET statement_timeout = '20s';"
            "ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf()".replace(";", ";\n")
        )
        yield servers[0], servers[1]


@contextmanager
def filled(clusters: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Source with content, target as the role database makes it; there is no role auditor on the target."""
    source, target = clusters
    for server in clusters:
        server.drop()
    source.sql(ROLES.format(SECRET.replace("'", "''")) + "CREATE ROLE reporting; CREATE ROLE auditor;\n" + DATABASES)
    source.sql(CONTENT)
    target.sql(ROLES.format(SECRET.replace("'", "''")) + "CREATE ROLE reporting;\n" + DATABASES)
    run = Path(tempfile.mkdtemp(prefix="rspm-copy-run-"))
    monkeypatch.setattr(host_tools, "RUN_FOLDER", str(run))
    monkeypatch.setattr(database_copy_host, "_SESSION_TIMEOUT", 0.3)
    yield source, target
    left = os.listdir(run)
    shutil.rmtree(run)
    assert left == []


def run_copy(servers: tuple[Server, Server], work: Path, **more: Any) -> dict[str, Any]:
    layout = more.pop("layout", {})
    sides = {"source": servers[0].option(**layout), "target": servers[1].option(**layout)}
    result = run_module(database_copy, {**sides, "work_path": str(work), "jobs": 2, **more})
    invocation = result.pop("invocation")
    assert "canary" not in json.dumps([result, invocation])
    assert os.listdir(work) == [], "the dump was not removed"
    return result


def succeed(servers: tuple[Server, Server], work: Path, **more: Any) -> dict[str, Any]:
    result = run_copy(servers, work, **more)
    assert not result.get("failed"), result["msg"]
    return result
