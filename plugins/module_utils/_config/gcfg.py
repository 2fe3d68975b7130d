# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gcfg format of rstudio-pm.gcfg: rendering, parsing, and hiding what is secret.

Source: "Configuration" in the appendix of the vendor's admin guide. Sections in brackets may repeat and merge; names
are case-insensitive; a list repeats its key; ';' and '#' start a comment outside double quotes; inside them a backslash
escapes a quote or a backslash.
"""

from __future__ import annotations

import decimal
import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Union

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

Scalar = Union[bool, int, float, str]
# Section -> key -> values, in lower case, as text: what two files are compared by.
Document = dict[str, dict[str, list[str]]]

HIDDEN = "********"
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_SECTION = re.compile(r'[A-Za-z][A-Za-z0-9-]*(?: "[^"\\\]]+")?')
_SECRET_KEY = re.compile(r"password|passphrase|secret|token|credential", re.IGNORECASE)
_NEEDS_QUOTES = re.compile(r'[;#"\\]')
_USERINFO = re.compile(r"(://[^/\s:@\"]*):[^/\s@\"]+@")
_SECRET_LINE = re.compile(r"^(\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*)(.*)$")
_BLANK = " \t\r"


def is_secret(key: str) -> bool:
    """Return whether the value of a key with this name must never be shown."""
    return bool(_SECRET_KEY.search(key))


def _invalid(where: str, found: str, fix: str) -> DomainError:
    """Return the error for a setting that cannot be written; it never carries the value."""
    return DomainError(
        Problem(
            check="gcfg-value",
            found=f"rspm_config: {where} {found}",
            why="rstudio-pm.gcfg would be read wrongly or not at all",
            fix=fix,
        )
    )


def value_text(where: str, value: object) -> str:
    """Return a scalar as gcfg text without quotes. where names the setting ("HTTP.Listen") in errors."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid(where, "is no finite number", "Give a number")
        return format(decimal.Decimal(repr(value)), "f")
    if not isinstance(value, str):
        kind = "has no value" if value is None else f"is a {type(value).__name__}"
        raise _invalid(where, kind, "Give a string, number or boolean, or a list of those, or leave the key out")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
        raise _invalid(where, "holds a line break or another control character", "Remove the character")
    return value


