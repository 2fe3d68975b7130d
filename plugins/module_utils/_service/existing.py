# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that the machine ran before it became a node: its databases, data and key must not be forgotten.

Sources: the vendor's configuration appendix (defaults of DataDir, SQLite.Dir, Provider) and its page on migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import Document, last
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

DEFAULT_DATA_DIR = "/var/lib/rstudio-pm"
_WHY = "As a node it would start on other databases and data, and nobody would find its packages and settings again"


@dataclass(frozen=True)
class ServerData:
    """Where a configuration says that the server's data is. database: host, port and name, or "sqlite"."""

    database: str
    data_dir: str
    sqlite_dir: str
    key_path: str


@dataclass(frozen=True)
class ExistingServer:
    """What there is of a server. ours: this collection has configured it.

    sqlite_files: names in its folder of SQLite databases. key: of its own, None where it never made one.
    """

    data: ServerData
    ours: bool
    running: bool
    sqlite_files: tuple[str, ...] = ()
    key: str | None = None


def server_data(document: Document) -> ServerData:
    """Return where a configuration keeps things, with the vendor's defaults."""
    data_dir = last(document, "Server", "DataDir", DEFAULT_DATA_DIR).rstrip("/")
    database = "sqlite"
    if last(document, "Database", "Provider", "sqlite").lower() == "postgres":
        url = urlsplit(last(document, "Postgres", "URL"))
        try:
            port = url.port or 5432
        except ValueError:
            port = 5432
        database = f"{url.hostname or ''}:{port}{url.path}"
    return ServerData(
        database,
        data_dir,
        last(document, "SQLite", "Dir", f"{data_dir}/db"),
        last(document, "Server", "EncryptionKeyPath", f"{data_dir}/rstudio-pm.key"),
    )


def judge_existing(found: ExistingServer, wanted: ServerData, wanted_key: str) -> list[Problem]:
    """Return a Problem where a server that was used would lose what it has.

    wanted: where a node of the cluster keeps things. wanted_key: rspm_encryption_key, "" where a node makes one.
    """
    sqlite = found.data.database == "sqlite"
    # One that was installed and never started has nothing to lose.
    used = found.running or bool(found.sqlite_files) or found.key is not None
    differs = []
    if used and sqlite and wanted.database != "sqlite":
        differs.append(f"its databases are SQLite in {found.data.sqlite_dir}, the cluster's are PostgreSQL")
    # What the collection has configured may be moved by its variables.
    if used and not found.ours:
        if not sqlite and found.data.database != wanted.database:
            differs.append(f"its database is {found.data.database}, the cluster's is {wanted.database}")
        if found.data.data_dir != wanted.data_dir:
            differs.append(f"its data is in {found.data.data_dir}, the cluster's in {wanted.data_dir}")
        if found.key is not None and wanted_key and found.key.strip() != wanted_key.strip():
            differs.append(f"its encryption key in {found.data.key_path} is not rspm_encryption_key")
    if not differs:
        return []
    return [
        Problem(
            "single-server",
            f"This machine {'runs' if found.running else 'has'} a server of its own: {'; '.join(differs)}",
            _WHY,
            "Either move that into the cluster first (stop the server, copy SQLite into PostgreSQL with the vendor's "
            f"/opt/rstudio-pm/bin/migrate, the data with its key to {wanted.data_dir}, and name both in its "
            "rstudio-pm.gcfg), or put another machine into rspm_nodes",
        )
    ]


def copy_name(path: str, ours: bool, has_original: bool) -> str:
    """Return where a configuration is kept that is about to be replaced: two copies at most.

    What stood there before the collection came is kept for good, and the last one that was replaced.
    """
    return f"{path}.original" if not ours and not has_original else f"{path}.previous"
