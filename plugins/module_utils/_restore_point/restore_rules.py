# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restoring a dump in one transaction: what is dropped, what is restored, and when it may commit.

Sources: the manual pages of pg_restore and psql, and the text that pg_restore 15 and 18 write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import (
    Content,
    Difference,
    Grant,
    quote,
)
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import Tools
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.statements import (
    ASIDE,
    EXTENSION_DATA,
    OWN_BLOCK,
)

CHECK = "restore-point"
_REPEAT = "run the same command again"
_SHOWN = 5
# enough for what pg_restore writes before the first and after the last object
HEAD_BYTES, TAIL_BYTES = 1 << 16, 1 << 12


@dataclass(frozen=True)
class Place:
    """A database that is restored, for a person. address: host:port/name; user: the role of the nodes."""

    address: str
    schema: str
    user: str


@dataclass(frozen=True)
class Setting:
    """What is kept of a database while a dump is put back into it.

    kept: "KIND name" of what is neither dropped nor restored: objects of others, and containers.
    aside: schemas that can be set aside in a rehearsal, with the statements that grant the rights in them; None where
    they can't. tables: those that hold rows.
    """

    kept: tuple[str, ...]
    aside: Mapping[str, str] | None
    tables: tuple[str, ...]


def choose_tools(known: Iterable[Tools], server: int, oldest: int, host: str) -> Tools:
    """Return the tools for a server: of its own major version, else the next newer ones.

    oldest: of those that can read the dump. What newer tools write for themselves alone, opening leaves out, and the
    rehearsal shows whether the server takes the rest. Raises DomainError.
    """
    there = list(known)
    fitting = [tools for tools in there if tools.major >= max(server, oldest)]
    if fitting:
        return min(fitting, key=lambda tools: tools.major)
    found = ", ".join(f"{tools.major} in {tools.folder}" for tools in there) or "none"
    wanted = max(server, oldest)
    raise DomainError(
        Problem(
            "restore-point-tools",
            f"there is no pg_dump, pg_restore and psql of PostgreSQL {wanted} on {host} (found: {found})",
            f"The databases are saved and restored with PostgreSQL's own tools, and those older than {wanted} can't"
            " read all that is there",
            f"Install postgresql-client-{wanted} (EL, SUSE: postgresql{wanted}, or postgresql of that stream) on"
            f" {host}, and {_REPEAT}",
        )
    )


def judge_others(place: Place, rows: Iterable[Mapping[str, str | None]]) -> list[Problem]:
    """Return the problem of objects that a restore could not make anew. rows: of others_query."""
    found = [(row["kind"] or "", row["name"] or "", row["owner"] or "") for row in rows]
    if not found:
        return []
    named = [f"{kind} {name}{f' of {owner}' if owner else ''}" for kind, name, owner in found]
    lines = [_line(place, *one) for one in found]
    return [
        Problem(
            CHECK,
            f"in {place.address} role {place.user} could not make anew: {_some(named)}",
            "A rollback drops what the newer version left and restores what was saved, and these would be lost with"
            " that; nothing was stopped or changed",
            f"As an administrator of that database: {_some(lines)} (or move it to another database), and {_REPEAT}",
        )
    ]


def judge_frozen(place: Place, rows: Iterable[Mapping[str, str | None]]) -> list[Problem]:
    """Return the problem of tables in which a migration could not change rows. rows: of frozen_query."""
    found = [(row["name"] or "", row["publication"] or "") for row in rows]
    if not found:
        return []
    named = [f"{name} (in publication {publication})" for name, publication in found]
    lines = [f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name, _publication in found]
    return [
        Problem(
            "database-publication",
            f"in {place.address} no row can be changed or deleted in {_some(named)}",
            "PostgreSQL refuses it where a publication tells of changes and a table has no replica identity, so that"
            " the newer version's migration of the schema may end in the middle; nothing was stopped or changed",
            f"As an administrator of that database: {_some(lines)} (or take them out of the publication), and"
            f" {_REPEAT}",
        )
    ]


