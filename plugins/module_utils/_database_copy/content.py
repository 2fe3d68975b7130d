# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a database holds, in a form in which two of them can be compared: definitions, rows, sequences, grants.

Definitions are PostgreSQL's own words for them. Rows are compared by their number and by the sum of two hashes of each
row's text: the order of rows does not matter, and the number of equal rows does. A materialized view is filled anew by
a restore, so that only its definition counts.

Sources: PostgreSQL's manual for the system catalogs, aclexplode and acldefault.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import literal

# What the text of a row depends on.
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
    "row_security": "off",
    # a role may have been given limits that are meant for users
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    # the marker must outlive a power cut
    "synchronous_commit": "on",
}
_ROW_HASHES = ("hashtextextended({}, 0)", "hashtextextended({}, 1)")
# for two servers that hash differently, such as those of machines with another byte order
_PORTABLE_HASHES = tuple(
    f"('x' || {side}(encode(sha256(convert_to({{}}, 'UTF8')), 'hex'), 16))::bit(64)::bigint"
    for side in ("left", "right")
)
PROBE_QUERY = "SELECT hashtextextended('rspm.ha', 0)::text || ' ' || hashtextextended('rspm.ha', 1)::text AS hashes"
# Kinds whose definition PostgreSQL words differently from one major version to the next.
_WORDED = ("view", "rule", "routine", "index", "constraint", "policy", "trigger", "statistics")


@dataclass(frozen=True, order=True)
class Item:
    """One object: kind, name as SQL writes it, and its definition."""

    kind: str
    name: str
    definition: str


@dataclass(frozen=True, order=True)
class Grant:
    """One right. column: "" for the whole object. grantee: "" for PUBLIC. option: whether it may be passed on."""

    kind: str
    name: str
    column: str
    grantee: str
    privilege: str
    option: bool


@dataclass(frozen=True)
class Content:
    """All of a part. tables: name -> number of rows and their digest; sequences: name -> last value and is_called.

    roles: that the server has.
    """

    items: tuple[Item, ...] = ()
    tables: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    sequences: Mapping[str, str] = field(default_factory=dict)
    large_objects: tuple[int, str] = (0, "")
    grants: frozenset[Grant] = frozenset()
    roles: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """Return how many rows all tables have."""
        return sum(rows for rows, _digest in self.tables.values())

    def digest(self) -> str:
        """Return a digest of all but the rights, which an administrator may add to at any time."""
        parts = [
            [(item.kind, item.name, item.definition) for item in sorted(self.items)],
            sorted((name, *found) for name, found in self.tables.items()),
            sorted(self.sequences.items()),
            self.large_objects,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """One difference. object: kind and name. source, target: what is there, "" = nothing."""

    object: str
    source: str
    target: str

    def to_dict(self) -> dict[str, str]:
        """Return it as a plain mapping for a module result."""
        return asdict(self)


def quote(name: str) -> str:
    """Return an identifier as SQL writes it whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def scope(schema: str) -> str:
    """Return the condition for the namespaces n that count."""
    return f"n.nspname = {literal(schema)}" if schema else "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def no_member(catalog: str, oid: str) -> str:
    """Return the condition that an object is no part of an extension."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = {oid} AND e.deptype = 'e' "
        f"AND e.classid = '{catalog}'::regclass)"
    )


def row_hashes(source_probe: str, target_probe: str) -> Sequence[str]:
    """Return the hashes that both servers agree on. Both: answers to PROBE_QUERY."""
    return _ROW_HASHES if source_probe == target_probe else _PORTABLE_HASHES


def tables_query(schema: str) -> str:
    """Return the statement that lists the tables that hold rows, the largest first."""
    return (
        "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n "
        f"ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND {scope(schema)} AND {no_member('pg_class', 'c.oid')} "
        "ORDER BY pg_table_size(c.oid) DESC, 1"
    )


def sequences_query(schema: str) -> str:
    """Return the statement that lists the sequences."""
    return (
        "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n "
        f"ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND {scope(schema)} AND {no_member('pg_class', 'c.oid')}"
    )


def table_query(name: str, hashes: Sequence[str]) -> str:
    """Return the statement that counts and digests one table. name: as SQL writes it."""
    sums = " || ' ' || ".join(f"coalesce(sum({one.format('r')}), 0)::text" for one in hashes)
    return (
        f"SELECT count(*)::text AS rows, {sums} AS digest "
        f"FROM (SELECT ROW(rspm_ha.*)::text AS r FROM ONLY {name} AS rspm_ha OFFSET 0) x"
    )


def sequence_query(names: Sequence[str]) -> str:
    """Return the statement that reads the sequences."""
    return " UNION ALL ".join(
        f"SELECT {literal(name)} AS name, last_value::text || ' ' || is_called::text AS value FROM {name}"
        for name in names
    )


