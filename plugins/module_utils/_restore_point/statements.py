# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statements that make room for what is restored, and that tell what is there.

They are for sessions with search_path = pg_catalog. Sources: PostgreSQL's manual for the catalogs, pg_identify_object,
ALTER DEFAULT PRIVILEGES and explicit locking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.rspm.ha.plugins.module_utils._database_copy.content import SETTINGS, no_member, quote, scope
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import literal

# who restores holds this lock of the database, so that a run that was left alone is found and ended
_KEY = 0x7273706D68613137
# what is set aside for a rehearsal has this name; nobody else sees it
ASIDE = "rspm_ha_aside_"
# what our own blocks begin with
OWN_BLOCK = "DO $rspm_ha$"
# what kept_query calls the tables of extensions whose rows are dumped
EXTENSION_DATA = "EXTENSION DATA"


def _mine(owner: str) -> str:
    return f"pg_has_role({owner}, 'USAGE')"


def _objects(schema: str) -> str:
    """Return the query of everything that has an owner: classid, oid, owner, rank (the order to drop it in)."""

    def part(catalog: str, prefix: str, rank: str = "2", more: str = "true") -> str:
        return (
            f"SELECT '{catalog}'::regclass AS classid, x.oid, x.{prefix}owner AS owner, {rank} AS rank "
            f"FROM {catalog} x JOIN pg_namespace n ON n.oid = x.{prefix}namespace "
            f"WHERE {scope(schema)} AND {no_member(catalog, 'x.oid')} AND {more}"
        )

    def loose(catalog: str, prefix: str) -> str:
        return (
            f"SELECT '{catalog}'::regclass, x.oid, x.{prefix}owner, 0 FROM {catalog} x "
            f"WHERE {no_member(catalog, 'x.oid')} AND x.oid >= 16384"
        )

    alone = (
        "x.typtype IN ('d', 'e', 'r', 'c') AND (x.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE "
        "c.oid = x.typrelid AND c.relkind = 'c'))"
    )
    # a sequence that belongs to a table goes with it, and can't go before it
    relations = "x.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
    parts = [
        part("pg_class", "rel", "CASE x.relkind WHEN 'S' THEN 1 ELSE 0 END", relations),
        part("pg_proc", "pro"),
        part("pg_type", "typ", "3", alone),
        part("pg_operator", "opr"),
        part("pg_opclass", "opc"),
        part("pg_opfamily", "opf", "3"),
        part("pg_collation", "coll", "4"),
        part("pg_conversion", "con"),
        part("pg_ts_config", "cfg"),
        part("pg_ts_dict", "dict", "3"),
        part("pg_statistic_ext", "stx", "0"),
    ]
    if not schema:
        parts += [
            loose("pg_publication", "pub"),
            loose("pg_foreign_server", "srv"),
            "SELECT 'pg_largeobject'::regclass, m.oid, m.lomowner, 0 FROM pg_largeobject_metadata m",
        ]
    return " UNION ALL ".join(parts)


def others_query(schema: str) -> str:
    """Return the statement that names what the role does not own, and so could not make anew: kind, name, owner.

    What belongs to the whole database and survives, such as an event trigger of an administrator, is none of it.
    """
    survives = "o.classid NOT IN ('pg_publication'::regclass, 'pg_foreign_server'::regclass)"
    found = (
        "SELECT replace(i.type, ' object', CASE WHEN i.type LIKE 'large%' THEN ' object' ELSE '' END) AS kind, "
        f"i.identity AS name, pg_get_userbyid(o.owner) AS owner FROM ({_objects(schema)}) o, "
        f"pg_identify_object(o.classid, o.oid, 0) i WHERE NOT {_mine('o.owner')} AND {survives}"
    )
    # the table would leave the publication with the drop, and only the publication's owner may add it again
    members = (
        "SELECT 'publication', format('%I DROP TABLE %I.%I', p.pubname, n.nspname, c.relname), "
        "pg_get_userbyid(p.pubowner) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid "
        "JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE NOT {_mine('p.pubowner')} AND {scope(schema)}"
    )
    parsers = [
        f"SELECT '{kind}', format('%I.%I', n.nspname, x.{prefix}name), '' FROM {catalog} x "
        f"JOIN pg_namespace n ON n.oid = x.{prefix}namespace WHERE {scope(schema)} AND {no_member(catalog, 'x.oid')} "
        "AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        for kind, catalog, prefix in (
            ("text search parser", "pg_ts_parser", "prs"),
            ("text search template", "pg_ts_template", "tmpl"),
        )
    ]
    parts = [found, members, *parsers]
    if schema:
        parts += _outside(schema)
        parts.append(
            "SELECT 'large object', m.oid::text, pg_get_userbyid(m.lomowner) FROM pg_largeobject_metadata m "
            f"WHERE {_mine('m.lomowner')}"
        )
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) x ORDER BY 1, 2"


