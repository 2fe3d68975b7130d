# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the nodes' rules stand in pg_hba.conf: they decide about the nodes, and nothing else is touched."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.client_rules import (
    Access,
    Word,
    clients_of,
    may_match,
    quote,
    read_records,
    with_rules,
)

ACCESS = Access(("pm", "pm_usage"), "pm_role", ("10.2.0.1", "10.2.0.2"), True)
BLOCK = """\
# rspm.ha: nodes of pm, begin
hostssl pm,pm_usage pm_role 10.2.0.1/32 scram-sha-256
hostssl pm,pm_usage pm_role 10.2.0.2/32 scram-sha-256
# rspm.ha: nodes of pm, end
"""
DEBIAN = """\
# PostgreSQL Client Authentication Configuration File

# DO NOT DISABLE!
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
host    replication     all             127.0.0.1/32            scram-sha-256
"""


def fields(line: str) -> tuple[tuple[Word, ...], ...]:
    (record,) = read_records([line])
    return record.fields


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("host a,b c 10.0.0.0/8 md5 # why\n", [["host"], ["a", "b"], ["c"], ["10.0.0.0/8"], ["md5"]]),
        ("host a, b c all md5", [["host"], ["a", "b"], ["c"], ["all"], ["md5"]]),
        ('host "a b","c,d" "e""f" all md5', [["host"], ["a b", "c,d"], ['e"f'], ["all"], ["md5"]]),
        ('"""x"', [['"x']]),
        ("# all of it", []),
        ("", []),
    ],
)
def test_a_line_is_read_as_the_server_reads_it(line: str, words: list[list[str]]) -> None:
    assert [[word.text for word in field] for field in fields(line)] == words


def test_a_line_that_is_continued_is_one() -> None:
    records = list(
        read_records(["host all \\\n", "all 10.0.0.0/8 md5\n", "# comment \\\n", "host all all all trust\n", "x\\"])
    )
    assert [(record.first, record.end) for record in records] == [(0, 2), (2, 4), (4, 5)]
    assert len(records[0].fields) == 5 and records[1].fields == () and records[1].comment


@pytest.mark.parametrize(
    ("line", "may"),
    [
        ("local all all peer", False),
        ("host all all 10.2.0.0/16 reject", True),
        ("host all all 10.3.0.0/16 reject", False),
        ("host all all 10.2.0.0 255.255.0.0 reject", True),
        ("host all all 10.3.0.0 255.255.0.0 reject", False),
        ("host all all ::/0 reject", False),
        ("hostnossl all all 0.0.0.0/0 reject", False),
        ("hostgssenc all all 0.0.0.0/0 reject", True),
        ("host all all all reject", True),
        ("host all all samenet reject", True),
        ("host all all .example.org reject", True),
        ("host replication all all reject", False),
        ("host other all all reject", False),
        ('host "all" all all reject', False),
        ('host "pm" all all reject', True),
        ("host sameuser all all reject", False),
        ("host samerole all all reject", True),
        ("host /^p all all reject", True),
        ("host @list all all reject", True),
        ("host all +team all reject", True),
        ('host all "+team" all reject', False),
        ("host all pm_role all reject", True),
        ("host all other all reject", False),
        ("include more.conf", True),
        ("include_dir more", True),
        ("nonsense", True),
        ("", False),
    ],
)
def test_which_rules_may_match_a_node(line: str, may: bool) -> None:
    assert may_match(fields(line), ACCESS) is may


def test_sameuser_is_a_database_of_the_roles_name() -> None:
    assert may_match(fields("host sameuser all all reject"), replace(ACCESS, user="pm"))


def test_without_tls_a_rule_for_either_way_may_match() -> None:
    assert may_match(fields("hostnossl all all 0.0.0.0/0 reject"), replace(ACCESS, tls=False))


def test_the_distributions_file_gets_them_at_its_end() -> None:
    assert with_rules(DEBIAN, ACCESS) == DEBIAN + BLOCK
    assert with_rules("", ACCESS) == BLOCK
    assert with_rules("local all all peer", ACCESS) == "local all all peer\n" + BLOCK


def test_a_reject_that_stands_first_stays_behind_them_with_its_comment() -> None:
    text = "# ours\nlocal all all peer\n\n# nobody\n# at all\nhost all all all reject\nhost shop shop 10.0.0.9/32 md5\n"
    before, after = text[: text.index("# nobody")], text[text.index("# nobody") :]
    assert with_rules(text, ACCESS) == before + BLOCK + after


def test_a_rule_that_somebody_puts_before_them_later_is_overtaken() -> None:
    text = "host all all 10.2.0.0/16 reject\n" + with_rules(DEBIAN, ACCESS)
    assert with_rules(text, ACCESS) == BLOCK + "host all all 10.2.0.0/16 reject\n" + DEBIAN


