# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the nodes' client rules stand in pg_hba.conf, which others have rules in too.

The first rule that matches a client decides, so ours stand before the first that might match a node. Everything else
keeps its place and its text. Ours are between two lines of comment, by which they are found again.
Source: PostgreSQL's manual, "The pg_hba.conf File", and its reader of such files (hba.c).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Union

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_METHOD = "scram-sha-256"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_KEYWORDS = ("all", "sameuser", "samerole", "samegroup", "samehost", "samenet", "replication")


@dataclass(frozen=True)
class Access:
    """Who is to be let in. databases: the main one first. clients: addresses or networks. tls: by TLS only."""

    databases: tuple[str, ...]
    user: str
    clients: tuple[str, ...]
    tls: bool

    @property
    def networks(self) -> tuple[_Network, ...]:
        """Return the clients as networks, each once. Raises ValueError for what is neither address nor network."""
        return tuple(dict.fromkeys(ipaddress.ip_network(client, strict=False) for client in self.clients))


@dataclass(frozen=True)
class Word:
    """One word of a rule. quoted: it stands for itself, whatever else it might mean."""

    text: str
    quoted: bool = False


@dataclass(frozen=True)
class RuleLine:
    """A rule or directive, or a line without one (no fields). first, end: its lines, the end is not its own."""

    first: int
    end: int
    fields: tuple[tuple[Word, ...], ...]
    comment: bool


def read_records(lines: Sequence[str]) -> Iterator[RuleLine]:
    """Return what the lines of a file say. A backslash at the end of a line continues it, in comments too."""
    first = 0
    while first < len(lines):
        end, text = first, ""
        while True:
            line = lines[end].rstrip("\r\n")
            end += 1
            if not line.endswith("\\"):
                text += line
                break
            text += line[:-1]
            if end == len(lines):
                break
        yield RuleLine(first, end, _fields(text), text.lstrip().startswith("#"))
        first = end


def _fields(text: str) -> tuple[tuple[Word, ...], ...]:
    """Return the fields of a line, each a list of words with commas between them."""
    fields: list[tuple[Word, ...]] = []
    words: list[Word] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char == "#":
            break
        if char.isspace() or char == ",":
            position += 1
            continue
        word, position, more = _word(text, position)
        words.append(word)
        if not more:
            fields.append(tuple(words))
            words = []
    if words:
        fields.append(tuple(words))
    return tuple(fields)


def _word(text: str, position: int) -> tuple[Word, int, bool]:
    """Return the word that begins at a position, where it ends, and whether a comma makes the field go on."""
    found, inside, closed, quoted = "", False, False, False
    while position < len(text):
        char = text[position]
        if not inside and (char.isspace() or char in ",#"):
            break
        if char != '"':
            found, closed = found + char, False
        else:
            # two quotes within quotes are one
            found += char if closed else ""
            closed = inside and not closed
            inside = not inside
            quoted = quoted or not found
        position += 1
    return Word(found, quoted), position, position < len(text) and text[position] == ","


def may_match(fields: Sequence[Sequence[Word]], access: Access) -> bool:
    """Return whether a rule may match a client that is to be let in; where that can't be told, it may."""
    if not fields:
        return False
    kind = fields[0][0].text
    if kind == "local" or (kind == "hostnossl" and access.tls):
        return False
    if kind not in ("host", "hostssl", "hostnossl") or len(fields) < 4:
        return True
    databases = any(_names_database(word, access) for word in fields[1])
    users = any(word.text == access.user or (not word.quoted and _is_open(word, "+")) for word in fields[2])
    return databases and users and _meets(fields[3], fields[4] if len(fields) > 4 else (), access)


def _is_open(word: Word, marks: str) -> bool:
    """Return whether a word stands for more names than itself. marks: what these begin with, beside / and @."""
    return word.text == "all" or word.text[:1] in (*marks, "/", "@")


def _names_database(word: Word, access: Access) -> bool:
    if word.text in access.databases:
        return True
    if word.quoted:
        return False
    if word.text == "sameuser":
        return access.user in access.databases
    return word.text in ("samerole", "samegroup") or _is_open(word, "")


def _meets(where: Sequence[Word], netmask: Sequence[Word], access: Access) -> bool:
    """Return whether an address field may mean one of the clients. netmask: the field after it."""
    text = where[0].text
    try:
        if "/" in text:
            network: _Network = ipaddress.ip_network(text, strict=False)
        else:
            ipaddress.ip_address(text)
            prefix = bin(int(ipaddress.ip_address(netmask[0].text if netmask else ""))).count("1")
            network = ipaddress.ip_network(f"{text}/{prefix}", strict=False)
    except ValueError:
        return True  # a name, a word like samenet, or what the server does not take either
    return any(network.version == client.version and network.overlaps(client) for client in access.networks)


def quote(name: str) -> str:
    """Return a name as the file takes it, without the meaning of its keywords."""
    if _PLAIN.fullmatch(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def rule_lines(access: Access) -> list[str]:
    """Return the rules, one a client."""
    kind = "hostssl" if access.tls else "host"
    names = ",".join(map(quote, access.databases))
    return [f"{kind} {names} {quote(access.user)} {client} {_METHOD}" for client in access.networks]


def _marks(access: Access) -> tuple[str, str]:
    ours = f"# rspm.ha: nodes of {quote(access.databases[0])}"
    return f"{ours}, begin", f"{ours}, end"


def _own_block(lines: Sequence[str], access: Access) -> tuple[int, int]:
    """Return where our lines begin and end, twice the same where there are none. Raises DomainError."""
    begin, end = _marks(access)
    stripped = [line.strip() for line in lines]
    first = [number for number, line in enumerate(stripped) if line == begin]
    last = [number for number, line in enumerate(stripped) if line == end]
    if not first and not last:
        return len(lines), len(lines)
    if len(first) != 1 or len(last) != 1 or last[0] < first[0]:
        raise DomainError(
            Problem(
                check="database-client-rules",
                found=f"pg_hba.conf has the lines {begin!r} and {end!r} {len(first)} and {len(last)} times, or in the "
                "wrong order",
                why="What is between them is this collection's, and what is not belongs to others",
                fix="Remove both lines and the rules of the nodes between them, and run the playbook again",
            )
        )
    return first[0], last[0] + 1


def clients_of(text: str, access: Access) -> tuple[_Network, ...]:
    """Return whom our lines let in so far."""
    lines = text.splitlines(keepends=True)
    first, end = _own_block(lines, access)
    found = []
    for record in read_records(lines[first:end]):
        if len(record.fields) > 3:
            found.append(ipaddress.ip_network(record.fields[3][0].text, strict=False))
    return tuple(found)


def with_rules(text: str, access: Access) -> str:
    """Return the file with our rules where they work, and all else as it was. Raises DomainError."""
    lines = text.splitlines(keepends=True)
    first, end = _own_block(lines, access)
    begin_mark, end_mark = _marks(access)
    block = [f"{line}\n" for line in (begin_mark, *rule_lines(access), end_mark)]
    others = lines[:first] + lines[end:]
    place = _place(others, access)
    if first < end and first <= place:
        place = first
    if place and not others[place - 1].endswith("\n"):
        block[0] = f"\n{block[0]}"
    return "".join([*others[:place], *block, *others[place:]])


def _place(lines: Sequence[str], access: Access) -> int:
    """Return before which line our rules stand: the first that may match, with the comment right above it."""
    place = above = 0
    for record in read_records(lines):
        if may_match(record.fields, access):
            return above
        place = record.end
        above = above if record.comment else place
    return place
