# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copying databases between two PostgreSQL servers: all of it is there, and what is not is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host_tools
from tests.unit.worlds.database_copy_servers import Server, run_copy, succeed
from tests.unit.worlds.postgres_server import BINARIES, needs_server

pytestmark = needs_server


def test_both_databases_are_copied_and_a_second_run_changes_nothing(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    source, target = servers
    before = source.dump("main"), source.dump("usage")
    predicted = succeed(servers, tmp_path, _ansible_check_mode=True)
    assert predicted["changed"] and target.dump("main") != source.dump("main")
    made = succeed(servers, tmp_path, _ansible_diff=True)
    assert made["changed"] and made["before_state"] == "empty" and made["target_state"] == "ours_finished"
    # package, v0, v1, odd, bare, parent, child; download
    assert made["verified_tables"] == 8 and made["rows"] == 3004 + 500 + 2 + 1 + 2000
    assert made["source_version"].startswith(BINARIES[-1].parts[-3]) and made["bytes"] > 500_000
    steps = [step["step"] for step in made["timeline"]]
    assert steps[:4] == ["observe", "sessions", "dump main", "empty main"] and steps[-1] == "sessions afterwards"
    assert (source.dump("main"), source.dump("usage")) == before

    def compared(server: Server, name: str) -> list[str]:
        text = server.dump(name).splitlines()
        return [line for line in text if "auditor" not in line and "TO postgres" not in line]

    for name in ("main", "usage"):
        assert compared(source, name) == compared(target, name)
    assert target.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'own')", "main") == "pm"
    assert target.sql("SELECT reltuples FROM pg_class WHERE relname = 'package'", "main") == "3004"
    again = succeed(servers, tmp_path)
    assert not again["changed"] and again["before_state"] == "ours_finished" and again["verified_tables"] == 8
    assert not succeed(servers, tmp_path, _ansible_check_mode=True)["changed"]
    assert succeed(servers, tmp_path, state="observed")["target_state"] == "ours_finished"


def test_rights_follow_the_roles_that_there_are(servers: tuple[Server, Server], tmp_path: Path) -> None:
    target = servers[1]
    target.sql("REVOKE CONNECT ON DATABASE main FROM PUBLIC; COMMENT ON DATABASE main IS 'of the administrator'")
    made = succeed(servers, tmp_path)
    has = "SELECT has_table_privilege('{}', '{}', 'SELECT')"
    assert target.sql(has.format("reporting", "package"), "main") == "t"
    assert target.sql("SELECT has_column_privilege('reporting', 'own.version', 'version', 'SELECT')", "main") == "t"
    assert target.sql("SELECT has_column_privilege('reporting', 'own.version', 'package', 'SELECT')", "main") == "f"
    assert target.sql("SELECT has_function_privilege('reporting', 'twice(int)', 'EXECUTE')", "main") == "f"
    assert target.sql("SELECT has_database_privilege('reporting', 'main', 'CONNECT')") == "t"
    assert "PUBLIC" not in "".join(right for right in made["rights"] if "DATABASE" in right)
    target.sql("SET ROLE pm; CREATE TABLE later ()", "main")
    assert target.sql(has.format("reporting", "later"), "main") == "t"
    target.sql("DROP TABLE later", "main")
    assert target.sql(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'main'"
    ).startswith("of the administrator rspm.ha database_copy {")
    [missing] = made["missing_roles"]
    assert missing["name"] == "auditor" and missing["commands"] == [
        'CREATE ROLE "auditor"',
        'GRANT SELECT ON TABLE own.named TO "auditor"',
        'GRANT SELECT ON TABLE public.package TO "auditor"',
    ]
    target.sql(missing["commands"][0])
    assert succeed(servers, tmp_path, _ansible_check_mode=True)["rights"] == missing["commands"][1:]
    given = succeed(servers, tmp_path)
    assert given["changed"] and given["missing_roles"] == [] and given["rights"] == missing["commands"][1:]
    assert [one["action"] for one in given["databases"]] == ["keep", "keep"]
    assert target.sql(has.format("auditor", "package"), "main") == "t"
    assert not succeed(servers, tmp_path)["changed"]


