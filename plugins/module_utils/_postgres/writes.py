# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether anything was written to a database between two moments, by what its server itself counts.

From PostgreSQL 15 on the counters are in the server's shared memory, and a session adds its own before it is gone from
pg_stat_activity. They count each row that was inserted, updated or deleted in a relation of the database, catalogs,
large objects and what was rolled back included, so that no schema moves without them. They are read over one session
that lasts from the first moment to the second: a server that crashes, restarts or is another one by then ends it, and
with the counters of a server that has crashed nothing could be said. What they do not count is read with them: where
sequences stand, prepared transactions, and what the server-wide catalogs say of the database and of the role. What
ANALYZE writes is taken off; so every session has to be gone, autovacuum's too, before the last reading.
Sources: PostgreSQL's manual (the cumulative statistics system) and its pgstat.c, pgstat_relation.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Reading = Mapping[str, "str | None"]

OLDEST_COUNTING = 150000
# pg_statistic and pg_statistic_ext_data, each with its TOAST table, whose names not every role may look up
_ANALYZED = "2619, 2840, 3429, 3430"
_COUNTED = "inserted", "updated", "deleted"

VERSION_QUERY = "SELECT current_setting('server_version_num') AS version"

# application_name and usename are shown to every role
OTHERS_QUERY = (
    "SELECT pid, usename, application_name FROM pg_catalog.pg_stat_activity "
    "WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() ORDER BY pid"
)


def _counter(name: str) -> str:
    analyzed = f"SELECT sum(pg_catalog.pg_stat_get_tuples_{name}(a)) FROM unnest(ARRAY[{_ANALYZED}]::oid[]) AS a"
    return f"(pg_catalog.pg_stat_get_db_tuples_{name}(d.oid) - ({analyzed}))::text AS {name}"


READING_QUERY = (
    f"SELECT {', '.join(map(_counter, _COUNTED))}, "
    "pg_catalog.pg_backend_pid()::text AS session, d.oid::text AS database, d.xmin::text AS definition, "
    "pg_catalog.pg_stat_get_db_stat_reset_time(d.oid)::text AS reset, "
    "pg_catalog.current_setting('track_counts') AS track_counts, "
    "pg_catalog.has_parameter_privilege('track_counts', 'SET')::text AS may_stop_counting, "
    "(SELECT count(*) FROM pg_catalog.pg_prepared_xacts AS p WHERE p.database = d.datname)::text AS prepared, "
    "(SELECT string_agg(concat(s.setdatabase, s.setrole, s.setconfig), ' ' ORDER BY s.setdatabase, s.setrole) "
    "FROM pg_catalog.pg_db_role_setting AS s JOIN pg_catalog.pg_roles AS r ON r.rolname = session_user "
    "WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, r.oid)) AS settings, "
    "(SELECT string_agg(concat_ws(' ', q.schemaname, q.sequencename, q.last_value), ', ' "
    "ORDER BY q.schemaname, q.sequencename) FROM pg_catalog.pg_sequences AS q) AS sequences "
    "FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()"
)


def doubt_old_server(version: int) -> str:
    """Return why a server does not tell what was written, "" where it does. version: of it, e.g. 150004."""
    if version >= OLDEST_COUNTING:
        return ""
    return f"PostgreSQL {version // 10000} may lose what it has counted; {OLDEST_COUNTING // 10000} and newer do not"


def doubt_others(others: Sequence[Reading]) -> str:
    """Return why these sessions, as OTHERS_QUERY has them, keep a reading from being the last one."""
    shown = ", ".join(
        f"{each['application_name'] or 'unnamed'} of {each['usename'] or 'the server'}" for each in others
    )
    return f"sessions that may write are left in a database: {shown}"


def doubt_reading(reading: Reading) -> str:
    """Return why a reading says nothing, "" where it does."""
    if reading["track_counts"] != "on" or reading["may_stop_counting"] != "false":
        return "what is written is not counted (track_counts), or the role may see to that"
    if reading["prepared"] != "0":
        return "prepared transactions are counted only when they end"
    return ""


def find_written(before: Reading, after: Reading) -> str:
    """Return what was, or may have been, written between two readings, "" where nothing was."""
    changed = [name for name, value in before.items() if after.get(name) != value]
    return ", ".join(
        f"{int(after[name] or 0) - int(before[name] or 0)} rows {name}" if name in _COUNTED else f"{name} changed"
        for name in changed
    )
