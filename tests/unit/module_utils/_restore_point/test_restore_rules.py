# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is passed on of a dump's text, what is restored of it, with which tools, and what a failure is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import Difference
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import Tools
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import restore_rules as rules
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.restore_rules import Place

PLACE = Place("db1:5432/pm", "", "pm")
HEAD = """\
--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.18

BEGIN;

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

"""
OPENED = """\
--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.18


SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

"""
FIRST = "--\n-- Name: t; Type: TABLE; Schema: public; Owner: pm\n--\n\nCREATE TABLE public.t (v text);\n\n"
END = "\n\nCOMMIT;\n\n--\n-- PostgreSQL database dump complete\n--\n\n"


@given(st.text())
def test_only_what_is_ahead_of_the_first_object_is_changed(body: str) -> None:
    hidden = f"{FIRST}{body}\nBEGIN;\nSET lock_timeout = 0;\n"
    assert rules.opening((HEAD + hidden).encode()) == (OPENED + hidden).encode()
    assert rules.opening((HEAD + END).encode()) == (OPENED + END).encode()


@given(st.binary(max_size=200), st.sampled_from(["", "\\unrestrict abc\n\n"]), st.data())
def test_only_a_whole_text_has_an_end(body: bytes, last: str, data: st.DataObject) -> None:
    text = body + (END + last).encode()
    ended = rules.ending(text)
    assert ended is not None and ended.startswith(body) and b"COMMIT;" not in ended[len(body) :]
    assert ended.endswith(last.encode())
    # a text that is cut before its COMMIT has no end, unless something in it only looks like one
    cut = body + END.encode()[: data.draw(st.integers(0, len("\n\nCOMMIT;")))]
    if b"COMMIT;\n" not in body:
        assert rules.ending(cut) is None


def test_what_looks_like_an_end_inside_of_data_is_none() -> None:
    assert rules.ending(b"COPY t FROM stdin;\n\nCOMMIT;\n\nmore\n\\.\n") is None
    ended = rules.ending(b"x\nCOMMIT;\n" + END.encode())
    assert ended is not None and ended.startswith(b"x\nCOMMIT;\n") and ended.count(b"COMMIT;") == 1


def test_what_stays_is_not_restored() -> None:
    listed = """\
;     dbname: main
6; 2615 16390 SCHEMA - own pm
7; 2615 16399 SCHEMA - B b pm
2; 3079 16400 EXTENSION - pg_trgm 
3320; 0 0 COMMENT - SCHEMA own pm
3321; 0 0 ACL - SCHEMA own pm
3322; 0 0 ACL - SCHEMA B b pm
3323; 0 0 COMMENT - EXTENSION pg_trgm 
3324; 3466 16401 EVENT TRIGGER - audit postgres
215; 1259 16391 TABLE public package pm
3325; 0 0 ACL public TABLE package pm
3341; 0 16402 TABLE DATA cron job dba
3342; 0 16403 SEQUENCE SET cron jobid_seq dba
3343; 0 16404 TABLE DATA public package pm
2034; 826 16393 DEFAULT ACL - DEFAULT PRIVILEGES FOR TABLES pm
2035; 826 16394 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES postgres
"""  # noqa: W291
    kept = ["SCHEMA own", "SCHEMA public", "EXTENSION pg_trgm", "EVENT TRIGGER audit"]
    kept += ["EXTENSION DATA cron job", "EXTENSION DATA cron jobid_seq"]
    chosen = rules.choose_entries(listed, kept, "pm")
    assert [line.split(";")[0] for line in chosen.splitlines()[1:]] == ["7", "3322", "215", "3325", "3343", "2034"]
    assert rules.in_dump(listed, "SCHEMA", ["own", "B b", "newer"]) == ("own", "B b")
    assert rules.in_dump(listed, "EXTENSION", ["pg_trgm", "hstore"]) == ("pg_trgm",)
    assert rules.names_of("SCHEMA", kept) == ["own", "public"]