def test_they_stay_where_they_work() -> None:
    text = DEBIAN + BLOCK + "host all all all reject\n"
    assert with_rules(text, ACCESS) == text
    fewer = with_rules(text, replace(ACCESS, clients=("10.2.0.2",)))
    assert fewer == text.replace("hostssl pm,pm_usage pm_role 10.2.0.1/32 scram-sha-256\n", "")
    assert [str(network) for network in clients_of(text, ACCESS)] == ["10.2.0.1/32", "10.2.0.2/32"]


def test_two_clusters_on_one_server_have_rules_of_their_own() -> None:
    other = Access(("test", "test_usage"), "test", ("10.2.0.7",), False)
    both = with_rules(with_rules(DEBIAN, ACCESS), other)
    assert BLOCK in both and "host test,test_usage test 10.2.0.7/32 scram-sha-256\n" in both
    assert with_rules(both, ACCESS) == both == with_rules(both, other)


BACKWARDS = "".join(reversed(BLOCK.splitlines(keepends=True)))


@pytest.mark.parametrize("lines", [BLOCK.replace(", end", ""), BLOCK + BLOCK, BACKWARDS])
def test_lines_of_comment_that_are_not_whole_are_refused(lines: str) -> None:
    with pytest.raises(DomainError, match=r"pg_hba\.conf has the lines"):
        with_rules(lines, ACCESS)


@pytest.mark.parametrize("name", ["all", "sameuser", "+x", "/x", "@x", "a b", "a,b", 'a"b', "#a", ""])
def test_a_name_with_a_meaning_is_quoted_and_read_as_itself(name: str) -> None:
    (field,) = fields(quote(name)) or ((Word("", True),),)
    assert field == (Word(name, True),)


@dataclass(frozen=True)
class Rule:
    """A rule of others, by what it means."""

    kind: str
    database: str
    user: str
    network: str

    def text(self, gap: str) -> str:
        where = "" if self.kind == "local" else f"{gap}{self.network}"
        return f"{self.kind}{gap}{self.database}{gap}{self.user}{where}{gap}reject\n"

    def matches(self, database: str, user: str, address: str) -> bool:
        return (
            self.kind in ("host", "hostssl")
            and self.database in ("all", database)
            and self.user in ("all", user)
            and ipaddress.ip_address(address) in ipaddress.ip_network(self.network)
        )


RULES = st.builds(
    Rule,
    kind=st.sampled_from(["local", "host", "hostssl", "hostnossl"]),
    database=st.sampled_from(["all", "pm", "pm_usage", "shop", "replication"]),
    user=st.sampled_from(["all", "pm_role", "shop"]),
    network=st.sampled_from(["0.0.0.0/0", "10.2.0.0/16", "10.2.0.2/32", "10.3.0.0/16", "::/0"]),
)
LINES = st.lists(st.one_of(RULES, st.sampled_from(["\n", "# a comment\n", "  # an indented one\n"])), max_size=8)
CLIENTS = st.lists(st.sampled_from(["10.2.0.1", "10.2.0.2", "10.3.0.3"]), min_size=1, max_size=3, unique=True)


@given(LINES, st.sampled_from([" ", "\t", "   "]), CLIENTS, CLIENTS, st.integers(0, 8), st.lists(RULES, max_size=2))
def test_ours_decide_about_the_nodes_and_nothing_else_changes(
    lines: list[Rule | str], gap: str, first: list[str], then: list[str], at: int, more: list[Rule]
) -> None:
    text = "".join(line if isinstance(line, str) else line.text(gap) for line in lines)
    known = {rule.text(gap): rule for rule in [*more, *(line for line in lines if isinstance(line, Rule))]}
    written = with_rules(text, replace(ACCESS, clients=tuple(first))).splitlines(keepends=True)
    # afterwards somebody adds rules, anywhere but within ours
    begin = written.index("# rspm.ha: nodes of pm, begin\n")
    place = min(at, begin) if at < 5 else len(written)
    mixed = [*written[:place], *(rule.text(gap) for rule in more), *written[place:]]
    access = replace(ACCESS, clients=tuple(then))
    result = with_rules("".join(mixed), access)
    assert with_rules(result, access) == result
    kept = result.splitlines(keepends=True)
    start, end = (kept.index(f"# rspm.ha: nodes of pm, {part}\n") for part in ("begin", "end"))
    ours = set(kept[start : end + 1])
    theirs = kept[:start] + kept[end + 1 :]
    assert theirs == [line for line in mixed if not line.startswith(("# rspm.ha", "hostssl pm,pm_usage"))]
    for client in then:
        assert f"hostssl pm,pm_usage pm_role {client}/32 scram-sha-256\n" in ours
        for database in ACCESS.databases:
            before = [known[line] for line in kept[:start] if line in known]
            assert not any(rule.matches(database, "pm_role", client) for rule in before)
