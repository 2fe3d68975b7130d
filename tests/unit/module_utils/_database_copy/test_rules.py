# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may be copied and dropped, and that no difference between two databases is overlooked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import content
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import rules as copy
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import Content, Grant, Item
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.failure import failed, judge_space, tool_failed
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import (
    CopyMark,
    CopyStep,
    Facts,
    Part,
    TargetState,
    Tools,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database

PART = Part("main", "pm", "pm", "")
FACTS = Facts("db:5432/pm", 150004, "UTF8", "7/1/", 10, 10, 1, 1, ("public.t",), True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def facts(comment: str = "", objects: bool = True, **more: Any) -> Facts:
    return replace(FACTS, comment=comment, objects=("public.t",) if objects else (), **more)


def written(comment: str, marker: CopyMark, schema: str = "") -> str:
    """Return what PostgreSQL makes of the statement."""
    statement = copy.comment_statement(replace(PART, schema=schema), comment, marker)
    literal = statement.partition(" IS E")[2]
    return literal[1:-1].replace("''", "'").replace("\\\\", "\\")


@given(TEXT, TEXT, TEXT, TEXT)
def test_a_marker_is_read_back_and_what_else_was_said_is_kept(said: str, source: str, where: str, digest: str) -> None:
    marker = CopyMark(source, where, digest)
    first = written(said, CopyMark("another", "another"))
    second = written(first, marker)
    kept, found = copy.parse_comment(second)
    assert found == marker and kept.strip() == said.strip()


@given(st.booleans(), st.booleans(), st.sampled_from(["", "7/1/", "8/1/"]), st.booleans(), st.booleans())
def test_only_an_unchanged_copy_of_this_source_is_ever_dropped(
    objects: bool, finished: bool, source: str, equal: bool, changed: bool
) -> None:
    marker = CopyMark(source, "db", "digest" if finished else "")
    target = facts(written("", marker) if source else "", objects)
    ours = source == "7/1/"
    try:
        step = copy.decide(PART, target, "7/1/", equal, "other" if changed else "digest")
    except DomainError:
        assert objects and (not ours or (finished and not equal and changed))
        return
    assert (step is CopyStep.KEEP) == (ours and finished and equal)
    if step is CopyStep.REPLACE:
        assert objects and ours and (not finished or not changed)
    elif step is CopyStep.FILL:
        assert not objects


def test_states_of_a_target() -> None:
    ours = CopyMark("7/1/", "db")
    assert copy.state_of(None, "7/1/") is TargetState.ABSENT
    assert copy.state_of(facts("", False), "7/1/") is TargetState.EMPTY
    assert copy.state_of(facts(), "7/1/") is TargetState.FOREIGN
    assert copy.state_of(facts("rspm.ha database_copy {not json}"), "7/1/") is TargetState.FOREIGN
    assert copy.state_of(facts(written("", ours), False), "7/1/") is TargetState.UNFINISHED
    assert copy.state_of(facts(written("", replace(ours, digest="d"))), "7/1/") is TargetState.FINISHED
    assert copy.state_of(facts(written("", ours)), "8/1/") is TargetState.FOREIGN
    assert copy.overall([TargetState.EMPTY, TargetState.EMPTY]) is TargetState.EMPTY
    assert copy.overall([TargetState.FINISHED, TargetState.EMPTY]) is TargetState.UNFINISHED
    assert copy.overall([TargetState.FINISHED, TargetState.FOREIGN]) is TargetState.FOREIGN


@pytest.mark.parametrize(
    ("source", "target", "schema", "found"),
    [
        ({"version": 160002}, {}, "", "is PostgreSQL 15.4, db:5432/pm is 16.2"),
        ({}, {"encoding": "LATIN1"}, "", "has the encoding LATIN1"),
        ({}, {"in_recovery": True}, "", "is a standby"),
        ({}, {"owner": False}, "", "does not own DATABASE"),
        ({}, {"owner": False}, "a", "does not own SCHEMA"),
        ({}, {"schema_exists": False}, "a", "has no schema a"),
        ({"large_objects": 2}, {}, "a", "owns 2 large objects"),
        ({"extensions": ("hstore", "x", "y")}, {"extensions": ("x",), "creatable": ("y",)}, "", "extension hstore,"),
    ],
)
def test_sides_that_do_not_fit(source: dict[str, Any], target: dict[str, Any], schema: str, found: str) -> None:
    part = replace(PART, schema=schema)
    [problem] = copy.judge_sides(part, replace(FACTS, **source), replace(FACTS, **target), "pm")
    assert found in problem.found and problem.fix
    assert copy.judge_sides(part, FACTS, replace(FACTS, version=170001), "pm") == []


def test_layouts_that_can_not_be_copied_one_to_one() -> None:
    two = Database("db", 5432, "pm", "usage", "pm", "", "require")
    one = replace(two, usage_name="pm", schema="a", usage_schema="b")
    assert copy.parts_of(one, one)[1] == Part("usage", "pm", "pm", "b")
    assert copy.parts_of(two, replace(two, name="x"))[0] == Part("main", "pm", "x", "")
    for source, target in ((two, one), (one, two), (one, replace(one, schema="c")), (two, replace(two, name="usage"))):
        with pytest.raises(DomainError):
            copy.parts_of(source, target)
    with pytest.raises(DomainError, match="a schema of its own"):
        copy.parts_of(replace(one, usage_schema="a"), replace(one, usage_schema="a"))


@given(st.sets(st.integers(9, 20)), st.integers(9, 20), st.integers(0, 5))
def test_tools_are_as_new_as_the_source_and_no_newer_than_the_target(majors: set[int], source: int, more: int) -> None:
    fitting = {major for major in majors if source <= major <= source + more}
    candidates = [Tools(f"/{major}", major) for major in majors]
    if fitting:
        assert copy.choose_tools(candidates, source, source + more).major == max(fitting)
    else:
        with pytest.raises(DomainError, match=f"PostgreSQL {source}"):
            copy.choose_tools(candidates, source, source + more)


def test_versions_of_tools() -> None:
    assert copy.parse_major("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)") == 15
    assert copy.parse_major("pg_dump (PostgreSQL) 18beta1") == 18
    assert copy.parse_major("nonsense") == 0


def test_a_full_disk_is_told_by_its_place() -> None:
    full = "could not write to file: No space left on device"
    assert "/var/tmp on node1 is full" in tool_failed("pg_dump", 1, full, "/var/tmp", "node1", "db").found
    assert "file system of target is full" in tool_failed("pg_restore", 1, full, "/var/tmp", "node1", "target").found
    assert "file system of target is full" in failed("target", "kein Platz", "53100").found
    assert judge_space("/var/tmp", 5, 5) == [] and "5 bytes free" in judge_space("/var/tmp", 5, 6)[0].found


NAMES = st.sampled_from(["public.a", "public.b", 'public."C c"'])
ITEMS = st.builds(Item, st.sampled_from(["table", "index", "view"]), NAMES, st.sampled_from(["x", "y"]))
GRANTS = st.builds(
    Grant,
    st.sampled_from(["TABLE", "DATABASE", "SCHEMA"]),
    NAMES,
    st.just(""),
    st.sampled_from(["", "r", "s"]),
    st.sampled_from(["SELECT", "UPDATE"]),
    st.booleans(),
)
CONTENTS = st.builds(
    Content,
    st.lists(ITEMS, unique_by=lambda item: (item.kind, item.name)).map(tuple),
    st.dictionaries(NAMES, st.tuples(st.integers(0, 3), st.sampled_from(["1 2", "2 1"]))),
    st.dictionaries(NAMES, st.sampled_from(["1 true", "1 false"])),
    st.sampled_from([(0, ""), (1, "d")]),
    st.frozensets(GRANTS),
    st.frozensets(st.sampled_from(["r", "s"])),
)


@given(CONTENTS, CONTENTS)
def test_two_contents_are_equal_exactly_when_nothing_differs(one: Content, other: Content) -> None:
    same = (sorted(one.items), one.tables, one.sequences, one.large_objects) == (
        sorted(other.items),
        other.tables,
        other.sequences,
        other.large_objects,
    )
    assert (content.compare(one, other, same_major=True) == []) == same == (one.digest() == other.digest())
    assert content.compare(one, one, same_major=False) == []


def test_how_another_major_version_words_a_view_does_not_count() -> None:
    one, other = (Content(items=(Item("view", "v", text), Item("table", "t", "x"))) for text in ("a", "b"))
    assert content.compare(one, other, same_major=False) == []
    assert [item.object for item in content.compare(one, other, same_major=True)] == ["view v"]
    assert content.compare(one, Content(items=one.items[1:]), same_major=False)


@given(CONTENTS, CONTENTS)
def test_rights_are_carried_over_to_roles_that_there_are(source: Content, target: Content) -> None:
    wanted = content.wanted_grants(source, target)
    assert {grant.grantee for grant in wanted} <= target.roles | {""}
    after = replace(target, grants=wanted | {grant for grant in target.grants if grant.kind != "TABLE"})
    assert content.grant_statements(source, after, fresh=True) == []
    statements = content.grant_statements(source, target, fresh=True)
    assert not [text for text in statements if "PUBLIC" in text and "TABLE" not in text]
    assert not [text for text in statements if text.startswith("REVOKE") and " ON TABLE " not in text]
    assert not [text for text in content.grant_statements(source, target, fresh=False) if text.startswith("REVOKE")]
    missing = {str(role["name"]) for role in content.missing_roles([(source, target)])}
    assert missing == {grant.grantee for grant in source.grants if grant.grantee} - target.roles


def test_statements_of_rights() -> None:
    def said(kind: str, name: str, column: str = "", grantee: str = 'a"b', option: bool = False) -> str:
        grant = Grant(kind, name, column, grantee, "SELECT", option)
        source = Content(grants=frozenset({grant}))
        return content.grant_statements(source, Content(roles=frozenset({'a"b'})), fresh=True)[0]

    assert said("TABLE", "s.t", "c", option=True) == 'GRANT SELECT (c) ON TABLE s.t TO "a""b" WITH GRANT OPTION'
    assert said("TABLE", "s.t", grantee="") == "GRANT SELECT ON TABLE s.t TO PUBLIC"
    assert said("DEFAULT TABLES", "") == 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "a""b"'
    assert said("DEFAULT TABLES", "s") == 'ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO "a""b"'


def test_the_commands_that_remove_the_old_databases() -> None:
    two = Database("db", 5432, "pm", "usage", "pm", "", "require")
    assert copy.removal_commands(two) == ['DROP DATABASE "pm";', 'DROP DATABASE "usage";']
    one = replace(two, usage_name="pm", schema="a", usage_schema="b")
    assert copy.removal_commands(one)[1] == '\\connect "pm"\nDROP SCHEMA "b" CASCADE;'


def test_servers_that_hash_differently_are_compared_by_another_hash() -> None:
    assert content.row_hashes("1 2", "1 2") != content.row_hashes("1 2", "3 4")
    assert all("sha256" in one for one in content.row_hashes("1 2", "3 4"))
