# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration grammar: sections, properties, comments, quotes, repeated keys, typed values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"\[\s*([A-Za-z][A-Za-z0-9_.-]*)\s*\]\s*(?:[;#].*)?\Z")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)\s*=\s*")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}


class ConfigError(Exception):
    """A configuration that can't be used; the text is meant for a person."""


@dataclass
class Document:
    """What a file says: (section, key) in lower case to the values in their order."""

    values: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    spelled: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    def add(self, section: str, key: str, value: str, line: int) -> None:
        """Add one property; the first spelling and line are kept for messages."""
        name = (section.lower(), key.lower())
        self.values.setdefault(name, []).append(value)
        self.spelled.setdefault(name, (f"{section}.{key}", line))


def _value(text: str, line: int) -> str:
    """Return the value in text, which starts after the equals sign."""
    out: list[str] = []
    kept = 0  # how much of the value trailing blanks must not eat, because quotes protect it
    quoted = False
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            follower = text[position + 1 : position + 2]
            if follower not in ('"', "\\", "n", "t") or not follower:
                raise ConfigError(f"line {line}: unknown escape \\{follower} in a value")
            out.append({"n": "\n", "t": "\t"}.get(follower, follower))
            kept = len(out)
            position += 1
        elif char == '"':
            quoted = not quoted
            kept = len(out)
        elif char in ";#" and not quoted:
            break
        else:
            out.append(char)
        position += 1
    if quoted:
        raise ConfigError(f"line {line}: a quoted value has no closing quote")
    while len(out) > kept and out[-1] in " \t":
        out.pop()
    return "".join(out)


def parse(text: str) -> Document:
    """Return the document in text; raises ConfigError with the line of the first fault."""
    document = Document()
    section = ""
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            found = _SECTION.match(line)
            if not found:
                raise ConfigError(f"line {number}: not a section header: {line}")
            section = found.group(1)
            continue
        if not section:
            raise ConfigError(f"line {number}: a property stands before any section")
        found = _KEY.match(line)
        if not found:
            raise ConfigError(f"line {number}: not a property of the form 'Key = value'")
        document.add(section, found.group(1), _value(line[found.end() :], number), number)
    return document


def boolean(text: str) -> bool:
    """Return the truth that text spells; raises ConfigError."""
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ConfigError(f"not a boolean: {text!r}") from None


def duration(text: str) -> float:
    """Return the seconds that text spells; a bare integer counts nanoseconds; raises ConfigError."""
    text = text.strip()
    if re.fullmatch(r"\d+", text):
        return int(text) * 1e-9
    seconds = 0.0
    position = 0
    for found in _DURATION.finditer(text):
        if found.start() != position:
            break
        seconds += float(found.group(1)) * _UNITS[found.group(2)]
        position = found.end()
    if not text or position != len(text):
        raise ConfigError(f"not a duration such as 500ms, 1m15s or 24h: {text!r}")
    return seconds


def quote(text: str) -> str:
    """Return text as a value that parses back to it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
