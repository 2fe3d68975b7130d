# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restore point: when it may be made, used and restored, and what its tools' words mean."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres.client_tools import (
    password_file,
    quote_pattern,
    restore_list,
    tool_environment,
    wipe_statement,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import SSLMODES, known_options, tool_options
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host import Store
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import (
    ABSENT,
    Metadata,
    RestoreState,
    dumps_of,
    judge_files,
    judge_move,
    must_create,
    parse,
    render,
    take_back,
    tool_failed,
)

A, B, C = "2025.12.0-14", "2026.04.0", "2026.08.0"
POINT = Metadata(
    RestoreState.COMPLETE, "r1", A, B, "2026-11-24T05:50:01Z", "r1-x", 150004, {"main.dump": "aa"}, "", "/k"
)


def point(state: RestoreState) -> Metadata:
    return dataclasses.replace(POINT, state=state)


@pytest.mark.parametrize("state", list(RestoreState))
def test_what_is_written_is_read(state: RestoreState) -> None:
    assert parse(render(point(state)), "p") == point(state)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        render(POINT).replace("complete", "done"),
        render(POINT).replace("r1-x", "../r1"),
        render(POINT).replace("main.dump", "../../etc/passwd"),
        json.dumps({**json.loads(render(POINT)), "package": "../x"}),
        json.dumps({**json.loads(render(POINT)), "package": "not-in-files.deb"}),
        json.dumps({**json.loads(render(POINT)), "more": 1}),
    ],
)
def test_what_can_not_be_read_is_never_taken_for_absent(text: str) -> None:
    with pytest.raises(DomainError):
        parse(text, "p")


