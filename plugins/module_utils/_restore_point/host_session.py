# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction in psql. This process alone decides how it ends.

COMMIT is sent when everything before it has succeeded. Where anything of it dies before, psql reads the end of its
input or the server the end of the session, and the transaction is undone.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import end_group, start
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host_scan import address_of, ask, open_side
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import Tools
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import restore_rules as rules
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import statements
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.restore_rules import Place

# a server that lost its power must not be waited for
_KEEPALIVE = "keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000"
# seconds by which the server gives up before this host does
EARLIER = 30.0


@dataclass(frozen=True)
class Access:
    """How PostgreSQL's tools log in. environment: without a secret; limit: seconds for each of them.

    version: of the server, e.g. 150004.
    """

    tools: Tools
    database: Database
    environment: Mapping[str, str]
    limit: float
    version: int

    def argv(self, tool: str, name: str, words: Sequence[str]) -> list[str]:
        """Return a tool's command line for one database, run as the service's account."""
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        return as_account([f"{self.tools.folder}/{tool}", f"--dbname=dbname='{quoted}' {_KEEPALIVE}", *words])


@contextmanager
def started(argv: list[str], limit: float, env: Mapping[str, str]) -> Iterator[Process]:
    """Start a command that is over when this ends, and no later than its limit if this process is killed."""
    process = start(["timeout", "--kill-after=5", f"{limit:g}", *argv], env=env, stdin=subprocess.PIPE)
    running = Process(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            end_group(process, 0)
        running.close()


@dataclass
class Process:
    """A running command; what it says on its standard error is read by a thread."""

    process: subprocess.Popen[bytes]
    said: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.stream("stderr"):
            self.said.append(line)

    def stream(self, name: str) -> IO[bytes]:
        found: IO[bytes] = getattr(self.process, name)
        return found

    def wait(self) -> tuple[int, str]:
        """Wait for the end, and return the exit status and what was said."""
        rc = self.process.wait()
        self.reader.join(5)
        return rc, b"".join(self.said).decode("utf-8", "replace")

    def close(self) -> None:
        for name in ("stdin", "stdout", "stderr"):
            # nobody reads what is left in the buffer of a broken pipe
            with suppress(OSError):
                self.stream(name).close()


class Transaction:
    """One transaction of psql's. fail: makes a problem of what psql said."""

    def __init__(self, psql: Process, fail: Callable[[str], DomainError]) -> None:
        self.psql = psql
        self.fail = fail

    def send(self, data: bytes) -> None:
        """Pass text on to the server. Raises DomainError where psql has ended, as it does at the first error."""
        try:
            self.psql.stream("stdin").write(data)
            self.psql.stream("stdin").flush()
        except OSError:
            raise self.broken() from None

    def do(self, *statements: str) -> None:
        """Send statements whose rows nobody needs."""
        for statement in statements:
            self.send(f"{statement};\n".encode())

    def ask(self, queries: Mapping[str, str]) -> dict[str, list[dict[str, str | None]]]:
        """Return the rows of queries by name; until then everything before has succeeded."""
        found: dict[str, list[dict[str, str | None]]] = {name: [] for name in queries}
        end = secrets.token_hex(8)
        self.send(b"\\o\n")
        self.do(*(statements.tagged(name, query) for name, query in queries.items()), f"SELECT '{end}'")
        self.send(b"\\o /dev/null\n")
        while True:
            line = self.psql.stream("stdout").readline()
            if not line:
                raise self.broken()
            text = line.decode("utf-8", "replace").rstrip("\n")
            if text == end:
                return found
            name, _space, row = text.partition(" ")
            if name in found:
                found[name].append(json.loads(row))

    def commit(self) -> None:
        """End it well. Raises DomainError where the server did not say that it has."""
        self.do("COMMIT")
        self.ask({})
        self.leave()

    def leave(self) -> None:
        """End the session; what was not committed is undone."""
        with suppress(OSError):
            self.psql.stream("stdin").close()
        rc, said = self.psql.wait()
        if rc != 0:
            raise self.fail(said)

    def broken(self) -> DomainError:
        """Return why psql ended."""
        with suppress(OSError):
            self.psql.stream("stdin").close()
        _rc, said = self.psql.wait()
        return self.fail(said)


def _holders(database: Database, name: str) -> list[str]:
    """Return who has tables in use, for a person."""
    try:
        with closing(open_side(database, name)) as connection:
            rows = ask(connection, address_of(database, name), statements.HOLDERS_QUERY)
    except DomainError:
        # the first problem is the one to tell
        return []
    return [f"{row['application'] or 'a session'} of {row['role']} (pid {row['pid']})" for row in rows]


@contextmanager
def transaction(
    access: Access, name: str, place: Place, lock_ms: int, limit: float, rehearsal: bool
) -> Iterator[Transaction]:
    """Give a transaction that stops at the first error, with nobody else restoring this database."""

    def fail(said: str) -> DomainError:
        holders = _holders(access.database, name) if rules.state_of(said) == rules.LOCKED else []
        return DomainError(rules.not_restored(place, said, holders, rehearsal=rehearsal))

    words = ["-X", "-q", "-A", "-t", "-b", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "--file=-"]
    with started(access.argv("psql", name, words), limit + EARLIER, access.environment) as psql:
        given = Transaction(psql, fail)
        given.send(b"\\o /dev/null\n")
        given.do(statements.settings_statement(limit, lock_ms), "BEGIN", statements.TAKE_LOCK)
        yield given