def frozen_query(schema: str) -> str:
    """Return the statement that names the tables whose rows nobody can change, or delete: name, publication.

    PostgreSQL refuses it where a publication tells others of it and nothing tells one row from another.
    """
    alone = (
        "CASE c.relreplident WHEN 'f' THEN false WHEN 'n' THEN true ELSE NOT EXISTS (SELECT FROM pg_index x WHERE "
        "x.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN x.indisreplident ELSE x.indisprimary END) END"
    )
    return (
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, string_agg(quote_ident(p.pubname), ', ') AS publication "
        "FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname "
        "JOIN pg_namespace n ON n.nspname = t.schemaname "
        "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename "
        f"WHERE (p.pubupdate OR p.pubdelete) AND {scope(schema)} AND {alone} GROUP BY 1 ORDER BY 1"
    )


def _outside(schema: str) -> list[str]:
    """Return the queries of what hangs on the schema from outside of it, and would go with its tables."""
    inside = f"JOIN pg_class c ON c.oid = {{}} JOIN pg_namespace n ON n.oid = c.relnamespace AND {scope(schema)} "
    elsewhere = f"m.nspname <> {literal(schema)}"
    return [
        "SELECT DISTINCT 'view outside', format('%I.%I', m.nspname, v.relname), pg_get_userbyid(v.relowner) "
        "FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class "
        f"JOIN pg_namespace m ON m.oid = v.relnamespace {inside.format('d.refobjid')}"
        f"WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND {elsewhere}",
        "SELECT 'constraint outside', format('%I on %I.%I', k.conname, m.nspname, t.relname), "
        "pg_get_userbyid(t.relowner) FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid "
        f"JOIN pg_namespace m ON m.oid = t.relnamespace {inside.format('k.confrelid')}"
        f"WHERE k.contype = 'f' AND {elsewhere}",
    ]


def kept_query() -> str:
    """Return the statement that lists what a restore leaves alone where it is there."""
    loose = (
        ("PUBLICATION", "pg_publication", "pub"),
        ("SERVER", "pg_foreign_server", "srv"),
        ("FOREIGN DATA WRAPPER", "pg_foreign_data_wrapper", "fdw"),
        ("EVENT TRIGGER", "pg_event_trigger", "evt"),
        ("PROCEDURAL LANGUAGE", "pg_language", "lan"),
    )
    parts = [
        "SELECT 'SCHEMA ' || nspname AS name FROM pg_namespace",
        "SELECT 'EXTENSION ' || extname FROM pg_extension",
        f"SELECT '{EXTENSION_DATA} ' || n.nspname || ' ' || c.relname FROM pg_class c JOIN pg_namespace n "
        f"ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'S') AND NOT {no_member('pg_class', 'c.oid')}",
    ]
    parts += [
        f"SELECT '{kind} ' || {prefix}name FROM {catalog} WHERE NOT {_mine(prefix + 'owner')}"
        for kind, catalog, prefix in loose
    ]
    return " UNION ALL ".join(parts)


def aside_query(schema: str) -> str:
    """Return the statement that lists the schemas with objects, and whether each can be set aside in a rehearsal.

    A schema that an extension lives in can't: what is restored could not name the extension's parts any more.
    """
    able = f"{_mine('n.nspowner')} AND has_database_privilege(current_database(), 'CREATE')"
    # whom a table is given to needs the rights there that it has in the schema itself
    rights = (
        "SELECT string_agg(format('GRANT %s ON SCHEMA %I TO %s', a.privilege_type, n.nspname, CASE a.grantee WHEN 0 "
        "THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END), '; ') "
        "FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a"
    )
    return (
        f"SELECT n.nspname AS name, ({able} "
        "AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extnamespace = n.oid))::text AS can, "
        f"coalesce(({rights}), '') AS rights FROM pg_namespace n "
        f"WHERE {scope(schema)} AND EXISTS (SELECT FROM ({_objects(schema)}) o "
        "JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.oid "
        "WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)"
    )


