# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pg_dump and pg_restore are told: logins without a secret in sight, what is wiped, and what is restored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import APPLICATION, environment_of, literal

SCHEMAS_QUERY = "SELECT nspname FROM pg_catalog.pg_namespace"


_ENTRY = re.compile(r"\d+; \d+ \d+ (SCHEMA - (?P<schema>.+)|ACL - SCHEMA .*|COMMENT - (SCHEMA|EXTENSION) .*)")


def tool_environment(database: Database, password_path: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return what PostgreSQL's tools need for a login, without a secret.

    password_path: of the password file. options: libpq's, with host and port.
    """
    return {
        **environment_of(options),
        "PGUSER": database.user,
        "PGSSLMODE": database.sslmode,
        "PGPASSFILE": password_path,
        "PGAPPNAME": APPLICATION,
        "PGCONNECT_TIMEOUT": "10",
    }


def password_file(user: str, password: str) -> str:
    """Return the text of a libpq password file for any server and database."""
    escaped = [text.replace("\\", "\\\\").replace(":", "\\:") for text in (user, password)]
    return f"*:*:*:{escaped[0]}:{escaped[1]}\n"


def quote_pattern(schema: str) -> str:
    """Return the pattern that means just this schema to pg_dump."""
    return '"' + schema.replace('"', '""') + '"'


def wipe_statement(schema: str) -> str:
    """Return the statement that drops what the role owns in the schema, in every schema for "".

    pg_restore --clean drops only what the dump has; what the newer version made beside it would stay, and its next
    migration would stumble over that. Members of extensions stay.
    """
    scope = f"n.nspname = {literal(schema)}" if schema else "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    mine = "{owner} = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)"
    member = (
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = {oid} AND d.deptype = 'e' "
        "AND d.classid = '{catalog}'::regclass)"
    )

    def loop(kind: str, name: str, source: str, prefix: str, catalog: str, more: str, order: str = "name") -> str:
        where = " AND ".join(
            (
                scope,
                mine.format(owner=f"x.{prefix}owner"),
                member.format(oid="x.oid", catalog=f"pg_catalog.{catalog}"),
                more,
            )
        )
        return (
            f"FOR r IN SELECT {kind} AS kind, {name} AS name FROM {source} "
            f"JOIN pg_catalog.pg_namespace n ON n.oid = x.{prefix}namespace WHERE {where} ORDER BY {order} LOOP "
            "EXECUTE format('DROP %s IF EXISTS %s CASCADE', r.kind, r.name); END LOOP; "
        )

    kinds = (
        "CASE x.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' "
        "WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"
    )
    body = loop(
        kinds,
        "format('%I.%I', n.nspname, x.relname)",
        "pg_catalog.pg_class x",
        "rel",
        "pg_class",
        "x.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
        # a sequence that belongs to a table goes with it, and can't go before it
        "x.relkind = 'S', name",
    )
    signature = "format('%I.%I(%s)', n.nspname, x.proname, pg_catalog.pg_get_function_identity_arguments(x.oid))"
    body += loop("'ROUTINE'", signature, "pg_catalog.pg_proc x", "pro", "pg_proc", "true")
    body += loop(
        "'TYPE'",
        "format('%I.%I', n.nspname, x.typname)",
        "pg_catalog.pg_type x",
        "typ",
        "pg_type",
        "x.typtype IN ('d', 'e', 'r', 'c') AND (x.typrelid = 0 OR EXISTS "
        "(SELECT FROM pg_catalog.pg_class c WHERE c.oid = x.typrelid AND c.relkind = 'c'))",
    )
    if not schema:
        owned = mine.format(owner="n.nspowner")
        body += (
            f"FOR r IN SELECT n.nspname AS name FROM pg_catalog.pg_namespace n WHERE {scope} AND n.nspname <> 'public' "
            f"AND {owned} LOOP EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', r.name); END LOOP; "
        )
    return f"DO $rspm_ha$ DECLARE r record; BEGIN {body}END $rspm_ha$"


def restore_list(listed: str, existing: Iterable[str]) -> str:
    """Return the list of what is restored: all of it, but no schema that exists, and nothing that is said of schemas.

    listed: of pg_restore --list. Schemas may belong to somebody else, who keeps them and their rights.
    """
    known = [f"{schema} " for schema in existing]

    def wanted(line: str) -> bool:
        match = _ENTRY.match(line)
        if match is None:
            return True
        # the owner's name follows
        return match.group("schema") is not None and not match.group("schema").startswith(tuple(known))

    return "\n".join(line for line in listed.splitlines() if wanted(line)) + "\n"
