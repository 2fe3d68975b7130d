# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's configuration grammar."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "standin"))

from rstudio_pm_standin import gcfg, keys

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30)
BARE = st.from_regex(r"[A-Za-z0-9/:.@%_-]+( [A-Za-z0-9/:.@%_-]+)?", fullmatch=True)


def test_sections_merge_and_names_ignore_case() -> None:
    document = gcfg.parse(
        "[Server]\nDataDir = /a\n[HTTP]\nListen=:1\n[server]\nDATADIR = /b\nRVersion = /r1\nRVersion=/r2\n"
    )
    assert document.values[("server", "datadir")] == ["/a", "/b"]
    assert document.values[("server", "rversion")] == ["/r1", "/r2"]
    assert document.values[("http", "listen")] == [":1"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plain", "plain"),
        ("two words  ; comment", "two words"),
        ("value # comment", "value"),
        ('"a;b#c"', "a;b#c"),
        ('"say \\"hi\\" \\\\ there"', 'say "hi" \\ there'),
        ('"  kept  "  ', "  kept  "),
        ("", ""),
    ],
)
def test_a_value(written: str, meant: str) -> None:
    assert gcfg.parse(f"[S]\nK = {written}\n").values[("s", "k")] == [meant]


@given(st.lists(st.tuples(NAMES, NAMES, TEXTS)))
def test_quoted_values_come_back(entries: list[tuple[str, str, str]]) -> None:
    text = "".join(f"[{section}]\n  {key} = {gcfg.quote(value)}  ; note\n" for section, key, value in entries)
    wanted: dict[tuple[str, str], list[str]] = {}
    for section, key, value in entries:
        wanted.setdefault((section.lower(), key.lower()), []).append(value)
    assert gcfg.parse(text).values == wanted


@given(BARE, st.sampled_from(["", " ; x", "\t# x = y"]))
def test_bare_values_come_back(value: str, comment: str) -> None:
    assert gcfg.parse(f"[S]\r\nK={value}{comment}\r\n").values[("s", "k")] == [value]


@given(st.text())
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        gcfg.parse(text)
    except gcfg.ConfigError as error:
        assert str(error).startswith("line ")


@pytest.mark.parametrize(
    "text",
    ["Key = 1\n", "[S]\nKey\n", "[S]\nKey: 1\n", "[S\n", '[S]\nK = "open\n', "[S]\nK = a\\q\n", "[S] x\n", "[]\n"],
)
def test_faults_are_refused(text: str) -> None:
    with pytest.raises(gcfg.ConfigError, match=r"line [12]: "):
        gcfg.parse(text)


@pytest.mark.parametrize("text", ["true", "YES", "on", "1"])
def test_true(text: str) -> None:
    assert gcfg.boolean(text) is True


@pytest.mark.parametrize("text", ["false", "no", "Off", "0"])
def test_false(text: str) -> None:
    assert gcfg.boolean(text) is False


@pytest.mark.parametrize("text", ["", "maybe", "2"])
def test_not_a_boolean(text: str) -> None:
    with pytest.raises(gcfg.ConfigError):
        gcfg.boolean(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1m15s", 75), ("24h", 86400), ("5000000000", 5), ("1.5h", 5400), ("0", 0)]
)
def test_duration(text: str, seconds: float) -> None:
    assert gcfg.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5 minutes", "5x", "s", "1m-5s"])
def test_not_a_duration(text: str) -> None:
    with pytest.raises(gcfg.ConfigError):
        gcfg.duration(text)


def test_unknown_keys_are_named_with_their_line() -> None:
    document = gcfg.parse("[Server]\nDatadir = /a\nDataDirs = /a\n[Nonsense]\nKey = 1\n[postgres]\nurl = x\n")
    assert keys.unknown(document) == ["unknown key Server.DataDirs in line 3", "unknown key Nonsense.Key in line 5"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("bool", "True "), ("duration", "5m"), ("int", "3"), ("listen", "[::1]:80"), ("path", "/a"), ("url", "https://x")],
)
def test_values_of_a_kind(kind: str, text: str) -> None:
    keys.check_value(kind, text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("bool", "x"), ("duration", "m"), ("int", "three"), ("listen", "80"), ("path", "a/b"), ("url", "ftp://x")],
)
def test_values_not_of_a_kind(kind: str, text: str) -> None:
    with pytest.raises(gcfg.ConfigError):
        keys.check_value(kind, text)
