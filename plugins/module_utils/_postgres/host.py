# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions with PostgreSQL by psycopg2 of the distribution: log in, ask, leave, each within a time."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import locale
import os
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres import login as facts
from ansible_collections.rspm.ha.plugins.module_utils._postgres import rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import (
    ConnectFailed,
    Credentials,
    Rows,
    ServerError,
    ServerRefused,
)

try:
    import psycopg2
    from psycopg2 import extensions

    HAS_DRIVER = True
except ImportError:
    HAS_DRIVER = False

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database

_ISSUERS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
# The distribution's own, for which it has the package
_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python", "/usr/bin/python3.11", "/usr/bin/python3.9")
# PQERRORS_VERBOSE of libpq-fe.h
_VERBOSE = 2


def has_driver() -> bool:
    """Tell whether psycopg2 is there."""
    return HAS_DRIVER


def find_driver() -> bool:
    """Tell whether psycopg2 is there; where another Python of this host has it, the module goes on in that one."""
    if HAS_DRIVER:
        return True
    found = None if has_respawned() else probe_interpreters_for_module(_PYTHONS, "psycopg2")
    if found:
        respawn_module(found)
    return False


def require_driver(module: AnsibleModule) -> None:
    """Have psycopg2, in another Python of this host if need be, before anything is done; or end the module."""
    if not find_driver():
        problem = facts.no_driver()
        module.fail_json(msg=str(problem), problem=problem.to_dict(), problems=[problem.to_dict()])


def libpq_version() -> int:
    """Return the version number of libpq, 150018 for 15.18."""
    return int(extensions.libpq_version())


class Connection:
    """One session. timeout: seconds that each statement may take."""

    def __init__(self, session: Any, timeout: float) -> None:
        self.session = session
        self.timeout = timeout

    @property
    def tls(self) -> bool:
        """Tell whether the session is in TLS."""
        return bool(self.session.info.ssl_in_use)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return int(self.session.fileno())

    def query(self, sql: str) -> Rows:
        """Run one statement. Raises ServerRefused and ConnectFailed."""
        try:
            with contextlib.closing(self.session.cursor()) as cursor:
                extensions.register_type(_text(), cursor)
                cursor.execute(sql)
                _wait(self.session, time.monotonic() + self.timeout, self.timeout)
                if cursor.description is None:
                    return Rows((), ())
                return Rows(tuple(column.name for column in cursor.description), tuple(cursor.fetchall()))
        except UnicodeDecodeError as error:
            raise ServerRefused(ServerError("22021", "the answer is not in UTF-8")) from error
        except psycopg2.Error as error:
            if error.pgcode:
                diag = error.diag
                said = ServerError(error.pgcode, diag.message_primary or "", diag.source_function or "")
                raise ServerRefused(said) from error
            raise ConnectFailed(rules.NETWORK, str(error).strip()) from error

    def close(self) -> None:
        """End the session."""
        self.session.close()


@functools.lru_cache(maxsize=1)
def _text() -> Any:
    """Return the type by which every value is given as the server writes it."""
    numbers = tuple(number for number in extensions.string_types if isinstance(number, int))
    return extensions.new_type(numbers, "TEXT", lambda value, _cursor: value)


@functools.lru_cache(maxsize=1)
def _set_verbosity() -> Any:
    """Return libpq's function of that name, of the very libpq that psycopg2 uses."""
    function = ctypes.PyDLL(psycopg2._psycopg.__file__).PQsetErrorVerbosity
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    # Its words are told apart, and would be in the language of the user
    locale.setlocale(locale.LC_MESSAGES, "C")
    return function


