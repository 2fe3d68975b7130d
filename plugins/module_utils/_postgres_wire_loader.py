# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sockets under the PostgreSQL wire codec: log in, ask, leave. Standard library only, so it runs on a bare node."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import socket
import ssl
import time
from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

from ansible_collections.rspm.ha.plugins.module_utils import _postgres_login as facts
from ansible_collections.rspm.ha.plugins.module_utils import _postgres_wire as wire
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError, merged

Result = TypeVar("Result")

# libpq has no default of the machine's own, and python's does not exist everywhere
_ISSUERS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")


class ConnectFailed(Exception):
    """Raised when there is no session to be had. failure: a constant of _postgres_login; detail: the system's words."""

    def __init__(self, failure: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Connection:
    """One session. Every read ends at the deadline: timeout seconds after the connection or the query was begun."""

    def __init__(self, sock: socket.socket, tls: bool, timeout: float) -> None:
        self.sock = sock
        self.tls = tls
        self.timeout = timeout
        self.buffer = b""
        self.queue: list[wire.Message] = []

    def query(self, sql: str) -> wire.Rows:
        """Run one statement. Raises ServerRefused, ProtocolError and ConnectFailed."""
        return self.converse(wire.run_query(sql))

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self.sock.fileno()

    def close(self) -> None:
        """End the session politely if the socket still works."""
        with contextlib.suppress(OSError):
            self.sock.sendall(wire.terminate())
        self.sock.close()

    def converse(self, conversation: Generator[bytes, wire.Message, Result]) -> Result:
        """Carry bytes between a conversation of the codec and the server until the conversation ends."""
        deadline = time.monotonic() + self.timeout
        outgoing = next(conversation)
        while True:
            message = self._exchange(outgoing, deadline)
            try:
                outgoing = conversation.send(message)
            except StopIteration as end:
                result: Result = end.value
                return result

    def _exchange(self, outgoing: bytes, deadline: float) -> wire.Message:
        try:
            if outgoing:
                self.sock.sendall(outgoing)
            while not self.queue:
                self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
                chunk = self.sock.recv(65536)
                if not chunk:
                    raise ConnectFailed(facts.PROTOCOL, "the server closed the connection without a word")
                self.queue, self.buffer = wire.split_messages(self.buffer + chunk)
        except socket.timeout as error:
            raise ConnectFailed(facts.TIMED_OUT, f"no answer within {self.timeout:g} s") from error
        except OSError as error:
            raise ConnectFailed(facts.NETWORK, error.strerror or str(error)) from error
        return self.queue.pop(0)


def connect(
    host: str, port: int, credentials: wire.Credentials, sslmode: str, timeout: float, ca_file: str = ""
) -> Connection:
    """Open a session. timeout: seconds for the connection and again for the login. sslmode: as libpq defines it.

    ca_file: PEM file of trusted issuers for verify-ca and verify-full, empty for the system's own.
    Raises ServerRefused, ProtocolError and ConnectFailed.
    """
    sock, tls = _open(host, port, sslmode, timeout, ca_file)
    connection = Connection(sock, tls, timeout)
    try:
        connection.converse(wire.authenticate(credentials, secrets.token_urlsafe(24)))
    except BaseException:
        sock.close()
        raise
    return connection


def login(
    host: str,
    port: int,
    database: str,
    user: str,
    password: str,
    sslmode: str = "require",
    timeout: float = 5.0,
    schema: str = "",
    ca_file: str = "",
) -> facts.LoginResult:
    """Try a login, and ask for the version and the rights in the schema. What network and server do raises nothing."""
    result, connection = open_session(host, port, database, user, password, sslmode, timeout, schema, ca_file)
    if connection is not None:
        connection.close()
    return result


def open_session(
    host: str,
    port: int,
    database: str,
    user: str,
    password: str,
    sslmode: str = "require",
    timeout: float = 5.0,
    schema: str = "",
    ca_file: str = "",
) -> tuple[facts.LoginResult, Connection | None]:
    """Do what login does, and return the session still open where the login succeeded."""
    credentials = wire.Credentials(user=user, database=database, password=password)
    result = facts.LoginResult(
        host=host, port=port, database=database, user=user, sslmode=sslmode, schema=schema, tls=sslmode != "disable"
    )
    connection: Connection | None = None
    try:
        connection = connect(host, port, credentials, sslmode, timeout, ca_file)
        row = connection.query(facts.login_query(schema)).as_dicts()[0]
    except (wire.ServerRefused, wire.ProtocolError, ConnectFailed) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, ConnectFailed):
            return replace(result, failure=error.failure, detail=error.detail), None
        if isinstance(error, wire.ProtocolError):
            return replace(result, failure=facts.PROTOCOL, detail=str(error)), None
        other_way = error.error.sqlstate == "28000" and _admits(host, port, credentials, not result.tls, timeout)
        return replace(result, failure=facts.SERVER_ERROR, error=error.error, other_way=other_way), None
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
    host: str, port: int, database: str, user: str, password: str, sslmode: str, timeout: float = 5.0
) -> Connection:
    """Return a session. Raises DomainError with why there is none. timeout: seconds for each answer."""
    result, connection = open_session(host, port, database, user, password, sslmode, timeout)
    if connection is None:
        raise DomainError(merged(facts.judge_login(result)))
    return connection