@pytest.mark.parametrize(
    ("now", "run", "source", "target", "expected"),
    [
        (ABSENT, "r1", A, B, True),
        (point(RestoreState.INCOMPLETE), "r1", A, B, True),
        (point(RestoreState.COMPLETE), "r1", A, B, True),
        (point(RestoreState.COMPLETE), "r2", A, B, True),
        (point(RestoreState.COMPLETE), "r1", A, C, True),
        (point(RestoreState.IN_USE), "r1", A, B, False),
        (point(RestoreState.IN_USE), "r2", A, B, None),
        (point(RestoreState.IN_USE), "r2", A, C, None),
        (point(RestoreState.IN_USE), "r2", B, C, True),
        (point(RestoreState.RESTORING), "r1", A, B, None),
        (point(RestoreState.RESTORING), "r2", B, C, None),
        (point(RestoreState.RESTORED), "r2", A, B, True),
        (ABSENT, "../r1", A, B, None),
    ],
)
def test_when_it_is_made(now: Metadata, run: str, source: str, target: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(DomainError):
            must_create(now, run, source, target)
    else:
        assert must_create(now, run, source, target) is expected


def test_when_it_is_used_and_restored() -> None:
    used = {state for state in RestoreState if not judge_move(state, RestoreState.IN_USE)}
    assert used == {RestoreState.COMPLETE, RestoreState.IN_USE, RestoreState.RESTORED}
    restored = {state for state in RestoreState if not judge_move(state, RestoreState.RESTORED)}
    assert restored == {*used, RestoreState.RESTORING}


def test_dumps() -> None:
    two = Database("db1", 5432, "pm", "usage", "u", "p", "require")
    assert [(dump.database, dump.schema) for dump in dumps_of(two)] == [("pm", ""), ("usage", "")]
    one = dataclasses.replace(two, usage_name="pm", schema="a", usage_schema="b")
    assert [(dump.database, dump.schema) for dump in dumps_of(one)] == [("pm", "a"), ("pm", "b")]
    assert quote_pattern('a"*') == '"a""*"'
    assert "n.nspname = E'a''b'" in wipe_statement("a'b") and "DROP SCHEMA" not in wipe_statement("a'b")


@pytest.mark.parametrize("sslmode", SSLMODES)
@pytest.mark.parametrize("issuers", ["/etc/issuers.pem", ""])
def test_only_who_verifies_names_the_issuers(sslmode: str, issuers: str) -> None:
    database = Database("db1", 5433, "pm", "usage", "u", "canary", sslmode)
    wanted = {"PGHOST": "db1", "PGPORT": "5433", "PGUSER": "u", "PGSSLMODE": sslmode, "PGPASSFILE": "/run/x"}
    known = known_options(sslmode, {}, issuers, 150018)
    given = tool_environment(database, "/run/x", tool_options("db1", 5433, sslmode, known, 150018))
    assert wanted.items() <= given.items() and "canary" not in given.values()
    assert given.get("PGSSLROOTCERT", "") == (issuers if sslmode in ("verify-ca", "verify-full") else "")


def unescaped(line: str) -> list[str]:
    """Read a line of a password file as libpq does."""
    fields, escaped = [""], False
    for character in line.rstrip("\n"):
        if escaped or character not in ":\\":
            fields[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            fields.append("")
    return fields


@given(st.text(st.characters(exclude_characters="\n\r\0")), st.text(st.characters(exclude_characters="\n\r\0")))
def test_any_password_survives_the_password_file(user: str, password: str) -> None:
    assert unescaped(password_file(user, password)) == ["*", "*", "*", user, password]


LIST = """\
;
; Archive created at 2026-11-24
;     dbname: main
6; 2615 16390 SCHEMA - own pm
7; 2615 2200 SCHEMA - public pg_database_owner
8; 2615 16399 SCHEMA - B b pm
3320; 0 0 COMMENT - SCHEMA public pg_database_owner
3321; 0 0 ACL - SCHEMA public pg_database_owner
3322; 0 0 COMMENT - EXTENSION pg_trgm
215; 1259 16391 TABLE public package pm
3323; 0 0 ACL public TABLE package pm
3324; 0 0 COMMENT public TABLE package pm
"""


def test_schemas_that_are_there_are_left_alone() -> None:
    kept = restore_list(LIST, ["public", "own", "pg_catalog"])
    assert [line.split(";")[0] for line in kept.splitlines()[3:]] == ["8", "215", "3323", "3324"]
    assert "SCHEMA - own" in restore_list(LIST, ["public", "B b"])
    assert "SCHEMA - B b" not in restore_list(LIST, ["B b"])
    assert "SCHEMA - B b" in restore_list(LIST, [])


def test_changed_and_missing_files_are_named() -> None:
    assert judge_files({"a": "1"}, {"a": "1", "b": "2"}, "/p") == []
    (problem,) = judge_files({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x"}, "/p")
    assert "b, c are missing or changed" in problem.found


@pytest.mark.parametrize(
    ("rc", "said", "check", "part"),
    [
        (1, "pg_dump: error: permission denied for table x", "restore-point", "permission denied"),
        (124, "", "restore-point", "ran out of time"),
    ],
)
def test_the_words_of_the_tools(rc: int, said: str, check: str, part: str) -> None:
    problem = tool_failed(["pg_dump", "-Fc"], rc, said)
    assert problem.check == check and part in str(problem)


@pytest.mark.parametrize(("rc", "said"), [(124, ""), (1, "cat: x: Permission denied"), (1, "Stale file handle")])
def test_a_storage_that_does_not_answer_is_not_absent(rc: int, said: str) -> None:
    def runner(argv: list[str], **_more: Any) -> CompletedCommand:
        return CompletedCommand(rc, "", said)

    with pytest.raises(DomainError):
        Store(runner, "/mnt/rstudio-pm/.rspm-ha/restore-point").read()


def test_nothing_there_is_absent() -> None:
    def runner(argv: list[str], **_more: Any) -> CompletedCommand:
        return CompletedCommand(1, "", "cat: x: No such file or directory")

    assert Store(runner, "/mnt/rstudio-pm/.rspm-ha/restore-point").read() == ABSENT


@given(st.sampled_from(RestoreState), st.sampled_from([A, B, C]))
def test_only_what_is_in_use_for_the_version_is_taken_back(state: RestoreState, version: str) -> None:
    now = dataclasses.replace(POINT, state=state)
    if (state, version) == (RestoreState.IN_USE, B):
        assert take_back(now, version) == POINT
    else:
        with pytest.raises(DomainError, match=f"the restore point is {state.value}, and of an upgrade to {B}"):
            take_back(now, version)
