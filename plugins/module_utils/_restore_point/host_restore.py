# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dump a database and restore it: this process passes what pg_restore writes on to psql, and commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import IO

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import catalog, content
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host_scan import address_of, ask, open_side
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import restore_rules as rules
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import statements
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host_session import (
    EARLIER,
    Access,
    Transaction,
    started,
    transaction,
)
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.restore_rules import Place, Setting
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import tool_failed

_LOCK_MS = 60_000
# the service is at work while a restore is rehearsed: below PostgreSQL's wait for deadlocks, so that we give way
_REHEARSAL_LOCK_MS = 200
_REHEARSAL_ATTEMPTS = 100
# seconds for which a rehearsal may hold the service's tables
_REHEARSAL_HELD = 30.0
_LEFTOVER_TIMEOUT = 60.0
_POLL_INTERVAL = 0.2
_BATCH = 200
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Dumped:
    """One database as it was dumped. setting: what is kept; content: what was in it; listed: what the dump holds."""

    place: Place
    setting: Setting
    content: content.Content
    listed: str


def place_of(database: Database, name: str, schema: str) -> Place:
    """Return the place of one part."""
    return Place(address_of(database, name, schema), schema, database.user)


def _feed(given: Transaction, access: Access, file: str, chosen: str, only: Sequence[str], place: Place) -> None:
    """Pass on what pg_restore writes; raises DomainError unless all of it was sent, but for its COMMIT."""
    words = ["--single-transaction", "--exit-on-error", *only, f"--use-list={chosen}", "--file=-", file]
    argv = as_account([f"{access.tools.folder}/pg_restore", *words])
    with started(argv, access.limit, access.environment) as source:
        source.stream("stdin").close()
        written = source.stream("stdout")
        held = _take(written, rules.HEAD_BYTES + rules.TAIL_BYTES)
        held = rules.opening(held)
        while block := written.read(_BLOCK):
            held += block
            given.send(held[: -rules.TAIL_BYTES])
            held = held[-rules.TAIL_BYTES :]
        rc, said = source.wait()
    last = rules.ending(held)
    if rc != 0 or last is None:
        raise DomainError(_unreadable(place, file, rc, said))
    given.send(last)


def _take(stream: IO[bytes], size: int) -> bytes:
    taken = b""
    while len(taken) < size and (block := stream.read(size - len(taken))):
        taken += block
    return taken


def _unreadable(place: Place, file: str, rc: int, said: str) -> Problem:
    text = said.strip().replace("\n", "; ") or "it said nothing"
    return Problem(
        rules.CHECK,
        f"pg_restore could not read {file} to its end (it ended with {rc}: {text})",
        f"What is in {place.address} was left as it was",
        "See that the shared storage answers and that the file is complete, and run the same command again",
    )


def _load_content(
    query: Callable[[Mapping[str, str]], dict[str, list[dict[str, str | None]]]], name: str, schema: str
) -> content.Content:
    """Return all that is compared but the rows."""
    queries = {
        "items": catalog.items_query(schema),
        "owners": statements.owners_query(schema),
        "grants": catalog.grants_query(schema, name),
    }
    if not schema:
        queries["large"] = content.LARGE_OBJECTS_QUERY
    rows = query(queries)
    large = rows.get("large", [])
    return content.Content(
        items=tuple(sorted((*content.parse_items(rows["items"]), *content.parse_items(rows["owners"])))),
        large_objects=(int(large[0]["objects"] or 0), large[0]["digest"] or "") if large else (0, ""),
        grants=content.parse_grants(rows["grants"]),
    )


def _load_counts(
    query: Callable[[Mapping[str, str]], dict[str, list[dict[str, str | None]]]], tables: Sequence[str]
) -> dict[str, int]:
    batches = [tables[first : first + _BATCH] for first in range(0, len(tables), _BATCH)]
    found = query({f"rows{number}": statements.counts_query(batch) for number, batch in enumerate(batches)})
    return {row["name"] or "": int(row["rows"] or 0) for rows in found.values() for row in rows}


def _asker(connection: Connection, where: str) -> Callable[[Mapping[str, str]], dict[str, list[dict[str, str | None]]]]:
    return lambda queries: {name: ask(connection, where, query) for name, query in queries.items()}


def load_version(database: Database) -> int:
    """Return the version of the server, e.g. 150004."""
    where = address_of(database, database.name)
    with closing(open_side(database, database.name)) as connection:
        return int(ask(connection, where, "SHOW server_version_num")[0]["server_version_num"] or 0)


def load_kept(database: Database, name: str) -> list[str]:
    """Return what a restore leaves alone in a database."""
    with closing(open_side(database, name)) as connection:
        return [row["name"] or "" for row in ask(connection, address_of(database, name), statements.kept_query())]


def load_setting(connection: Connection, place: Place) -> Setting:
    """Return what is kept of a database."""
    rows = ask(connection, place.address, statements.aside_query(place.schema))
    able = all(row["can"] == "true" for row in rows)
    return Setting(
        kept=tuple(row["name"] or "" for row in ask(connection, place.address, statements.kept_query())),
        aside={row["name"] or "": row["rights"] or "" for row in rows} if able else None,
        tables=tuple(row["name"] or "" for row in ask(connection, place.address, content.tables_query(place.schema))),
    )


def prove_changeable(database: Database, name: str, schema: str) -> None:
    """Raise DomainError where a migration of the schema could not change the rows of a table."""
    place = place_of(database, name, schema)
    with closing(open_side(database, name)) as connection:
        raise_any(rules.judge_frozen(place, ask(connection, place.address, statements.frozen_query(schema))))