def _line(place: Place, kind: str, name: str, owner: str) -> str:
    if kind.endswith(" outside"):
        what = kind.split(" ", maxsplit=1)[0]
        if what == "view":
            return f"DROP VIEW {name}"
        constraint, _on, table = name.rpartition(" on ")
        return f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"
    if kind == "publication":
        return f"ALTER PUBLICATION {name}"
    if kind == "large object" and place.schema:
        return f"SELECT lo_unlink({name})"
    if not owner:
        return f"DROP {kind.upper()} {name}"
    return f"ALTER {kind.upper()} {name} OWNER TO {quote(place.user)}"


def _some(names: Sequence[str]) -> str:
    return "; ".join(names[:_SHOWN]) + (f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


_DEFAULTS = re.compile(
    r"\d+; \d+ \d+ DEFAULT ACL .* ?DEFAULT PRIVILEGES FOR "
    r"(?:TABLES|SEQUENCES|FUNCTIONS|TYPES|SCHEMAS|LARGE OBJECTS) (?P<owner>.+)"
)
_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<entry>.+)")


def choose_entries(listed: str, kept: Iterable[str], user: str) -> str:
    """Return the list of what is restored. listed: of pg_restore --list; kept: of kept_query; user: our role."""
    starts = []
    for one in kept:
        if one.startswith(f"{EXTENSION_DATA} "):
            starts += [f"{kind} {one[len(EXTENSION_DATA) + 1 :]} " for kind in ("TABLE DATA", "SEQUENCE SET")]
            continue
        # a kind may have several words
        kind = next((kind for kind in _KINDS if one.startswith(f"{kind} ")), "")
        name = one[len(kind) + 1 :]
        starts += [f"{kind} - {name} ", f"ACL - {kind} {name} ", f"COMMENT - {kind} {name} "]
    known = tuple(starts)

    def wanted(line: str) -> bool:
        defaults = _DEFAULTS.match(line)
        if defaults is not None:
            # those of another role stay as they are
            return defaults.group("owner").strip() == user
        match = _ENTRY.match(line)
        return match is None or not f"{match.group('entry')} ".startswith(known)

    return "\n".join(line for line in listed.splitlines() if wanted(line)) + "\n"


_KINDS = (
    "SCHEMA",
    "EXTENSION",
    "PUBLICATION",
    "SERVER",
    "FOREIGN DATA WRAPPER",
    "EVENT TRIGGER",
    "PROCEDURAL LANGUAGE",
)