def test_two_schemas_of_one_database(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = servers
    layout = {"name": "one", "usage_name": "one", "schema": "a", "usage_schema": "B b"}
    target.sql("CREATE TABLE public.others (v text)", "one")
    made = succeed(servers, tmp_path, layout=layout)
    assert made["verified_tables"] == 2 and target.sql('SELECT v FROM "B b".t', "one") == "two"
    assert target.sql("SELECT nextval('\"B b\".t_id_seq')", "one") == "2"
    # the sequence is not what it was: somebody wrote to the copy
    refused = run_copy(servers, tmp_path, layout=layout)
    assert "schema B b was written to since it was copied" in refused["msg"]
    target.sql("SELECT setval('\"B b\".t_id_seq', 1)", "one")
    assert not succeed(servers, tmp_path, layout=layout)["changed"]
    source.sql("INSERT INTO a.t VALUES ('more')", "one")
    moved = succeed(servers, tmp_path, layout=layout)
    assert [one["action"] for one in moved["databases"]] == ["replace", "keep"]
    assert target.sql("SELECT count(*) FROM a.t", "one") == "2" and target.sql("TABLE others", "one") == ""


PLANTED = [
    ("UPDATE package SET size = size + 1e-9 WHERE id = 7", "rows of public.package"),
    ("DELETE FROM own.version WHERE package = 3", "rows of own.v"),
    ("INSERT INTO own.version VALUES (3, '1.4')", "rows of own.v"),
    ('INSERT INTO "odd ""name" SELECT * FROM "odd ""name" LIMIT 1', 'rows of public."odd ""name"'),
    ("DROP TABLE bare", "table public.bare"),
    ("UPDATE package SET tags = ARRAY['', '', 'x'] WHERE id = 9", "rows of public.package"),
    ("SELECT nextval('counter')", "sequence value public.counter"),
    ("SELECT setval('fresh', 1)", "sequence value public.fresh"),
    ("CREATE TABLE extra (v int)", "table public.extra"),
    ("DROP INDEX search", "index public.search"),
    ("ALTER TABLE package ALTER id SET GENERATED BY DEFAULT", "column public.package.id"),
    ("ALTER TABLE own.version DROP CONSTRAINT version_package_fkey", "constraint version_package_fkey on own.version"),
    ("ALTER TYPE kind ADD VALUE 'wheel'", "type public.kind"),
    ("CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 3 * n'", "routine public.twice"),
    ("ALTER TABLE package DISABLE TRIGGER touched", "trigger touched on public.package"),
    ("SELECT lo_put(oid, 0, 'A') FROM pg_largeobject_metadata", "large objects"),
    (
        "CREATE OR REPLACE VIEW own.named AS SELECT name, version, 1 AS twice FROM package, own.version",
        "view own.named",
    ),
]


@pytest.mark.parametrize("count", [1, len(PLANTED)])
def test_what_was_planted_in_the_target_is_found(
    servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    target = servers[1]
    restore = host_tools.WorkFolder.restore

    def corrupt(self: Any, *arguments: Any) -> None:
        restore(self, *arguments)
        if arguments[2] == "main":
            target.sql(";\n".join(["SET ROLE pm", *(planted for planted, _found in PLANTED[:count])]), "main")

    with monkeypatch.context() as patch:
        patch.setattr(host_tools.WorkFolder, "restore", corrupt)
        refused = run_copy(servers, tmp_path)
    objects = [item["object"] for item in refused["mismatches"]]
    missed = [found for _planted, found in PLANTED[:count] if not any(name.startswith(found) for name in objects)]
    assert refused["failed"] and not missed and (count > 1 or len(objects) == 1), objects
    assert refused["mismatches"][0]["object"] in refused["msg"]
    assert succeed(servers, tmp_path, state="observed")["target_state"] == "ours_unfinished"
    redone = succeed(servers, tmp_path)
    assert [one["action"] for one in redone["databases"]] == ["replace", "fill"]
    assert not succeed(servers, tmp_path)["changed"]


def test_a_copy_that_was_written_to_is_not_replaced_and_one_that_was_not_is(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    source, target = servers
    succeed(servers, tmp_path)
    source.sql("INSERT INTO download VALUES ('new', now())", "usage")
    moved = succeed(servers, tmp_path)
    assert [one["action"] for one in moved["databases"]] == ["keep", "replace"]
    assert target.sql("SELECT count(*) FROM download", "usage") == "2001"
    target.sql("DELETE FROM download WHERE name = 'new'", "usage")
    refused = run_copy(servers, tmp_path)
    assert "/usage was written to since it was copied" in refused["msg"]
    assert target.sql("SELECT count(*) FROM download", "usage") == "2000"