def _quoted(text: str, always: bool) -> str:
    """Return text in double quotes where it would not come back unchanged without them."""
    if always or not text or text != text.strip() or _NEEDS_QUOTES.search(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _values(value: object) -> list[object]:
    """Return the values of a setting: those of a list, or the one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def flatten(settings: Mapping[str, Any]) -> dict[tuple[str, str], list[str]]:
    """Return settings as (section, key) -> texts, in the names' own letter case.

    Raises DomainError, naming the setting, for what gcfg cannot hold and for a setting given twice (letter case aside).
    """
    flat: dict[tuple[str, str], list[str]] = {}
    known: set[tuple[str, str]] = set()
    for section, keys in settings.items():
        if not isinstance(section, str) or not _SECTION.fullmatch(section):
            raise _invalid(f"section {section!r}", "has an invalid name", "Name a section of the vendor's guide")
        if not isinstance(keys, Mapping):
            raise _invalid(f"section {section}", "is no mapping", f"Write it as {{{section}: {{Key: value}}}}")
        for key, value in keys.items():
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise _invalid(f"key {key!r} of section {section}", "has an invalid name", "Use letters, digits and -")
            where = f"{section}.{key}"
            if (section.lower(), key.lower()) in known:
                raise _invalid(where, "is given twice", "Keep one; the server reads names without regard to case")
            known.add((section.lower(), key.lower()))
            flat[section, key] = [value_text(where, item) for item in _values(value)]
    return flat


def render(settings: Mapping[str, Any]) -> str:
    """Return settings (section -> key -> scalar or list) as the text of a gcfg file, sorted, so equal on all nodes."""
    sections: dict[str, list[str]] = {}
    # sections whose names differ in case only are one section to the server
    names: dict[str, str] = {}
    for (section, key), texts in sorted(flatten(settings).items(), key=lambda item: [x.lower() for x in item[0]]):
        name = names.setdefault(section.lower(), section)
        lines = sections.setdefault(name, [])
        lines += [f"{key} = {_quoted(text, is_secret(key))}" for text in texts]
    blocks = [f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items() if lines]
    return "; Written by the collection rspm.ha: change rspm_config in the inventory, not this file.\n\n" + "\n".join(
        blocks
    )


def _unparsable(number: int, found: str) -> DomainError:
    """Return the error for a line that is no gcfg; the line itself may hold a secret and is not shown."""
    return DomainError(
        Problem(
            check="gcfg-syntax",
            found=f"line {number} of the gcfg text {found}",
            why="The server would refuse the file",
            fix="Correct the line",
        )
    )


def _read_value(number: int, text: str) -> str:
    """Return the value that follows '=': quotes and escapes resolved, comment and surrounding blanks removed."""
    out: list[str] = []
    keep = 0  # characters that came quoted or escaped are no trailing blanks
    quoted = escaped = False
    for character in text.lstrip(_BLANK):
        if escaped:
            if character not in '"\\':
                raise _unparsable(number, "has an unknown escape")
            out.append(character)
            keep, escaped = len(out), False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
            keep = len(out)
        elif character in ";#" and not quoted:
            break
        else:
            out.append(character)
            if quoted or character not in _BLANK:
                keep = len(out)
    if quoted or escaped:
        raise _unparsable(number, "has a quote that does not end")
    return "".join(out[:keep])


def parse(text: str) -> Document:
    """Return the gcfg text as section -> key -> values. Raises DomainError with the line number for bad syntax."""
    document: Document = {}
    current: dict[str, list[str]] | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(_BLANK)
        if not line or line[0] in ";#":
            continue
        if line.startswith("["):
            name, bracket, rest = line[1:].partition("]")
            rest = rest.strip(_BLANK)
            name = name.strip(_BLANK)
            if not bracket or (rest and rest[0] not in ";#") or not _SECTION.fullmatch(name):
                raise _unparsable(number, "is no section header")
            current = document.setdefault(name.lower(), {})
            continue
        key, equals, value = line.partition("=")
        key = key.strip(_BLANK)
        if not equals or not _KEY.fullmatch(key):
            raise _unparsable(number, "is no 'Key = value'")
        if current is None:
            raise _unparsable(number, "stands before the first section")
        current.setdefault(key.lower(), []).append(_read_value(number, value))
    return document


def last(document: Document, section: str, key: str, default: str = "") -> str:
    """Return the value that holds for a single-valued setting: the last one in the file."""
    return document.get(section.lower(), {}).get(key.lower(), [default])[-1]


def secrets_of(document: Document) -> set[str]:
    """Return the values that must never be shown, including passwords inside URLs."""
    found = set()
    for keys in document.values():
        for key, values in keys.items():
            for value in values:
                if is_secret(key):
                    found.add(value)
                found.update(match.group(0).rpartition(":")[2][:-1] for match in _USERINFO.finditer(value))
    return {secret for secret in found if secret}


def hide(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text with each of the secrets, and passwords inside URLs, replaced."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _USERINFO.sub(rf"\1:{HIDDEN}@", text)


def _hidden_lines(text: str, changed: set[str]) -> str:
    """Return gcfg text with secrets hidden; those in changed are marked, so that a diff shows that they differ."""
    lines = []
    for line in text.split("\n"):
        match = _SECRET_LINE.match(line)
        if match and is_secret(match.group(2)):
            note = " ; changed" if line.strip() in changed else ""
            line = f"{match.group(1)}{HIDDEN}{note}"
        lines.append(hide(line))
    return "\n".join(lines)


def hidden_diff(before: str, after: str) -> tuple[str, str]:
    """Return both texts with secrets hidden; a secret that changed still shows as a changed line in after."""
    old = {line.strip() for line in before.split("\n")}
    changed = {line.strip() for line in after.split("\n")} - old if before else set()
    return _hidden_lines(before, set()), _hidden_lines(after, changed)


def unified(parts: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the lines of Ansible's before-and-after mappings as a unified diff."""
    return [
        line
        for part in parts
        for line in difflib.unified_diff(
            part["before"].splitlines(),
            part["after"].splitlines(),
            part["before_header"],
            part["after_header"],
            "",
            "",
            1,
            "",
        )
    ]