@pytest.mark.parametrize(
    ("known", "server", "oldest", "expected"),
    [
        ([13, 15, 18], 15, 0, 15),
        ([13, 17, 18], 15, 0, 17),
        # the dump was written by newer tools
        ([15, 18], 15, 18, 18),
        ([13], 15, 0, None),
        ([15], 15, 18, None),
        ([], 15, 0, None),
    ],
)
def test_tools_are_never_older_than_the_server(known: list[int], server: int, oldest: int, expected: int) -> None:
    there = [Tools(f"/usr/lib/postgresql/{major}/bin", major) for major in known]
    if expected is not None:
        assert rules.choose_tools(there, server, oldest, "n1").major == expected
        return
    with pytest.raises(DomainError, match=f"postgresql-client-{max(server, oldest)}") as caught:
        rules.choose_tools(there, server, oldest, "n1")
    assert caught.value.problems[0].check == "restore-point-tools" and "on n1" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "owner", "line"),
    [
        ("function", "public.f(integer)", "dba", 'ALTER FUNCTION public.f(integer) OWNER TO "pm"'),
        ("publication", "p DROP TABLE public.t", "dba", "ALTER PUBLICATION p DROP TABLE public.t"),
        ("text search parser", "public.p", "", "DROP TEXT SEARCH PARSER public.p"),
        ("view outside", "public.v", "pm", "DROP VIEW public.v"),
        ("constraint outside", "k on public.t", "pm", "ALTER TABLE public.t DROP CONSTRAINT k"),
    ],
)
def test_the_line_for_the_administrator(kind: str, name: str, owner: str, line: str) -> None:
    (problem,) = rules.judge_others(PLACE, [{"kind": kind, "name": name, "owner": owner}])
    assert line in problem.fix and name in problem.found and "db1:5432/pm" in problem.found


def test_what_is_as_it_was_is_no_problem() -> None:
    assert rules.judge_others(PLACE, []) == rules.judge_rehearsal(PLACE, []) == rules.judge_counts(PLACE, {}, {}) == []
    assert rules.judge_counts(PLACE, {"t": 1}, {"t": 1, "u": 2}) == []
    (problem,) = rules.judge_counts(PLACE, {"t": 1, "u": 3}, {"t": 1})
    assert "u: 3 rows saved, None restored" in problem.found
    many = [Difference(f"table {number}", "there", "") for number in range(9)]
    (problem,) = rules.judge_rehearsal(PLACE, many)
    assert "table 4" in problem.found and "and 4 more" in problem.found and "table 5" not in problem.found


SAID = """\
psql:<stdin>:5: ERROR:  55P03: canceling statement due to lock timeout
CONTEXT:  SQL statement "DROP table IF EXISTS public.package CASCADE"
PL/pgSQL function inline_code_block line 1 at EXECUTE
LOCATION:  ProcessInterrupts, postgres.c:3334
psql:<stdin>:5: STATEMENT:  DO $rspm_ha$ DECLARE
"""


@pytest.mark.parametrize("rehearsal", [True, False])
def test_a_failure_says_what_holds_it_and_what_is_there_now(rehearsal: bool) -> None:
    assert rules.state_of(SAID) == rules.LOCKED and rules.state_of("psql: error: connection failed") == ""
    problem = rules.not_restored(PLACE, SAID, ["backup of dba (pid 7)"], rehearsal=rehearsal)
    assert "lock timeout (tables are in use by backup of dba (pid 7))" in problem.found
    named = rules.not_restored(PLACE, SAID.replace("DO $rspm_ha$", "ALTER TABLE t"), [], rehearsal=rehearsal)
    assert "lock timeout (ALTER TABLE t DECLARE)" in named.found
    assert "inline_code_block" not in problem.found and "$rspm" not in problem.found and "Wait until" in problem.fix
    assert ("nothing was stopped" if rehearsal else "all that it held before") in problem.why
