# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server with databases to save, and a node whose files lie in a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core import host_user
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import Host, staged_name
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import host as restore_point_host
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import rules as point
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host import Store
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from tests.unit.worlds import postgres_server
from tests.unit.worlds.postgres_server import ACCOUNT, SECRET, postgres

# one database of the role's own, one where it only may use public, and one with a schema for each kind of data
SETUP = """\
SET password_encryption = 'scram-sha-256';
CREATE ROLE pm LOGIN PASSWORD '{secret}';
CREATE ROLE monitor;
CREATE ROLE crew ROLE pm;
CREATE DATABASE main OWNER pm;
CREATE DATABASE usage;
CREATE DATABASE one OWNER pm;
\\c usage
GRANT ALL ON SCHEMA public TO pm;
COMMENT ON SCHEMA public IS 'of the administrator';
\\c one
CREATE SCHEMA a AUTHORIZATION pm;
CREATE SCHEMA "B b" AUTHORIZATION pm;
SET ROLE pm;
CREATE TABLE a.t (v text);
INSERT INTO a.t VALUES ('one');
CREATE TABLE "B b".t (v text);
INSERT INTO "B b".t VALUES ('two');
\\c main
SET ROLE pm;
CREATE SCHEMA own;
CREATE TYPE kind AS ENUM ('source', 'binary');
CREATE TABLE package (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE, kind kind);
CREATE TABLE own.version (package int REFERENCES package, version text);
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
CREATE VIEW own.named AS SELECT name, version, twice(id) FROM package JOIN own.version ON package = id;
INSERT INTO package (name, kind) VALUES ('dplyr', 'source'), ('rlang', 'binary');
INSERT INTO own.version VALUES (1, '1.1.4'), (2, '1.1.0');
GRANT SELECT ON package TO monitor;
\\c usage
SET ROLE pm;
CREATE TABLE download (name text, day date);
INSERT INTO download VALUES ('dplyr', '2026-01-01');
"""
MOVED = """\
\\c main
SET ROLE pm;
ALTER TABLE package ADD COLUMN added text;
DELETE FROM own.version;
ALTER TYPE kind ADD VALUE 'wheel';
CREATE TABLE newer (id int);
CREATE SCHEMA newer;
CREATE TABLE newer.more (id int);
CREATE FUNCTION thrice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n';
CREATE TYPE point3 AS (x int, y int, z int);
CREATE DOMAIN name AS text;
CREATE MATERIALIZED VIEW stored AS SELECT count(*) FROM package;
\\c usage
SET ROLE pm;
DROP TABLE download;
CREATE TABLE downloads (name text);
"""


class Server(postgres_server.Server):
    """A server with what is saved."""

    def schema(self, database: str) -> str:
        """Return everything in the database as text, without what differs between two dumps of the same."""
        text = postgres("pg_dump", "-h", str(self.folder), "-p", str(self.port), database)
        return "\n".join(line for line in text.splitlines() if not line.startswith("\\"))


class Commands(list[list[str]]):
    """Runs commands for real and notes them."""

    def __call__(
        self,
        argv: list[str],
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> CompletedCommand:
        assert "canary" not in " ".join(argv) + json.dumps(env)
        self.append(argv)
        done = subprocess.run(
            argv,
            input=input,
            text=True,
            capture_output=True,
            timeout=60,
            env={**os.environ, **(env or {})},
            cwd="/",
            check=False,
        )
        return CompletedCommand(done.returncode, done.stdout, done.stderr)


@contextmanager
def bare() -> Iterator[Server]:
    """Give a server without databases, which is slow to make."""
    with postgres_server.running_server(certificate="IP:127.0.0.1") as made:
        yield Server(made.port, made.folder)


@contextmanager
def filled(bare_server: Server) -> Iterator[Server]:
    """Fill it with what is saved."""
    bare_server.sql(SETUP.format(secret=SECRET.replace("'", "''")))
    yield bare_server
    bare_server.sql(
        "".join(f"DROP DATABASE IF EXISTS {name} WITH (FORCE);\n" for name in ("main", "usage", "one"))
        + "DROP ROLE pm, monitor, crew;\n"
    )


@contextmanager
def node_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A node whose files lie in a folder, with the account of PostgreSQL as the service's."""
    folder = Path(tempfile.mkdtemp(prefix="rspm-node-"))
    folder.chmod(0o755)
    for name in ("etc", "cache", "data", "shared"):
        (folder / name).mkdir()
        shutil.chown(folder / name, ACCOUNT, ACCOUNT)
    (folder / "etc/rstudio-pm.gcfg").write_text(f"[Server]\nDataDir = {folder}/data\n")
    (folder / "data/rstudio-pm.key").write_text("the key")
    for path in ("etc/rstudio-pm.gcfg", "data/rstudio-pm.key"):
        (folder / path).chmod(0o600)
        shutil.chown(folder / path, ACCOUNT, ACCOUNT)
    host = Host("debian", "12", "x86_64")
    (folder / "cache" / staged_name(host.family, "2026.04.0", host.machine)).write_bytes(b"\x00\xffpackage")
    for module in (restore_point_host, host_user):
        monkeypatch.setattr(module, "ACCOUNT", ACCOUNT)
    for module in (restore_point_host, service_host):
        monkeypatch.setattr(module, "CONFIG_PATH", f"{folder}/etc/rstudio-pm.gcfg")
    shutil.chown(folder / "cache", "root", "root")
    monkeypatch.setattr(restore_point_host, "STAGING_FOLDER", f"{folder}/cache")
    monkeypatch.setattr(restore_point_host, "KNOWN_PATH", f"{folder}/root/restore-point-package.json")
    monkeypatch.setattr(restore_point_host, "load_host", lambda: host)
    monkeypatch.setattr(restore_point_host, "_SESSION_TIMEOUT", 0.3)
    yield folder
    shutil.rmtree(folder)


def store_of(server: Server, node: Path, **changes: Any) -> Store:
    """Return the restore point of a node."""
    database = Database("127.0.0.1", server.port, "main", "usage", "pm", SECRET, "disable")
    return Store(Commands(), f"{node}/shared/.rspm-ha/restore-point", replace(database, **changes))


def create(store: Store, run_id: str = "r1") -> point.Metadata:
    """Make it."""
    return store.create(store.read(), run_id, "2026.04.0", "2026.08.0")
