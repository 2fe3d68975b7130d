# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gcfg format: what is rendered comes back, what cannot be rendered is refused by name, secrets stay hidden."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import (
    HIDDEN,
    flatten,
    hidden_diff,
    hide,
    last,
    parse,
    render,
    secrets_of,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError

text_values = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from(list('";#\\ =[]\u00a0')), max_size=20
)
scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text_values
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
settings = st.dictionaries(
    names, st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=4), max_size=4
)


def _expected(given_settings: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    expected: dict[str, dict[str, list[str]]] = {}
    for (section, key), texts in flatten(given_settings).items():
        if texts:
            expected.setdefault(section.lower(), {})[key.lower()] = texts
    return expected


@given(settings)
def test_what_is_rendered_comes_back(given_settings: dict[str, Any]) -> None:
    try:
        flatten(given_settings)
    except DomainError as error:
        assert "given twice" in error.problems[0].found
        return
    assert parse(render(given_settings)) == _expected(given_settings)


@given(settings)
def test_order_of_the_mapping_does_not_matter(given_settings: dict[str, Any]) -> None:
    turned = {name: dict(reversed(keys.items())) for name, keys in reversed(given_settings.items())}
    with contextlib.suppress(DomainError):
        assert render(given_settings) == render(turned)


@given(st.text(max_size=60))
def test_parsing_ends_in_a_document_or_a_problem(text: str) -> None:
    try:
        parse(text)
    except DomainError as error:
        assert error.problems[0].check == "gcfg-syntax"


def test_forms() -> None:
    text = render(
        {
            "HTTP": {"Listen": ":4242"},
            "Git": {"PollInterval": "5m", "AllowUnsandboxedGitBuilds": False, "BuildRetries": 3},
            "Server": {"RVersion": ["/opt/R/4.4", "/opt/R/4.5"], "Empty": "", "Odd": 'a;b#"c\\', "Space": " x "},
            "Manifest": {"Password": "plain"},
            'S3Storage "cran"': {"Bucket": "b"},
        }
    )
    body = [line for line in text.splitlines() if line and not line.startswith(";")]
    assert body == [
        "[Git]",
        "AllowUnsandboxedGitBuilds = false",
        "BuildRetries = 3",
        "PollInterval = 5m",
        "[HTTP]",
        "Listen = :4242",
        "[Manifest]",
        'Password = "plain"',
        '[S3Storage "cran"]',
        "Bucket = b",
        "[Server]",
        'Empty = ""',
        'Odd = "a;b#\\"c\\\\"',
        "RVersion = /opt/R/4.4",
        "RVersion = /opt/R/4.5",
        'Space = " x "',
    ]


def test_vendors_examples_are_read() -> None:
    document = parse(
        '; Comment\n[Examples]\nproperty1 = true\nProperty2 = "quoted string"\n'
        'Property3 = "escaped \\"quote\\" string"\nListProperty = black\nListProperty = blue\r\n'
        "Property4 = 1m15s  ; comment\n[examples] # merged\nPROPERTY1 = off\n"
    )
    assert document["examples"]["listproperty"] == ["black", "blue"]
    assert last(document, "Examples", "Property1") == "off"
    assert last(document, "Examples", "Property3") == 'escaped "quote" string'
    assert last(document, "Examples", "Property4") == "1m15s"


@pytest.mark.parametrize(
    ("given_settings", "named"),
    [
        ({"HTTP": {"Listen": ":4242\n[Server]"}}, "HTTP.Listen holds a line break"),
        ({"HTTP": {"Listen": "a\tb"}}, "HTTP.Listen holds a line break or another control character"),
        ({"HTTP": {"Lis ten": "x"}}, "key 'Lis ten' of section HTTP has an invalid name"),
        ({"HT]TP": {"Listen": "x"}}, "section 'HT]TP' has an invalid name"),
        ({"HTTP": {"Listen": None}}, "HTTP.Listen has no value"),
        ({"HTTP": {"Listen": {"a": 1}}}, "HTTP.Listen is a dict"),
        ({"HTTP": {"Listen": [["a"]]}}, "HTTP.Listen is a list"),
        ({"HTTP": "x"}, "section HTTP is no mapping"),
        ({"HTTP": {"Listen": "a", "listen": "b"}}, "HTTP.listen is given twice"),
        ({"HTTP": {"Ratio": float("nan")}}, "HTTP.Ratio is no finite number"),
    ],
)
def test_refused_by_name(given_settings: dict[str, Any], named: str) -> None:
    with pytest.raises(DomainError) as caught:
        render(given_settings)
    assert caught.value.problems[0].found == f"rspm_config: {named}" or named in caught.value.problems[0].found


@pytest.mark.parametrize("text", ["[A\nb=1", "b = 1", "[A]\nb", '[A]\nb = "x', "[A] x\n", "[A]\nb = a\\n"])
def test_no_gcfg(text: str) -> None:
    with pytest.raises(DomainError, match="gcfg-syntax"):
        parse(text)


def test_syntax_error_does_not_show_the_line() -> None:
    with pytest.raises(DomainError) as caught:
        parse('[Postgres]\nPassword = "canary')
    assert "canary" not in str(caught.value)
    assert "line 2" in str(caught.value)


def test_diff_hides_secrets_and_shows_that_they_changed() -> None:
    before = render({"Postgres": {"Password": "canary1", "URL": "postgres://u:canary2@h/d"}, "HTTP": {"Listen": ":1"}})
    after = render({"Postgres": {"Password": "canary3", "URL": "postgres://u:canary2@h/d"}, "HTTP": {"Listen": ":2"}})
    old, new = hidden_diff(before, after)
    assert "canary" not in old + new
    assert f"Password = {HIDDEN}\n" in old
    assert f"Password = {HIDDEN} ; changed\n" in new
    assert "Listen = :1" in old and "Listen = :2" in new
    assert hidden_diff(before, before)[0] == hidden_diff(before, before)[1]


def test_secrets_are_found_and_hidden() -> None:
    document = parse('[P]\nPassword = "one"\nURL = postgres://u:two@h/d\nKey = /path\nClientSecret = three\n')
    assert secrets_of(document) == {"one", "two", "three"}
    assert hide("it was one, then postgres://u:two@h and three", secrets_of(document)) == (
        f"it was {HIDDEN}, then postgres://u:{HIDDEN}@h and {HIDDEN}"
    )