def in_dump(listed: str, kind: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names, of schemas or extensions, that the dump holds."""
    entries = [f"{match.group('entry')} " for line in listed.splitlines() if (match := _ENTRY.match(line))]
    return tuple(name for name in names if any(entry.startswith(f"{kind} - {name} ") for entry in entries))


def names_of(kind: str, kept: Iterable[str]) -> list[str]:
    """Return the names of one kind in what kept_query listed."""
    return [one[len(kind) + 1 :] for one in kept if one.startswith(f"{kind} ")]


_UNWANTED = re.compile(
    rb"^(?:SET (?:statement|lock|transaction|idle_in_transaction_session)_timeout = .*;|BEGIN;)\n", re.MULTILINE
)
_FIRST = re.compile(rb"^-- (?:Data for )?Name: ", re.MULTILINE)
_REST = re.compile(rb"(?:\s*\n|--[^\n]*\n|\\unrestrict \S+\n)*")


def opening(head: bytes) -> bytes:
    """Return the begin of what pg_restore writes, without its own transaction and limits.

    An older server does not know all of those limits, and ours would be lifted.
    """
    first = _FIRST.search(head)
    end = first.start() if first else len(head)
    return _UNWANTED.sub(b"", head[:end]) + head[end:]


def ending(tail: bytes) -> bytes | None:
    """Return the end of what pg_restore writes, without its COMMIT; None where that is not there: it was cut."""
    before, commit, after = tail.rpartition(b"\nCOMMIT;\n")
    if not commit or not _REST.fullmatch(after):
        return None
    return before + b"\n" + after


def judge_rehearsal(place: Place, mismatches: Sequence[Difference]) -> list[Problem]:
    """Return the problem of a copy that is not what the dump was made of."""
    if not mismatches:
        return []
    named = [
        f"{one.object}: {one.source or 'nothing'} there, {one.target or 'nothing'} when restored" for one in mismatches
    ]
    return [
        Problem(
            CHECK,
            f"{place.address} would not come back as it is: {_some(named)}",
            "A rollback would leave another database than the one that was saved; nothing was stopped or changed",
            f"As an administrator of that database give these to role {place.user}, or remove what keeps them from"
            f" being restored, and {_REPEAT}",
        )
    ]


def rights_lost(saved: Content, restored: Content) -> list[Difference]:
    """Return the rights of other roles that are not as they were."""

    def text(grant: Grant) -> str:
        column = f" ({grant.column})" if grant.column else ""
        return f"right {grant.privilege}{column} on {grant.kind} {grant.name} of {grant.grantee or 'PUBLIC'}"

    return [Difference(text(grant), "given", "") for grant in sorted(saved.grants - restored.grants)] + [
        Difference(text(grant), "", "given") for grant in sorted(restored.grants - saved.grants)
    ]


def comparable(content: Content) -> Content:
    """Return what a restore has to bring back: not who may use what is there before it and stays."""
    return Content(
        items=tuple(item for item in content.items if ASIDE not in f"{item.name} {item.definition}"),
        tables={name: (rows, "") for name, (rows, _digest) in content.tables.items()},
        large_objects=content.large_objects,
        grants=frozenset(
            grant for grant in content.grants if grant.kind not in ("DATABASE", "SCHEMA") and ASIDE not in grant.name
        ),
    )


def judge_counts(place: Place, saved: Mapping[str, int], found: Mapping[str, int]) -> list[Problem]:
    """Return the problem of rows that are not those that were saved. Both: rows by table."""
    wrong = [
        f"{name}: {rows} rows saved, {found.get(name)} restored"
        for name, rows in saved.items()
        if found.get(name) != rows
    ]
    if not wrong:
        return []
    return [
        Problem(
            CHECK,
            f"{place.address} was not restored as it was saved: {_some(wrong)}",
            "The restore was undone; everything from before it is still there",
            f"See the log of the database server, and run {PLAYBOOK}.rollback again",
        )
    ]


LOCKED = "55P03"
_SENT = re.compile(r"^(?:psql:\S*: )?STATEMENT:", re.MULTILINE)
# so much of a statement tells what it is about
_STATEMENT = 200
_STATE = re.compile(r"^(?:psql:\S*: )?(?:ERROR|FATAL|PANIC):\s+(?P<state>[0-9A-Z]{5}): ", re.MULTILINE)
_NOISE = re.compile(r"^(?:LOCATION|CONTEXT|LINE \d+|PL/pgSQL|SQL statement|\s).*$\n?", re.MULTILINE)


def state_of(said: str) -> str:
    """Return the SQLSTATE in what psql wrote, "" where there is none."""
    match = _STATE.search(said)
    return match.group("state") if match else ""


def not_restored(place: Place, said: str, holders: Sequence[str], *, rehearsal: bool) -> Problem:
    """Return the problem of a restore that did not come to its end. said: by psql or pg_restore, holders: of locks."""
    words, sent = [*_SENT.split(said, 1), ""][:2]
    text = _NOISE.sub("", words).strip().replace("\n", "; ") or "psql ended without a message"
    first = sent.strip().partition("\n")[0][:_STATEMENT]
    if first and not first.startswith(OWN_BLOCK):
        text = f"{text} ({first})"
    if holders:
        text = f"{text} (tables are in use by {_some(holders)})"
    if state_of(said) == LOCKED:
        fix = "Wait until that work has ended (a backup, a report), or as an administrator end its session"
    elif rehearsal:
        fix = f"As an administrator of that database give role {place.user} what it lacks, or move that object away"
    else:
        fix = "Repair what it says (a right, a full disk, a server that was stopped)"
    if rehearsal:
        return Problem(
            CHECK,
            f"{place.address} could not be made anew from its dump: {text}",
            "A rollback would end the same way; nothing was stopped or changed",
            f"{fix}, and {_REPEAT}",
        )
    return Problem(
        CHECK,
        f"{place.address} was not restored: {text}",
        "The restore is one transaction, so that the database holds either all that it held before, or all that was"
        " saved",
        f"{fix}, and run {PLAYBOOK}.rollback, which restores it again",
    )