def _admits(host: str, port: int, credentials: wire.Credentials, tls: bool, timeout: float) -> bool:
    """Tell whether the client rules let this host come as far as the password, which is not sent."""
    try:
        sock, _tls = _open(host, port, "require" if tls else "disable", timeout, "")
    except (ConnectFailed, wire.ProtocolError):
        return False
    try:
        first = Connection(sock, tls, timeout)._exchange(wire.startup(credentials), time.monotonic() + timeout)
    except (ConnectFailed, wire.ProtocolError):
        return False
    finally:
        sock.close()
    return first.kind == "R"


def _open(host: str, port: int, sslmode: str, timeout: float, ca_file: str) -> tuple[socket.socket, bool]:
    """Return a connected socket, and whether it is in TLS. Raises ConnectFailed."""
    sock = _tcp(host, port, timeout)
    if sslmode == "disable":
        return sock, False
    try:
        sock.sendall(wire.ssl_request())
        answer = sock.recv(1)
        if answer == b"S":
            return _context(sslmode, ca_file).wrap_socket(sock, server_hostname=host), True
        if answer != b"N":
            raise ConnectFailed(facts.PROTOCOL, "the answer to a request for TLS is not PostgreSQL's")
        if sslmode != "prefer":
            raise ConnectFailed(facts.TLS_NOT_OFFERED, "the server answered N")
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise ConnectFailed(facts.CERTIFICATE, error.verify_message) from error
    except socket.timeout as error:
        sock.close()
        raise ConnectFailed(facts.TIMED_OUT, f"no answer to a request for TLS within {timeout:g} s") from error
    except (ssl.SSLError, OSError) as error:
        sock.close()
        raise ConnectFailed(facts.TLS_FAILED, error.strerror or str(error)) from error
    except ConnectFailed:
        sock.close()
        raise
    return sock, False


def _tcp(host: str, port: int, timeout: float) -> socket.socket:
    """Return a TCP connection. Raises ConnectFailed."""
    try:
        return socket.create_connection((host, port), timeout)
    except socket.gaierror as error:
        raise ConnectFailed(facts.NAME_NOT_FOUND, error.strerror or str(error)) from error
    except socket.timeout as error:
        raise ConnectFailed(facts.TIMED_OUT, f"no connection within {timeout:g} s") from error
    except ConnectionRefusedError as error:
        raise ConnectFailed(facts.REFUSED, "connection refused") from error
    except OSError as error:
        raise ConnectFailed(facts.NETWORK, error.strerror or str(error)) from error


@functools.cache
def _context(sslmode: str, ca_file: str) -> ssl.SSLContext:
    """Return what each sslmode means to libpq: verify-ca checks the issuer, verify-full the name too."""
    checked = sslmode not in ("prefer", "require")
    # reading the system's issuers takes longer than the rest of a login
    context = ssl.create_default_context(cafile=ca_file or None) if checked else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Of all sslmodes only verify-full asks for the name.
    context.check_hostname = sslmode == "verify-full"
    if not checked:
        # An sslmode of these encrypts without asking who the server is; that is what it means.
        context.verify_mode = ssl.CERT_NONE
    return context


def load_issuers() -> str:
    """Return the file with the issuers that this host trusts, for libpq; "" where there is none."""
    return next((path for path in _ISSUERS if os.path.exists(path)), "")
