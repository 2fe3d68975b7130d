# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Masking and stopping the node, and looking for what is left of it. What counts, _stop decides."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._node_loader import load_processes
from ansible_collections.rspm.ha.plugins.module_utils._postgres_login import SSLMODES, judge_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres_sessions import (
    Session,
    judge_sessions,
    parse_sessions,
    sessions_query,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres_wire import ProtocolError, Rows, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._postgres_wire_loader import (
    ConnectFailed,
    Connection,
    open_session,
)
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._runner_loader import Runner
from ansible_collections.rspm.ha.plugins.module_utils._server_config import Database, merged
from ansible_collections.rspm.ha.plugins.module_utils._server_unit import UNIT
from ansible_collections.rspm.ha.plugins.module_utils._service_loader import block, load_document, load_unit
from ansible_collections.rspm.ha.plugins.module_utils._stop import (
    ADDRESS_QUERY,
    Remains,
    database_unreachable,
    judge_stopped,
    listen_addresses,
    parse_listeners,
    plan_stop,
    sessions_of,
    terminate_query,
)

_LOGIN_TIMEOUT = 10.0
_POLL_INTERVAL = 0.05
# systemctl stop waits for the unit's own processes; others may need a moment more
_LINGER_SECONDS = 10.0
# a session ends with its process; one that is there longer was left by a power cut or a dead connection
_GRACE_SECONDS = 5.0

DATABASE_SPEC: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5432},
    "databases": {"type": "list", "elements": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "sslmode": {"type": "str", "choices": list(SSLMODES), "default": "require"},
    "timeout": {"type": "float", "default": 30},
}


@dataclass
class Timeline:
    """When each step began, in UTC, and how many seconds it took; also of the step that failed."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note one step."""
        at, begun = datetime.now(timezone.utc), time.monotonic()
        try:
            yield
        finally:
            moment = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self.steps.append({"step": name, "at": moment, "seconds": round(time.monotonic() - begun, 3)})


@dataclass(frozen=True)
class SessionWatch:
    """An open session that tells who else is connected. timeout: seconds to wait for the last one to end."""

    connection: Connection
    where: str
    databases: tuple[str, ...]
    user: str
    timeout: float

    def ask(self, statement: str) -> Rows:
        """Run a statement; raises DomainError where there is no answer."""
        try:
            return self.connection.query(statement)
        except (ServerRefused, ProtocolError, ConnectFailed) as error:
            raise DomainError(database_unreachable(self.where, str(error))) from error

    def own_address(self) -> str:
        """Return this node's address as the server sees it."""
        return self.ask(ADDRESS_QUERY).as_dicts()[0]["address"] or ""

    def wait(self, timeout: float, *, of: str = "", not_of: str = "") -> tuple[Session, ...]:
        """Return the role's sessions as soon as there are none, or after timeout seconds. of, not_of: addresses."""
        deadline = time.monotonic() + timeout
        while True:
            everyone = parse_sessions(self.ask(sessions_query(self.databases)))
            left = sessions_of(everyone, self.user, of=of, not_of=not_of)
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(_POLL_INTERVAL)

    def prove_own_gone(self) -> int:
        """Wait for this node's sessions to end, end those that a dead process left, and return how many those were.

        Only for a node that is proved stopped. Raises DomainError while one is left.
        """
        address = self.own_address()
        stale = self.wait(min(_GRACE_SECONDS, self.timeout), of=address)
        if stale:
            self.ask(terminate_query(stale))
            _raise(judge_sessions(self.wait(self.timeout, of=address), self.where))
        return len(stale)

    def prove_others_gone(self) -> None:
        """Raise DomainError while any other node has a session."""
        _raise(judge_sessions(self.wait(self.timeout, not_of=self.own_address()), self.where))

    def close(self) -> None:
        """End the session."""
        self.connection.close()


def open_watch(database: Mapping[str, Any]) -> SessionWatch:
    """Log in as the server does. database: as DATABASE_SPEC has it. Raises DomainError."""
    names = tuple(dict.fromkeys(database["databases"]))
    result, connection = open_session(
        database["host"],
        database["port"],
        names[0],
        database["user"],
        database["password"],
        database["sslmode"],
        _LOGIN_TIMEOUT,
    )
    if connection is None:
        raise DomainError(merged(judge_login(result)))
    where = f"{database['host']}:{database['port']}"
    return SessionWatch(connection, where, names, database["user"], database["timeout"])


def load_left_sessions(database: Database, timeout: float) -> list[Problem]:
    """Return the problem of the role's sessions that have not ended in its databases after timeout seconds."""
    watched = {
        "host": database.host,
        "port": database.port,
        "databases": [database.name, database.usage_name],
        "user": database.user,
        "password": database.password,
        "sslmode": database.sslmode,
        "timeout": timeout,
    }
    with closing(open_watch(watched)) as watch:
        return judge_sessions(watch.wait(timeout), watch.where)


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise DomainError(merged(problems))


def load_remains(runner: Runner, control_group: str = "") -> Remains:
    """Return what is left of the server on this node. control_group: of the unit while it ran, "" for the present."""
    unit = load_unit(runner)
    sockets = runner(["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"], check=True, timeout=30)
    listeners = parse_listeners(sockets.stdout, listen_addresses(load_document()))
    return Remains(unit, load_processes(unit.control_group or control_group), listeners)


def stop_and_prove(
    runner: Runner, timeline: Timeline, host: str, before: Remains, purpose: str, timeout: float
) -> Remains:
    """Mask the node, stop it, and prove it: no process, no listening port; returns what is left, which is nothing.

    timeout: seconds for systemd's stop. Raises DomainError while anything is left.
    """
    plan = plan_stop(before, purpose)
    said = ""
    if plan.block:
        with timeline.step("mask"):
            block(runner, purpose)
    if plan.stop:
        with timeline.step("stop"):
            done = runner(["systemctl", "stop", UNIT], timeout=timeout)
            slow = f"nothing within {timeout:g} s" if done.rc == 124 else done.stderr.strip()
            said = "" if done.rc == 0 else slow
    with timeline.step("prove"):
        deadline = time.monotonic() + (_LINGER_SECONDS if plan.stop else 0)
        while True:
            remains = load_remains(runner, before.unit.control_group)
            if not remains.alive or time.monotonic() >= deadline:
                break
            time.sleep(_POLL_INTERVAL)
        _raise(judge_stopped(host, remains, said))
    return remains
