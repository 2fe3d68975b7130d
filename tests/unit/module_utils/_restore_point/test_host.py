# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restore point with a PostgreSQL server that the test starts: what was there is there again, and only that."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres import host as postgres_host
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import rules as point
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host import Store
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.modules import restore_point
from tests.unit.worlds.module_run import run_module
from tests.unit.worlds.postgres_server import ACCOUNT, SECRET, needs_server
from tests.unit.worlds.restore_points import MOVED, Server, create, store_of

pytestmark = needs_server


def test_what_was_there_before_is_there_again_and_nothing_else(
    server: Server, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private: list[str] = []
    make = tempfile.mkdtemp

    def mkdtemp(*args: Any, **options: Any) -> str:
        private.append(make(*args, **options))
        return private[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
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
    assert private and not [path for path in private if os.path.exists(path)]


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
    monkeypatch.setattr(postgres_host, "_ISSUERS", (certificate,))
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
        closing(postgres_host.require_session("127.0.0.1", server.port, "usage", "pm", SECRET, "disable")) as session,
        pytest.raises(DomainError) as caught,
    ):
        session.query("SET application_name = 'rstudio-pm'")
        store.restore(made)
    assert caught.value.problems[0].check == "database-sessions"
    assert store.read().state is RestoreState.COMPLETE


def test_what_can_not_be_saved_leaves_the_older_one_and_no_rest(server: Server, node: Path) -> None:
    store = store_of(server, node)
    first = create(store)
    server.sql("CREATE TABLE secret (v text); ALTER TABLE secret OWNER TO pm; REVOKE ALL ON secret FROM pm", "usage")
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


def test_the_module_goes_through_all_states_and_is_idempotent(server: Server, node: Path) -> None:
    database = {"host": "127.0.0.1", "port": server.port, "name": "main", "usage_name": "usage", "user": "pm"}
    common = {
        "path": f"{node}/shared/.rspm-ha/restore-point",
        "database": {**database, "password": SECRET, "sslmode": "disable"},
    }
    versions: dict[str, Any] = {"run_id": "r1", "from_version": "2026.04.0", "to_version": "2026.08.0"}

    def run(state: str, check: bool = False, **more: str) -> tuple[bool, str]:
        done = run_module(restore_point, {**common, **more, "state": state, "_ansible_check_mode": check})
        assert "canary" not in json.dumps(done, default=str)
        return (done["changed"], done["state"]) if "changed" in done else (False, done["problems"][0]["check"])

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
    later: dict[str, Any] = {"run_id": "r3", "from_version": "2026.08.0", "to_version": "2026.08.1"}
    assert run("created", **later) == (True, "complete")


def test_the_module_tells_the_space_that_a_dump_needs_and_removes_what_it_saved(server: Server, node: Path) -> None:
    database = {"host": "127.0.0.1", "port": server.port, "name": "main", "usage_name": "usage", "user": "pm"}
    common: dict[str, Any] = {"path": f"{node}/shared/.rspm-ha/before-rollback"}
    login = {"database": {**database, "password": SECRET, "sslmode": "disable"}}
    before = run_module(restore_point, {**common, **login})["space"]
    # not made yet, so its folder is not there either
    assert common["path"].startswith(before["path"]) and os.path.isdir(before["path"])
    # others write there too
    assert abs(before["free"] - shutil.disk_usage(before["path"]).free) < 1 << 30
    assert "space" not in run_module(restore_point, common)
    for name, rows in (
        ("main", "SET ROLE pm; INSERT INTO package (name) SELECT repeat(md5(g::text), 30)"),
        ("usage", ""),
    ):
        more = rows or "SET ROLE pm; INSERT INTO download (name) SELECT repeat(md5(g::text), 30)"
        server.sql(f"{more} FROM generate_series(1, 5000) g", name)
    versions: dict[str, Any] = {"run_id": "r1", "from_version": "2026.08.0", "to_version": "2026.04.0"}
    made = run_module(restore_point, {**common, **login, **versions, "state": "created"})
    needed = run_module(restore_point, {**common, **login})["space"]["dump"]
    saved = sum(os.path.getsize(f"{made['folder']}/{name}") for name in made["files"])
    assert needed - before["dump"] > 2 * 5000 * 30 * 32 and needed > saved
    assert run_module(restore_point, {**common, "state": "absent", "_ansible_check_mode": True})["changed"]
    assert os.path.isdir(made["folder"])
    done = run_module(restore_point, {**common, "state": "absent"})
    assert (done["changed"], done["state"], done["folder"]) == (True, "absent", "")
    assert not os.path.exists(common["path"])
    assert not run_module(restore_point, {**common, "state": "absent"})["changed"]


def test_one_whose_restore_has_begun_stays_and_tells_since_when(server: Server, node: Path) -> None:
    store = store_of(server, node)
    made = create(store)
    assert made.restored == ""
    assert store.restore(made).restored >= made.created
    store.mark(store.read(), RestoreState.RESTORING)
    with pytest.raises(DomainError, match="rollback, which finishes it"):
        store.remove(store.read(), check_mode=False)
    assert os.path.isdir(store.path)