def settings_statement(seconds: float, lock_ms: int) -> str:
    """Return what makes the session comparable, and keeps it from outliving its client.

    seconds: no statement takes longer. lock_ms: nor waits longer for others.
    """
    given = {
        **SETTINGS,
        "client_encoding": "UTF8",
        "client_min_messages": "warning",
        "statement_timeout": str(int(seconds * 1000)),
        "transaction_timeout": str(int(seconds * 1000)),
        "lock_timeout": str(lock_ms),
        # a client that lost its power holds its locks until the server finds out
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }
    pairs = ", ".join(f"({literal(key)}, {literal(value)})" for key, value in given.items())
    return (
        "SELECT pg_catalog.set_config(s.name, w.value, false) FROM pg_catalog.pg_settings s "
        f"JOIN (VALUES {pairs}) w (name, value) ON w.name = s.name"
    )


_OTHER_RUN = (
    "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    f"AND classid::bigint = {_KEY >> 32} AND objid::bigint = {_KEY & 0xFFFFFFFF}"
)
END_OTHER_RUN = f"SELECT pid::text, pg_terminate_backend(pid)::text AS ended FROM pg_locks WHERE {_OTHER_RUN}"
TAKE_LOCK = (
    f"DO $rspm_ha$ BEGIN IF NOT pg_try_advisory_xact_lock({_KEY}) THEN "
    "RAISE EXCEPTION 'another restore of this database is at work'; END IF; END $rspm_ha$"
)
HOLDERS_QUERY = (
    "SELECT a.pid::text, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS application "
    "FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() "
    "AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation' AND l.granted)"
)


def lock_tables(tables: Sequence[str], attempts: int) -> str:
    """Return the statement that takes all tables at once or none; it never waits for anybody, so nobody's turn is lost.

    A wait would stop whoever comes after it, and might end in a deadlock whose victim is the service.
    """
    if not tables:
        return "SELECT 1"
    return (
        f"DO $rspm_ha$ BEGIN FOR attempt IN 1..{attempts} LOOP BEGIN "
        f"LOCK TABLE {', '.join(f'ONLY {name}' for name in tables)} IN ACCESS EXCLUSIVE MODE NOWAIT; RETURN; "
        "EXCEPTION WHEN lock_not_available THEN PERFORM pg_sleep(0.2); END; END LOOP; "
        "RAISE lock_not_available; END $rspm_ha$"
    )


def set_aside(schemas: Mapping[str, str]) -> list[str]:
    """Return the statements that give empty schemas of the same names; nothing in them is locked by that.

    schemas: what grants the rights in each.
    """
    said: list[str] = []
    for number, (name, rights) in enumerate(schemas.items()):
        said += [f"ALTER SCHEMA {quote(name)} RENAME TO {ASIDE}{number}", f"CREATE SCHEMA {quote(name)}"]
        said += [rights] if rights else []
    return said