LARGE_OBJECTS_QUERY = (
    "SELECT count(*)::text AS objects, coalesce(encode(sha256(convert_to(string_agg(oid::text || ' ' || "
    "encode(sha256(lo_get(oid)), 'hex'), ',' ORDER BY oid), 'UTF8')), 'hex'), '') AS digest "
    "FROM pg_largeobject_metadata"
)


def parse_items(rows: Iterable[Mapping[str, str | None]]) -> tuple[Item, ...]:
    """Return the objects that items_query lists."""
    return tuple(sorted(Item(row["kind"] or "", row["name"] or "", row["definition"] or "") for row in rows))


def parse_grants(rows: Iterable[Mapping[str, str | None]]) -> frozenset[Grant]:
    """Return the rights that grants_query lists."""
    return frozenset(
        Grant(
            row["kind"] or "",
            row["name"] or "",
            row["column"] or "",
            row["grantee"] or "",
            row["privilege"] or "",
            row["option"] == "true",
        )
        for row in rows
    )


def compare(source: Content, target: Content, *, same_major: bool) -> list[Difference]:
    """Return every difference but those of rights. same_major: whether both servers word definitions alike."""

    def definition(item: Item) -> str:
        return item.definition if same_major or item.kind not in _WORDED else "there"

    found = _differences(
        {f"{item.kind} {item.name}": definition(item) for item in source.items},
        {f"{item.kind} {item.name}": definition(item) for item in target.items},
    )
    found += _differences(_rows_of(source), _rows_of(target))
    found += _differences(
        {f"sequence value {name}": value for name, value in source.sequences.items()},
        {f"sequence value {name}": value for name, value in target.sequences.items()},
    )
    found += _differences(
        {"large objects": f"{source.large_objects[0]} objects, {source.large_objects[1]}"},
        {"large objects": f"{target.large_objects[0]} objects, {target.large_objects[1]}"},
    )
    return found


def _rows_of(content: Content) -> dict[str, str]:
    return {f"rows of {name}": f"{rows} rows, digest {digest}" for name, (rows, digest) in content.tables.items()}


def _differences(source: Mapping[str, str], target: Mapping[str, str]) -> list[Difference]:
    return [
        Difference(name, source.get(name, ""), target.get(name, ""))
        for name in sorted({*source, *target})
        if source.get(name) != target.get(name)
    ]


# Objects that are there before a copy. Who else may use them, the target's administrator decides.
_CONTAINERS = ("DATABASE", "SCHEMA")


def wanted_grants(source: Content, target: Content) -> frozenset[Grant]:
    """Return the rights that the target should have: those of roles that it has, and of PUBLIC on what is copied."""
    return frozenset(
        grant
        for grant in source.grants
        if grant.grantee in target.roles or (not grant.grantee and grant.kind not in _CONTAINERS)
    )


def grant_statements(source: Content, target: Content, *, fresh: bool) -> list[str]:
    """Return the statements that carry the rights over.

    fresh: the target was just filled, so that what it has beyond the source comes from defaults and is taken away.
    """
    wanted = wanted_grants(source, target)
    added = sorted(wanted - target.grants)
    surplus = [grant for grant in target.grants - wanted if fresh and grant.kind not in _CONTAINERS]
    return [_statement(grant, revoke=True) for grant in sorted(surplus)] + [
        _statement(grant, revoke=False) for grant in added
    ]


def missing_roles(contents: Iterable[tuple[Content, Content]]) -> list[dict[str, object]]:
    """Return the roles that have rights in a source and are not on the target, with what creates them there.

    contents: source and target of each part.
    """
    skipped: dict[str, list[str]] = {}
    for source, target in contents:
        for grant in sorted(source.grants):
            if grant.grantee and grant.grantee not in target.roles:
                skipped.setdefault(grant.grantee, []).append(_statement(grant, revoke=False))
    return [
        {"name": name, "commands": [f"CREATE ROLE {quote(name)}", *dict.fromkeys(statements)]}
        for name, statements in sorted(skipped.items())
    ]


def _statement(grant: Grant, *, revoke: bool) -> str:
    """Return the statement that gives a right, or takes it."""
    who = quote(grant.grantee) if grant.grantee else "PUBLIC"
    what = f"{grant.privilege} ({grant.column})" if grant.column else grant.privilege
    change = (
        f"REVOKE {what} ON {{}} FROM {who}"
        if revoke
        else f"GRANT {what} ON {{}} TO {who}{' WITH GRANT OPTION' if grant.option else ''}"
    )
    if grant.kind.startswith("DEFAULT "):
        inside = f" IN SCHEMA {grant.name}" if grant.name else ""
        return f"ALTER DEFAULT PRIVILEGES{inside} {change.format(grant.kind[len('DEFAULT ') :])}"
    return change.format(f"{grant.kind} {grant.name}")
