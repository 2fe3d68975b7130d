# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""rspm check-config: six checks, one line or more each, without starting the server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from . import database, facts, licence, schema, secret
from .gcfg import ConfigError, parse
from .settings import Settings

Finding = tuple[str, str, str]  # PASS, FAIL or INFO; the check; what was found


def _paths(config: Settings) -> Iterator[Finding]:
    data = config.data_dir
    if data.is_dir():
        usable = os.access(data, os.R_OK | os.W_OK | os.X_OK)
        yield ("PASS" if usable else "FAIL", "paths", f"Server.DataDir {data} is {'' if usable else 'not '}writable")
    else:
        usable = os.access(data.parent, os.W_OK | os.X_OK)
        yield ("INFO" if usable else "FAIL", "paths", f"Server.DataDir {data} does not exist")
    if config.key_path.exists():
        try:
            secret.read_key(config.key_path)
            yield ("PASS", "paths", f"the encryption key {config.key_path} is usable")
        except ConfigError as error:
            yield ("FAIL", "paths", str(error))
    else:
        yield ("INFO", "paths", f"the encryption key {config.key_path} will be made at the first start")
    for name in ("HTTPS.Certificate", "HTTPS.Key"):
        path = config.text(name)
        if path and not os.access(path, os.R_OK):
            yield ("FAIL", "paths", f"{name} {path} can't be read")


def _listeners(config: Settings) -> Iterator[Finding]:
    try:
        listeners = config.listeners()
    except ConfigError as error:
        yield ("FAIL", "listeners", str(error))
        return
    for found in listeners:
        if found is None:
            continue
        host, port = found
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
            yield ("PASS", "listeners", f"{host}:{port} is free")
        except PermissionError:
            yield ("INFO", "listeners", f"{host}:{port} needs a privilege that this user does not have")
        except OSError as error:
            yield ("INFO", "listeners", f"{host}:{port}: {os.strerror(error.errno or 0)} (the service may be running)")


def _one_database(name: str, session: database.Session, table: str) -> Finding:
    found = schema.current(session, table)
    session.close()
    if found is not None and found > facts.SCHEMA:
        return ("FAIL", "database", f"{name}: schema {found} is newer than this version's {facts.SCHEMA}")
    what = "is empty" if found is None else f"has schema {found}"
    return ("PASS", "database", f"{name}: reached, {what}; this version needs {facts.SCHEMA}")


def _database(config: Settings) -> Iterator[Finding]:
    try:
        if config.provider == "sqlite":
            yield ("PASS", "database", f"SQLite in {config.sqlite_dir}")
            return
        yield _one_database("main database", database.main_session(config), "schema_version")
        usage = database.usage_session(config)
        if usage is None:
            yield ("INFO", "database", "usage database: none configured")
            return
        yield _one_database("usage database", usage, "usage_schema_version")
    except (ConfigError, database.DatabaseError) as error:
        yield ("FAIL", "database", str(error))


def _licence(config: Settings) -> Finding:
    found, how = licence.status(config.text("Licensing.LicenseType"))
    if found:
        return ("PASS", "licence", how)
    return ("FAIL" if licence.demanded() else "INFO", "licence", how)


def findings(text: str) -> Iterator[Finding]:
    """Yield what each check finds in a configuration."""
    try:
        config = Settings(parse(text))
    except ConfigError as error:
        yield ("FAIL", "syntax", str(error))
        return
    faults = config.faults()
    yield from (("FAIL", "syntax", fault) for fault in faults)
    if not faults:
        yield ("PASS", "syntax", "the file can be read")
    unknown = config.unknown()
    yield from (("FAIL", "unknown keys", fault) for fault in unknown)
    if not unknown:
        yield ("PASS", "unknown keys", "none")
    if faults:
        return
    yield from _paths(config)
    yield from _listeners(config)
    yield from _database(config)
    yield _licence(config)


def run(text: str, path: Path) -> int:
    """Print what the checks find and return the exit code."""
    print(f"checking {path}")
    found = list(findings(text))
    for result, check, detail in found:
        print(f"{result}  {check}: {detail}")
    return 1 if any(result == "FAIL" for result, _check, _detail in found) else 0