def _wait(session: Any, deadline: float, timeout: float) -> None:
    """Wait for the end of what was begun. Raises ConnectFailed after the deadline; timeout: what is told of it."""
    while True:
        state = session.poll()
        if state == extensions.POLL_OK:
            return
        waiting = select.poll()
        waiting.register(session.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
            session.close()
            raise ConnectFailed(rules.TIMED_OUT, f"no answer within {timeout:g} s")


def _login(parameters: Mapping[str, str], timeout: float) -> Connection:
    """Log in as the parameters say. Raises ServerRefused and ConnectFailed."""
    set_verbosity = _set_verbosity()
    deadline = time.monotonic() + timeout
    session = None
    try:
        session = psycopg2.connect(async_=True, **parameters)  # type: ignore[call-overload]
        # The cause is in the SQLSTATE, which psycopg2 does not tell of a login
        set_verbosity(session.pgconn_ptr, _VERBOSE)
        _wait(session, deadline, timeout)
    except psycopg2.Error as error:
        if session is not None:
            session.close()
        raise rules.read_failure(str(error)) from error
    return Connection(session, timeout)


def _guarded(parameters: Mapping[str, str], options: Mapping[str, str], timeout: float) -> Connection:
    """Log in so that the password goes to nobody who must not have it."""
    guard = rules.protection(parameters["sslmode"], options, libpq_version())
    try:
        return _login({**parameters, **guard}, timeout)
    except ConnectFailed as error:
        change = rules.next_try(error, options) if guard.get("channel_binding") else None
        if change is None:
            raise
    return _login({**parameters, **change}, timeout)


def connect(
    host: str,
    port: int,
    credentials: Credentials,
    sslmode: str,
    timeout: float,
    options: Mapping[str, str] | None = None,
) -> Connection:
    """Open a session. timeout: seconds for each server's login. options: as rspm_database_options has them.

    Raises ServerRefused and ConnectFailed.
    """
    given = {name: str(value) for name, value in (options or {}).items()}
    known = rules.known_options(sslmode, given, load_issuers(), libpq_version())
    parameters = rules.parameters(credentials, sslmode, known)
    servers = rules.endpoints(host, port, given)
    for server in servers[:-1]:
        with contextlib.suppress(ConnectFailed):
            try:
                return _guarded({**parameters, **server}, given, timeout)
            except ServerRefused as error:
                # Only one that takes no logins now is none, as libpq has it
                if error.error.sqlstate != "57P03":
                    raise
    return _guarded({**parameters, **servers[-1]}, given, timeout)


def open_session(
    host: str,
    port: int,
    database: str,
    user: str,
    password: str,
    sslmode: str = "require",
    timeout: float = 5.0,
    schema: str = "",
    options: Mapping[str, str] | None = None,
) -> tuple[facts.LoginResult, Connection | None]:
    """Try a login, and ask for the version and the rights in the schema; the session is open where it succeeded.

    What network and server do raises nothing.
    """
    credentials = Credentials(user=user, database=database, password=password)
    given = options or {}
    result = facts.LoginResult(
        host=str(given.get("host", host)),
        port=given.get("port", port),
        database=database,
        user=user,
        sslmode=sslmode,
        schema=schema,
        tls=sslmode != "disable",
    )
    connection: Connection | None = None
    try:
        connection = connect(host, port, credentials, sslmode, timeout, options)
        row = connection.query(facts.login_query(schema)).as_dicts()[0]
    except (ServerRefused, ConnectFailed) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, ConnectFailed):
            return replace(result, failure=error.failure, detail=error.detail), None
        other_way = error.error.sqlstate == "28000" and _admits(
            host, port, credentials, "disable" if result.tls else "require", timeout, options
        )
        return replace(result, failure=rules.SERVER_ERROR, error=error.error, other_way=other_way), None
    result = replace(
        result,
        tls=connection.tls,
        server_version_num=int(row["version"] or 0),
        server_encoding=row["encoding"] or "",
        schema=row["schema"] or schema,
        schema_exists=row["schema"] is not None,
        can_create=row["can_create"] == "t",
    )
    return result, connection


def require_session(
    host: str,
    port: int,
    database: str,
    user: str,
    password: str,
    sslmode: str,
    timeout: float = 5.0,
    options: Mapping[str, str] | None = None,
) -> Connection:
    """Return a session. Raises DomainError with why there is none. timeout: seconds for each answer."""
    result, connection = open_session(host, port, database, user, password, sslmode, timeout, options=options)
    if connection is None:
        raise DomainError(*facts.judge_login(result))
    return connection


def try_port(host: str, port: int, options: Mapping[str, str], timeout: float) -> tuple[str, str]:
    """Return why no login can be tried, with the system's words: NO_DRIVER where the port answers."""
    found = (rules.NO_DRIVER, "")
    for server in rules.endpoints(host, port, options):
        try:
            address = (server.get("hostaddr", server["host"]), int(server["port"]))
            socket.create_connection(address, timeout).close()
            return rules.NO_DRIVER, ""
        except socket.gaierror as error:
            found = rules.NAME_NOT_FOUND, error.strerror or str(error)
        except socket.timeout:
            found = rules.TIMED_OUT, f"no connection within {timeout:g} s"
        except ConnectionRefusedError:
            found = rules.REFUSED, ""
        except OSError as error:
            found = rules.NETWORK, error.strerror or str(error)
    return found


def _admits(
    host: str,
    port: int,
    credentials: Credentials,
    sslmode: str,
    timeout: float,
    options: Mapping[str, str] | None,
) -> bool:
    """Tell whether the client rules let this host come as far as the password, which is not sent."""
    try:
        connect(host, port, replace(credentials, password=""), sslmode, timeout, options).close()
    except ConnectFailed as error:
        return error.failure in (rules.NO_PASSWORD, rules.WEAK, rules.UNBOUND)
    except ServerRefused as error:
        return error.error.sqlstate != "28000"
    return True


def load_issuers() -> str:
    """Return the file with the issuers that this host trusts, for libpq; "" where there is none."""
    return next((path for path in _ISSUERS if os.path.exists(path)), "")


def load_tool_options(database: Database) -> dict[str, str]:
    """Return libpq's options with which PostgreSQL's tools of this host log in to a server of the databases."""
    known = rules.known_options(database.sslmode, database.options, load_issuers(), libpq_version())
    if "require_auth" in database.options:
        # Their libpq may be another one, and an older one overlooks it
        known["require_auth"] = database.options["require_auth"]
    return rules.tool_options(database.host, database.port, database.sslmode, known, libpq_version())
