# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statements that ask PostgreSQL's catalogs what is in a database; sessions have search_path = pg_catalog.

Sources: PostgreSQL's manual for the system catalogs, aclexplode and acldefault.
"""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import no_member, quote, scope
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import literal

_NAME = "format('%I.%I', n.nspname, {}.{})"
_SIGNATURE = "format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))"
_SOME = 20

IDENTITY_QUERY = (
    "SELECT system_identifier::text || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AS identity FROM pg_control_system()"
)


def lock_query(key: int) -> str:
    """Return the statement that takes a lock which other sessions in the same database can see."""
    return f"SELECT pg_advisory_lock_shared({key})"


def lock_held_query(key: int) -> str:
    """Return the statement that tells whether the lock was taken in this very database."""
    return (
        "SELECT count(*)::text AS held FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
        f"AND classid::bigint = {key >> 32} AND objid::bigint = {key & 0xFFFFFFFF} "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


# sessions of an earlier run of this host's, whose processes are gone
LEFTOVER_QUERY = (
    "SELECT pid::text, pg_terminate_backend(pid)::text AS ended FROM pg_stat_activity WHERE usename = current_user "
    "AND datname = current_database() AND application_name = current_setting('application_name') "
    "AND client_addr IS NOT DISTINCT FROM inet_client_addr() AND pid <> pg_backend_pid()"
)


def facts_query(schema: str) -> str:
    """Return the statement of one row that tells what kind of database it is."""
    relations = (
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE {scope(schema)} AND {no_member('pg_class', 'c.oid')}"
    )
    mine = "(SELECT oid FROM pg_roles WHERE rolname = current_user)"
    if schema:
        owned = f"EXISTS (SELECT FROM pg_namespace n WHERE {scope(schema)} AND n.nspowner = {mine})"
        comment = f"(SELECT obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE {scope(schema)})"
    else:
        owned = f"(d.datdba = {mine})"
        comment = "shobj_description(d.oid, 'pg_database')"
    exists = f"EXISTS (SELECT FROM pg_namespace n WHERE {scope(schema)})" if schema else "true"
    return (
        "SELECT current_setting('server_version_num') AS version, pg_encoding_to_char(d.encoding) AS encoding, "
        f"{owned}::text AS owner, coalesce({comment}, '') AS comment, {exists}::text AS schema_exists, "
        "pg_is_in_recovery()::text AS in_recovery, "
        f"(SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::text {relations} "
        "AND c.relkind IN ('r', 'm', 'S')) AS bytes, "
        f"(SELECT coalesce(sum(pg_table_size(c.oid)), 0)::text {relations} AND c.relkind = 'r') AS data_bytes, "
        f"(SELECT count(*)::text {relations} AND c.relkind = 'r') AS tables, "
        f"(SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint::text {relations} AND c.relkind = 'r') AS rows, "
        f"(SELECT count(*)::text FROM pg_largeobject_metadata WHERE lomowner = {mine}) AS large_objects "
        "FROM pg_database d WHERE d.datname = current_database()"
    )


def objects_query(schema: str) -> str:
    """Return the statement that names some of what is there, whoever owns it, without what extensions brought."""
    parts = [
        f"SELECT {_NAME.format('c', 'relname')} AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND {scope(schema)} "
        f"AND {no_member('pg_class', 'c.oid')}",
        f"SELECT {_SIGNATURE} FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {scope(schema)} "
        f"AND {no_member('pg_proc', 'p.oid')}",
        f"SELECT {_NAME.format('t', 'typname')} FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
        f"WHERE t.typtype IN ('d', 'e', 'r') AND {scope(schema)} AND {no_member('pg_type', 't.oid')}",
    ]
    if not schema:
        parts += [
            f"SELECT format('schema %I', n.nspname) FROM pg_namespace n WHERE {scope('')} AND n.nspname <> 'public' "
            f"AND {no_member('pg_namespace', 'n.oid')}",
            "SELECT 'large object ' || oid FROM pg_largeobject_metadata",
        ]
    return f"SELECT name FROM ({' UNION ALL '.join(parts)}) x ORDER BY 1 LIMIT {_SOME}"


EXTENSIONS_QUERY = (
    "SELECT extname AS name, true::text AS installed FROM pg_extension WHERE extname <> 'plpgsql' UNION ALL "
    "SELECT DISTINCT name, false::text FROM pg_available_extension_versions WHERE trusted AND NOT installed"
)


def wipe_queries(schema: str) -> list[str]:
    """Return what removes the rest of what the role owns: what belongs to no schema."""
    if schema:
        return []
    mine = "(SELECT oid FROM pg_roles WHERE rolname = current_user)"
    return [
        f"SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata WHERE lomowner = {mine}",
        "DO $rspm_ha$ DECLARE r record; BEGIN FOR r IN SELECT extname FROM pg_catalog.pg_extension "
        f"WHERE extowner = {mine} LOOP EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', r.extname); END LOOP; "
        "END $rspm_ha$",
    ]


def items_query(schema: str) -> str:
    """Return the statement that lists every object with its definition: kind, name, definition."""

    def part(kind: str, name: str, definition: str, source: str, catalog: str, oid: str, where: str = "true") -> str:
        return (
            f"SELECT {kind} AS kind, {name} AS name, {definition} AS definition FROM {source} "
            f"WHERE {scope(schema)} AND {no_member(catalog, oid)} AND {where}"
        )

    relation = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    on_relation = f"JOIN {relation}"
    relname = _NAME.format("c", "relname")
    inside = "format('%I on %I.%I', {}, n.nspname, c.relname)"
    parts = [
        part(
            "CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view of' WHEN 'm' THEN 'materialized view of' "
            "WHEN 'c' THEN 'composite type' WHEN 'f' THEN 'foreign table' ELSE 'table' END",
            relname,
            "concat_ws(' ', c.relkind, c.relpersistence, c.relispopulated, c.relrowsecurity, c.relforcerowsecurity, "
            "c.reloptions, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), "
            "(SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i "
            "WHERE i.inhrelid = c.oid), (SELECT concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, "
            "s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle) FROM pg_sequence s WHERE s.seqrelid = c.oid), "
            "obj_description(c.oid, 'pg_class'))",
            relation,
            "pg_class",
            "c.oid",
            "c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')",
        ),
        part(
            "'view'",
            relname,
            "pg_get_viewdef(c.oid)",
            relation,
            "pg_class",
            "c.oid",
            "c.relkind IN ('v', 'm')",
        ),
        part(
            "'column'",
            "format('%I.%I.%I', n.nspname, c.relname, a.attname)",
            "concat_ws(' ', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), "
            "format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END, a.attidentity, "
            "a.attgenerated, pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attcollation <> y.typcollation THEN "
            "a.attcollation::regcollation::text END, nullif(a.attstattarget, -1), "
            # Debian's 15.20 numbers each column of each database by itself
            "nullif(ARRAY(SELECT o FROM unnest(a.attoptions) AS o WHERE o NOT LIKE 'pg\\_attver=%'), '{}'), "
            "col_description(c.oid, a.attnum))",
            f"pg_attribute a JOIN pg_type y ON y.oid = a.atttypid {on_relation} ON c.oid = a.attrelid "
            "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum",
            "pg_class",
            "c.oid",
            "a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')",
        ),
        part(
            "'index'",
            "format('%I.%I', n.nspname, x.relname)",
            "concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisclustered, i.indisreplident)",
            f"pg_index i JOIN pg_class x ON x.oid = i.indexrelid {on_relation} ON c.oid = i.indrelid",
            "pg_class",
            "c.oid",
            # an index that is broken, or being made, is not dumped
            "(i.indisvalid OR x.relkind = 'I') AND c.relkind IN ('r', 'p', 'm')",
        ),
        part(
            "'constraint'",
            inside.format("k.conname"),
            "concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated)",
            f"pg_constraint k {on_relation} ON c.oid = k.conrelid",
            "pg_class",
            "c.oid",
            # newer servers have NOT NULL there too; columns tell it
            "k.contype <> 'n'",
        ),
        part(
            "'trigger'",
            inside.format("g.tgname"),
            "concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled)",
            f"pg_trigger g {on_relation} ON c.oid = g.tgrelid",
            "pg_class",
            "c.oid",
            "NOT g.tgisinternal",
        ),
        part(
            "'rule'",
            inside.format("w.rulename"),
            "pg_get_ruledef(w.oid)",
            f"pg_rewrite w {on_relation} ON c.oid = w.ev_class",
            "pg_class",
            "c.oid",
            "w.rulename <> '_RETURN'",
        ),
        part(
            "'policy'",
            inside.format("l.polname"),
            "concat_ws(' ', l.polcmd, l.polpermissive, l.polroles::regrole[], pg_get_expr(l.polqual, l.polrelid), "
            "pg_get_expr(l.polwithcheck, l.polrelid))",
            f"pg_policy l {on_relation} ON c.oid = l.polrelid",
            "pg_class",
            "c.oid",
        ),
        part(
            "'statistics'",
            _NAME.format("s", "stxname"),
            "pg_get_statisticsobjdef(s.oid)",
            "pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace",
            "pg_statistic_ext",
            "s.oid",
        ),
        part(
            "'routine'",
            _SIGNATURE,
            "CASE WHEN p.prokind = 'a' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END",
            "pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace",
            "pg_proc",
            "p.oid",
        ),
        part(
            "'type'",
            _NAME.format("t", "typname"),
            "concat_ws(' ', t.typtype, CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, "
            "t.typnotnull, t.typdefault, (SELECT string_agg(quote_literal(u.enumlabel), ',' ORDER BY u.enumsortorder) "
            "FROM pg_enum u WHERE u.enumtypid = t.oid), (SELECT string_agg(pg_get_constraintdef(k.oid), ',' "
            "ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'))",
            "pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace",
            "pg_type",
            "t.oid",
            "t.typtype IN ('d', 'e', 'r')",
        ),
    ]
    if not schema:
        parts.append(
            part(
                "'schema'",
                "quote_ident(n.nspname)",
                "''",
                "pg_namespace n",
                "pg_namespace",
                "n.oid",
                "n.nspname <> 'public'",
            )
        )
    return " UNION ALL ".join(parts)


def grants_query(schema: str, database: str) -> str:
    """Return the statement that lists the rights of everybody but the owner and the role of the nodes.

    database: name under which those of the database itself are listed.
    """

    def part(kind: str, name: str, column: str, acl: str, owner: str, source: str, where: str) -> str:
        return (
            f"SELECT {kind} AS kind, {name} AS name, {column} AS \"column\", coalesce(r.rolname, '') AS grantee, "
            f'a.privilege_type AS privilege, a.is_grantable::text AS "option" FROM {source} '
            f"CROSS JOIN LATERAL aclexplode({acl}) a LEFT JOIN pg_roles r ON r.oid = a.grantee "
            f"WHERE a.grantee <> {owner} AND coalesce(r.rolname, '') <> current_user AND {where}"
        )

    relation = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    of_relation = f"{scope(schema)} AND {no_member('pg_class', 'c.oid')}"
    relname = _NAME.format("c", "relname")
    target = "CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"
    # the type is that of acldefault, which has another letter for sequences
    usual = "acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner)"
    default_kind = (
        "'DEFAULT ' || CASE f.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' "
        "WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END"
    )
    parts = [
        part(
            target,
            relname,
            "''",
            f"coalesce(c.relacl, {usual})",
            "c.relowner",
            relation,
            f"c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {of_relation}",
        ),
        part(
            "'TABLE'",
            relname,
            "quote_ident(b.attname)",
            "b.attacl",
            "c.relowner",
            f"pg_attribute b JOIN {relation} ON c.oid = b.attrelid",
            f"b.attnum > 0 AND NOT b.attisdropped AND {of_relation}",
        ),
        part(
            "'ROUTINE'",
            _SIGNATURE,
            "''",
            "coalesce(p.proacl, acldefault('f', p.proowner))",
            "p.proowner",
            "pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace",
            f"{scope(schema)} AND {no_member('pg_proc', 'p.oid')}",
        ),
        part(
            "'TYPE'",
            _NAME.format("t", "typname"),
            "''",
            "coalesce(t.typacl, acldefault('T', t.typowner))",
            "t.typowner",
            "pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid",
            "(t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c') "
            f"AND {scope(schema)} AND {no_member('pg_type', 't.oid')}",
        ),
        part(
            "'SCHEMA'",
            "quote_ident(n.nspname)",
            "''",
            "n.nspacl",
            "n.nspowner",
            "pg_namespace n",
            f"{scope(schema)} AND {no_member('pg_namespace', 'n.oid')}",
        ),
        part(
            default_kind,
            "coalesce(quote_ident(n.nspname), '')",
            "''",
            "f.defaclacl",
            "f.defaclrole",
            "pg_default_acl f LEFT JOIN pg_namespace n ON n.oid = f.defaclnamespace",
            "f.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND "
            + (scope(schema) if schema else "true"),
        ),
    ]
    if not schema:
        me = "(SELECT oid FROM pg_roles WHERE rolname = current_user)"
        parts += [
            # what PUBLIC gets where nothing is said, which may have been taken away
            part(
                "CASE k.kind WHEN 'f' THEN 'DEFAULT ROUTINES' ELSE 'DEFAULT TYPES' END",
                "''",
                "''",
                f"coalesce(f.defaclacl, acldefault(k.kind, {me}))",
                me,
                "(VALUES ('f'::\"char\"), ('T'::\"char\")) k (kind) LEFT JOIN pg_default_acl f "
                f"ON f.defaclrole = {me} AND f.defaclnamespace = 0 AND f.defaclobjtype = k.kind",
                "true",
            ),
            part("'LARGE OBJECT'", "m.oid::text", "''", "m.lomacl", "m.lomowner", "pg_largeobject_metadata m", "true"),
            part(
                "'DATABASE'",
                literal(quote(database)),
                "''",
                "d.datacl",
                "d.datdba",
                "pg_database d",
                "d.datname = current_database()",
            ),
        ]
    return " UNION ALL ".join(parts)


ROLES_QUERY = "SELECT rolname AS name FROM pg_roles"
