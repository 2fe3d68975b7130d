# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restore point with a PostgreSQL server that the test starts: what was there is there again, and only that."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.rspm.ha.plugins.module_utils import _account_loader as account_loader
from ansible_collections.rspm.ha.plugins.module_utils import _postgres_wire_loader as wire_loader
from ansible_collections.rspm.ha.plugins.module_utils import _restore_point as point
from ansible_collections.rspm.ha.plugins.module_utils import _restore_point_loader as loader
from ansible_collections.rspm.ha.plugins.module_utils import _service_loader as service_loader
from ansible_collections.rspm.ha.plugins.module_utils._database import Database
from ansible_collections.rspm.ha.plugins.module_utils._package import Host, staged_name
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._restore_point_loader import Store
from ansible_collections.rspm.ha.plugins.module_utils._runner_loader import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._upgrade_model import RestoreState
from ansible_collections.rspm.ha.plugins.modules import restore_point
from tests.unit import postgres_server
from tests.unit.postgres_server import ACCOUNT, SECRET, needs_server, postgres

pytestmark = needs_server

# one database of the role's own, one where it only may use public, and one with a schema for each kind of data
SETUP = """\
SET password_encryption = 'scram-sha-256';
CREATE ROLE pm LOGIN PASSWORD '{secret}';
CREATE ROLE monitor;
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


@pytest.fixture(scope="module")
def bare_server() -> Iterator[Server]:
    with postgres_server.running_server(certificate=True) as made:
        yield Server(made.port, made.folder)


@pytest.fixture
def server(bare_server: Server) -> Iterator[Server]:
    bare_server.sql(SETUP.format(secret=SECRET.replace("'", "''")))
    yield bare_server
    bare_server.sql(
        "".join(f"DROP DATABASE IF EXISTS {name} WITH (FORCE);\n" for name in ("main", "usage", "one"))
        + "DROP ROLE pm;\nDROP ROLE monitor;\n"
    )


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
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
    for module in (loader, account_loader):
        monkeypatch.setattr(module, "ACCOUNT", ACCOUNT)
    for module in (loader, service_loader):
        monkeypatch.setattr(module, "CONFIG_PATH", f"{folder}/etc/rstudio-pm.gcfg")
    shutil.chown(folder / "cache", "root", "root")
    monkeypatch.setattr(loader, "STAGING_FOLDER", f"{folder}/cache")
    monkeypatch.setattr(loader, "KNOWN_PATH", f"{folder}/root/restore-point-package.json")
    monkeypatch.setattr(loader, "load_host", lambda: host)
    monkeypatch.setattr(loader, "_SESSION_TIMEOUT", 0.3)
    yield folder
    shutil.rmtree(folder)


def store_of(server: Server, node: Path, **changes: str) -> Store:
    database = Database("127.0.0.1", server.port, "main", "usage", "pm", SECRET, "disable")
    return Store(Commands(), f"{node}/shared/.rspm-ha/restore-point", replace(database, **changes))


def create(store: Store, run_id: str = "r1") -> point.Metadata:
    return store.create(store.read(), run_id, "2026.04.0", "2026.08.0")


def test_what_was_there_before_is_there_again_and_nothing_else(server: Server, node: Path) -> None:
    store = store_of(server, node)
    before = {name: server.schema(name) for name in ("main", "usage")}
    assert store.read() == point.ABSENT
    made = create(store)
    assert store.read() == made and made.state is RestoreState.COMPLETE and made.server_version >= 130000
    package = "rstudio-pm_2026.04.0_amd64.deb"
    assert set(made.files) == {"main.dump", "usage.dump", "rstudio-pm.gcfg", "rstudio-pm.key", package}
    files = Path(store.path, made.folder)
    assert files.stat().st_mode & 0o777 == 0o700 and pwd.getpwuid(files.stat().st_uid).pw_name == ACCOUNT
    server.sql(MOVED)
    (node / "data/rstudio-pm.key").write_text("another key")
    assert {name: server.schema(name) for name in before} != before
    used = store.mark(made, RestoreState.IN_USE)
    done = store.restore(used)
    assert store.read() == done and done.state is RestoreState.RESTORED
    assert {name: server.schema(name) for name in before} == before
    assert (node / "data/rstudio-pm.key").read_text() == "the key"
    assert server.sql("SELECT obj_description('public'::regnamespace)", "usage") == "of the administrator"
    # again, as after a restore that was cut off
    server.sql(MOVED)
    store.restore(store.mark(done, RestoreState.RESTORING))
    assert {name: server.schema(name) for name in before} == before
    assert not [name for name in os.listdir("/run") if name.startswith("rspm-ha-")]


def test_two_schemas_in_one_database(server: Server, node: Path) -> None:
    store = store_of(server, node, name="one", usage_name="one", schema="a", usage_schema="B b")
    server.sql("SET ROLE pm; CREATE TABLE public.others (v text);", "one")
    made = create(store)
    before = server.schema("one")
    server.sql('SET ROLE pm; DROP TABLE a.t; CREATE TABLE "B b".new (v int); DELETE FROM "B b".t', "one")
    store.restore(made)
    assert server.schema("one") == before and "others" in before


def test_the_tools_trust_whom_the_host_trusts(server: Server, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = f"{server.folder}/data/server.crt"
    monkeypatch.setattr(wire_loader, "_ISSUERS", (certificate,))
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    store = store_of(server, node, sslmode="verify-full")
    assert store.restore(create(store)).state is RestoreState.RESTORED


def test_a_changed_file_is_found_before_anything_is_dropped(server: Server, node: Path) -> None:
    store = store_of(server, node)
    made = create(store)
    with Path(store.path, made.folder, "usage.dump").open("ab") as file:
        file.write(b"x")
    before = server.schema("main")
    with pytest.raises(DomainError, match=r"usage\.dump is missing or changed"):
        store.restore(made)
    assert server.schema("main") == before and store.read().state is RestoreState.COMPLETE


def test_a_session_of_a_node_keeps_it_from_restoring(server: Server, node: Path) -> None:
    store = store_of(server, node)
    made = create(store)
    assert store.database
    with (
        closing(loader.require_session("127.0.0.1", server.port, "usage", "pm", SECRET, "disable")) as session,
        pytest.raises(DomainError) as caught,
    ):
        session.query("SET application_name = 'rstudio-pm'")
        store.restore(made)
    assert caught.value.problem.check == "database-sessions"
    assert store.read().state is RestoreState.COMPLETE


def test_what_can_not_be_saved_leaves_the_older_one_and_no_rest(server: Server, node: Path) -> None:
    store = store_of(server, node)
    first = create(store)
    server.sql("CREATE TABLE secret (v text)", "usage")
    with pytest.raises(DomainError, match="permission denied"):
        create(store, "r2")
    assert store.read() == first
    assert sorted(os.listdir(store.path)) == sorted([point.METADATA, first.folder])
    server.sql("DROP TABLE secret", "usage")
    second = create(store, "r3")
    assert sorted(os.listdir(store.path)) == sorted([point.METADATA, second.folder])


def test_a_first_one_that_was_cut_off_is_incomplete(
    server: Server, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(server, node)

    def cut(_store: Store, _new: point.Metadata) -> point.Metadata:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "_fill", cut)
        create(store)
    assert store.read().state is RestoreState.INCOMPLETE
    assert create(store, "r2").state is RestoreState.COMPLETE
    assert len(os.listdir(store.path)) == 2


def test_package_and_configuration_come_back_to_a_node(server: Server, node: Path) -> None:
    store = store_of(server, node)
    made = create(store)
    package, config = node / "cache" / made.package, node / "etc/rstudio-pm.gcfg"
    assert store.stage(made, check_mode=False) == (str(package), False)
    assert store.configure(made, check_mode=False) == []
    old = config.read_text()
    sha256 = store.package_sum(made.package)
    package.unlink()
    with pytest.raises(DomainError, match="nothing on this node but the shared storage knows"):
        store.stage(made, check_mode=False)
    assert store.keep_sum(made.package, sha256, check_mode=True) and not (node / "root").exists()
    assert store.keep_sum(made.package, sha256, check_mode=False)
    assert not store.keep_sum(made.package, sha256, check_mode=False)
    assert store.package_sum(made.package) == sha256
    config.write_text("[HTTP]\nListen = :1\n")
    assert store.stage(made, check_mode=True) == (str(package), True) and not package.exists()
    assert store.configure(made, check_mode=True) == [str(config)] and config.read_text() != old
    assert store.stage(made, check_mode=False) == (str(package), True)
    assert package.read_bytes() == b"\x00\xffpackage" and package.stat().st_uid == 0
    assert store.configure(made, check_mode=False) == [str(config)] and config.read_text() == old
    assert config.stat().st_mode & 0o777 == 0o640
    assert os.listdir(node / "cache") == [made.package]


class Ended(Exception):
    """The end of a module run."""


def run_module(arguments: dict[str, Any]) -> dict[str, Any]:
    """Run the module in this process and return its result, with "failed" for a failure."""
    result: dict[str, Any] = {}

    def end(_module: object, **facts: Any) -> None:
        result.update(facts)
        raise Ended

    def fail(_module: object, **facts: Any) -> None:
        end(_module, failed=True, **facts)

    with patch_module_args(arguments), pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore_point.AnsibleModule, "exit_json", end)
        patch.setattr(restore_point.AnsibleModule, "fail_json", fail)
        with pytest.raises(Ended):
            restore_point.main()
    return result


def test_the_module_goes_through_all_states_and_is_idempotent(server: Server, node: Path) -> None:
    database = {"host": "127.0.0.1", "port": server.port, "name": "main", "usage_name": "usage", "user": "pm"}
    common = {
        "path": f"{node}/shared/.rspm-ha/restore-point",
        "database": {**database, "password": SECRET, "sslmode": "disable"},
    }
    versions = {"run_id": "r1", "from_version": "2026.04.0", "to_version": "2026.08.0"}

    def run(state: str, check: bool = False, **more: str) -> tuple[bool, str]:
        done = run_module({**common, **more, "state": state, "_ansible_check_mode": check})
        assert "canary" not in json.dumps(done, default=str)
        return (done["changed"], done["state"]) if "changed" in done else (False, done["problem"]["check"])

    assert run("observed") == (False, "absent")
    assert run("in_use") == (False, "restore-point")
    assert run("in_use", True) == (True, "in_use")
    assert run("restored") == (False, "restore-point")
    assert run("created", True, **versions) == (True, "complete")
    assert run("observed") == (False, "absent")
    assert run("created", **versions) == (True, "complete")
    # what was written since is saved too
    assert run("created", **versions) == (True, "complete")
    assert run("in_use", True) == (True, "in_use")
    assert run("in_use") == (True, "in_use")
    assert run("in_use") == (False, "in_use")
    assert run("created", **versions) == (False, "in_use")
    assert run("created", **{**versions, "run_id": "r2"}) == (False, "restore-point")
    assert run("restored", True) == (True, "restored")
    assert run("restored") == (True, "restored")
    assert run("restored") == (False, "restored")
    assert run("known", True, package="x.deb", sha256="0" * 64) == (True, "restored")
    assert run("known", package="x.deb", sha256="0" * 64) == (True, "restored")
    assert run("known", package="x.deb", sha256="0" * 64) == (False, "restored")
    assert run("staged") == (False, "restored")
    assert run("configured") == (False, "restored")
    assert run("in_use") == (True, "in_use")
    later = {"run_id": "r3", "from_version": "2026.08.0", "to_version": "2026.08.1"}
    assert run("created", **later) == (True, "complete")