def wipe_statement(schema: str, schemas: Sequence[str], extensions: Sequence[str], *, loose_only: bool) -> str:
    """Return the statement that drops what the role owns in the schema, in the whole database for "".

    What is no part of the dump goes too: the next migration would stumble over what this one left. Ends in an error
    where something of another role would go with it. schemas, extensions: that are kept. loose_only: leave what lies
    in schemas, which are set aside.
    """
    objects = _objects(schema)
    identity = (
        # the identity of an aggregate is not what DROP takes
        "CASE WHEN o.classid = 'pg_proc'::regclass THEN (SELECT format('ROUTINE IF EXISTS %I.%I(%s)', n.nspname, "
        "p.proname, pg_get_function_identity_arguments(p.oid)) FROM pg_proc p JOIN pg_namespace n "
        "ON n.oid = p.pronamespace WHERE p.oid = o.oid) ELSE replace(i.type, ' object', '') || ' IF EXISTS ' || "
        "i.identity END"
    )
    mine = "(SELECT oid FROM pg_roles WHERE rolname = current_user)"
    large = "'pg_largeobject'::regclass"
    loose = "AND o.classid IN ('pg_publication'::regclass, 'pg_foreign_server'::regclass)" if loose_only else ""
    kinds = (
        "CASE f.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' "
        "WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END"
    )
    to = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
    inside = "CASE WHEN n.oid IS NULL THEN '' ELSE format('IN SCHEMA %I ', n.nspname) END"
    of_role = f"LEFT JOIN pg_namespace n ON n.oid = f.defaclnamespace WHERE f.defaclrole = {mine}" + (
        f" AND {scope(schema)}" if schema else ""
    )
    # as they are where nobody ever said anything; what was said, the dump says again
    usual = "acldefault(f.defaclobjtype, f.defaclrole)"
    defaults = (
        f"SELECT 0 AS step, format('ALTER DEFAULT PRIVILEGES %sREVOKE ALL ON %s FROM %s', {inside}, {kinds}, {to}) "
        f"AS said FROM pg_default_acl f CROSS JOIN LATERAL aclexplode(f.defaclacl) a {of_role} UNION "
        f"SELECT 1, format('ALTER DEFAULT PRIVILEGES GRANT %s ON %s TO %s', a.privilege_type, {kinds}, {to}) "
        f"FROM pg_default_acl f CROSS JOIN LATERAL aclexplode({usual}) a {of_role} AND f.defaclnamespace = 0"
    )
    others = (
        "SELECT array_agg(format('%s %s', i.type, i.identity) ORDER BY 1) "
        f"FROM ({_objects('')}) o, pg_identify_object(o.classid, o.oid, 0) i WHERE NOT {_mine('o.owner')}"
    )
    owned = (
        f"SELECT coalesce(array_agg('DROP ' || {identity} || ' CASCADE' ORDER BY o.rank, i.identity), '{{}}') "
        f"FROM ({objects}) o, pg_identify_object(o.classid, o.oid, 0) i WHERE {_mine('o.owner')} "
        f"AND o.classid <> {large} {loose}"
    )
    run = "FOREACH v_said IN ARRAY v_todo LOOP EXECUTE v_said; END LOOP"
    body = [f"v_todo := (SELECT coalesce(array_agg(said ORDER BY step), '{{}}') FROM ({defaults}) d)", run]
    body += [f"v_others := ({others})", f"v_todo := ({owned})", run]
    if not schema:
        body.append(f"PERFORM lo_unlink(o.oid) FROM ({objects}) o WHERE o.classid = {large} AND {_mine('o.owner')}")
        for kind, catalog, prefix, names in (
            ("EXTENSION", "pg_extension", "ext", extensions),
            ("SCHEMA", "pg_namespace", "nsp", [*schemas, "public"]),
        ):
            kept = ", ".join(literal(name) for name in names) or "''"
            body += [
                f"v_todo := (SELECT coalesce(array_agg(format('DROP {kind} IF EXISTS %I CASCADE', {prefix}name)), "
                f"'{{}}') FROM {catalog} WHERE {prefix}owner = {mine} AND {prefix}name NOT IN ({kept}) "
                f"AND {prefix}name !~ '^(pg_|{ASIDE})')",
                run,
            ]
    body += [
        f"v_others := (SELECT array_agg(v) FROM unnest(v_others) v WHERE NOT v = ANY (coalesce(({others}), '{{}}')))",
        "IF v_others IS NOT NULL THEN RAISE EXCEPTION 'with what the role owns would go: %', "
        "array_to_string(v_others, '; ') USING ERRCODE = 'dependent_objects_still_exist'; END IF",
    ]
    return f"DO $rspm_ha$ DECLARE v_todo text[]; v_others text[]; v_said text; BEGIN {'; '.join(body)}; END $rspm_ha$"


def owners_query(schema: str) -> str:
    """Return the statement that tells whose everything is, also of what items_query does not know."""
    return (
        "SELECT 'owner of ' || i.type AS kind, i.identity AS name, pg_get_userbyid(o.owner)::text AS definition "
        f"FROM ({_objects(schema)}) o, pg_identify_object(o.classid, o.oid, 0) i"
    )


def counts_query(tables: Sequence[str]) -> str:
    """Return the statement that counts the rows of tables."""
    return " UNION ALL ".join(
        f"SELECT {literal(name)} AS name, count(*)::text AS rows FROM ONLY {name}" for name in tables
    )


def tagged(tag: str, query: str) -> str:
    """Return a statement whose rows psql writes as one line of JSON each, behind the tag."""
    return f"SELECT {literal(tag + ' ')} || row_to_json(x)::text FROM ({query}) x"
