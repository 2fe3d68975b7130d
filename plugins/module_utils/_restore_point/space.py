# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a dump may need at most.

Source: PostgreSQL's manual, "Database Object Size Functions"; a dump holds no index, and is compressed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import literal


@dataclass(frozen=True)
class Space:
    """What the shared storage has, and what one dump of the databases needs at most with the package, in bytes.

    says: why it isn't known.
    """

    path: str = ""
    free: int = 0
    dump: int = 0
    says: str = ""


def size_query(schema: str) -> str:
    """Return the statement for the bytes of what is dumped. schema: "" = all of them, with the large objects."""
    scope = f"n.nspname = {literal(schema)}" if schema else "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    large = "" if schema else " + pg_catalog.pg_table_size('pg_catalog.pg_largeobject')"
    return (
        f"SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(c.oid)), 0){large} AS bytes "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'm') AND {scope}"
    )