def save(access: Access, name: str, schema: str, only: Sequence[str], file: str, runner: Runner) -> Dumped:
    """Dump a database into a file, and return its content at that moment, whoever writes meanwhile.

    Raises DomainError for what could not be made anew.
    """
    place = place_of(access.database, name, schema)
    with closing(open_side(access.database, name)) as connection:
        raise_any(rules.judge_others(place, ask(connection, place.address, statements.others_query(schema))))
        ask(connection, place.address, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = ask(connection, place.address, "SELECT pg_export_snapshot() AS id")[0]["id"]
        argv = access.argv("pg_dump", name, ["-Fc", *only, f"--snapshot={snapshot}", f"--file={file}"])
        run(runner, argv, access.limit, access.environment)
        setting = load_setting(connection, place)
        found = _load_content(_asker(connection, place.address), name, schema)
        counts = _load_counts(_asker(connection, place.address), setting.tables)
    listed = load_list(access, file, runner)
    return Dumped(place, setting, _with_counts(found, counts), listed)


def load_list(access: Access, file: str, runner: Runner) -> str:
    """Return what a dump holds, as pg_restore lists it."""
    argv = as_account([f"{access.tools.folder}/pg_restore", "--list", file])
    return run(runner, argv, access.limit, access.environment)


def run(runner: Runner, argv: list[str], limit: float, environment: Mapping[str, str]) -> str:
    """Run a tool; raises DomainError unless it does its work."""
    done = runner(argv, timeout=limit, env=dict(environment))
    if done.rc != 0:
        raise DomainError(tool_failed(argv, done.rc, done.stderr.strip().replace("\n", "; ")))
    return done.stdout


def _with_counts(found: content.Content, counts: Mapping[str, int]) -> content.Content:
    return rules.comparable(replace(found, tables={name: (rows, "") for name, rows in counts.items()}))


def rehearse(access: Access, name: str, dumped: Dumped, file: str, chosen: str, runner: Runner) -> None:
    """Restore a dump in a transaction that is undone, and compare; raises DomainError where it would not come back.

    Beside the live schemas, which are set aside in that transaction alone, all of it; where they can't be set aside,
    the definitions in the place of the live ones, whose tables are locked for that.
    """
    place, setting = dumped.place, dumped.setting
    full = setting.aside is not None
    limit = access.limit if full else _REHEARSAL_HELD
    if not full:
        # nothing waits for this
        argv = as_account([f"{access.tools.folder}/pg_restore", "--file=/dev/null", file])
        run(runner, argv, access.limit, access.environment)
    with transaction(access, name, place, _REHEARSAL_LOCK_MS, limit, rehearsal=True) as given:
        if setting.aside is None:
            given.do(statements.lock_tables(setting.tables, _REHEARSAL_ATTEMPTS))
        else:
            given.do(*statements.set_aside(setting.aside))
        given.do(_wipe(place, setting.kept, dumped.listed, loose_only=full))
        _feed(given, access, file, chosen, [] if full else ["--schema-only"], place)
        given.do(statements.settings_statement(limit, _REHEARSAL_LOCK_MS))
        found = _load_content(given.ask, name, place.schema)
        counts = _load_counts(given.ask, setting.tables) if full else {}
        given.leave()
    saved = dumped.content if full else replace(dumped.content, tables={}, large_objects=(0, ""))
    restored = _with_counts(found if full else replace(found, large_objects=(0, "")), counts)
    raise_any(rules.judge_rehearsal(place, content.compare(saved, restored, same_major=True)))
    raise_any(rules.judge_rehearsal(place, rules.rights_lost(saved, restored)))


def restore(
    access: Access,
    name: str,
    schema: str,
    file: str,
    chosen: str,
    listed: str,
    kept: Sequence[str],
    saved: Mapping[str, int],
) -> None:
    """Replace the content by what was saved, or leave it as it was. saved: rows by table."""
    place = place_of(access.database, name, schema)
    with transaction(access, name, place, _LOCK_MS, access.limit - 2 * EARLIER, rehearsal=False) as given:
        given.do(_wipe(place, kept, listed, loose_only=False))
        _feed(given, access, file, chosen, [], place)
        given.do(statements.settings_statement(access.limit - 2 * EARLIER, _LOCK_MS))
        raise_any(rules.judge_counts(place, saved, _load_counts(given.ask, list(saved))))
        given.commit()


def _wipe(place: Place, kept: Sequence[str], listed: str, *, loose_only: bool) -> str:
    schemas = rules.in_dump(listed, "SCHEMA", rules.names_of("SCHEMA", kept))
    extensions = rules.in_dump(listed, "EXTENSION", rules.names_of("EXTENSION", kept))
    return statements.wipe_statement(place.schema, schemas, extensions, loose_only=loose_only)


def end_other_runs(database: Database, name: str) -> None:
    """End the restore of an earlier run, which may be one of another node, and wait until it is undone."""
    where = address_of(database, name)
    with closing(open_side(database, name)) as connection:
        deadline = time.monotonic() + _LEFTOVER_TIMEOUT
        while ask(connection, where, statements.END_OTHER_RUN):
            if time.monotonic() > deadline:
                raise DomainError(
                    Problem(
                        rules.CHECK,
                        f"the restore of an earlier run does not end in {where}",
                        "Two restores at once would block each other",
                        "Restart that database server, and run the same command again",
                    )
                )
            time.sleep(_POLL_INTERVAL)
