# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's protocol 3.0 as far as a login and a simple query need it: bytes in, bytes out, no socket.

A bare node has neither psql nor a driver, and the login has to be tried from the node itself: only there do the network
path, the server's client rules and the node's trust store all count.

Sources: PostgreSQL documentation, "Frontend/Backend Protocol"; RFC 5802 and RFC 7677 (SCRAM); RFC 4013 (SASLprep).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stringprep
import struct
import unicodedata
from collections.abc import Generator
from dataclasses import dataclass, field

PROTOCOL_VERSION = 3 << 16
SSL_REQUEST_CODE = 80877103
MAX_MESSAGE = 64 * 1024 * 1024

AUTH_OK = 0
AUTH_CLEARTEXT = 3
AUTH_MD5 = 5
AUTH_SASL = 10
AUTH_SASL_CONTINUE = 11
AUTH_SASL_FINAL = 12
SCRAM = "SCRAM-SHA-256"

# By this application_name the sessions of the collection itself are known.
APPLICATION = "rspm.ha"


@dataclass(frozen=True)
class Message:
    """One message from the server: its type byte as a letter, and its body without the length."""

    kind: str
    body: bytes


@dataclass(frozen=True)
class ServerError:
    """An ErrorResponse. sqlstate and routine do not depend on the server's language; message does."""

    sqlstate: str
    message: str
    routine: str = ""


@dataclass(frozen=True)
class Rows:
    """The result of a simple query: column names, and text values (None for NULL)."""

    columns: tuple[str, ...]
    values: tuple[tuple[str | None, ...], ...]

    def as_dicts(self) -> list[dict[str, str | None]]:
        """Return one mapping a row, column name to value."""
        return [dict(zip(self.columns, row)) for row in self.values]


@dataclass(frozen=True)
class Credentials:
    """Who logs in to which database. The password is left out of repr, so that no traceback shows it."""

    user: str
    database: str
    password: str = field(repr=False)
    application: str = APPLICATION


class ServerRefused(Exception):
    """Raised when the server answers with an error."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(f"{error.sqlstate}: {error.message}")
        self.error = error


class ProtocolError(Exception):
    """Raised when what answers does not speak the protocol, or cannot prove that it knows the password."""


def frame(kind: bytes, body: bytes) -> bytes:
    """Return a message of the front end: type byte (empty for the first messages), length, body."""
    return kind + struct.pack("!i", len(body) + 4) + body


def ssl_request() -> bytes:
    """Return the request that asks the server to go on in TLS; it answers with the single byte S or N."""
    return frame(b"", struct.pack("!i", SSL_REQUEST_CODE))


def startup(credentials: Credentials) -> bytes:
    """Return the first message of a session."""
    settings = {
        "user": credentials.user,
        "database": credentials.database,
        "application_name": credentials.application,
        "client_encoding": "UTF8",
    }
    pairs = b"".join(_text(key) + _text(value) for key, value in settings.items())
    return frame(b"", struct.pack("!i", PROTOCOL_VERSION) + pairs + b"\0")


def query_message(sql: str) -> bytes:
    """Return a simple query."""
    return frame(b"Q", _text(sql))


def terminate() -> bytes:
    """Return the message that ends a session."""
    return frame(b"X", b"")


def literal(value: str) -> str:
    """Return a string as an SQL literal that is right whatever standard_conforming_strings says."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def split_messages(buffer: bytes) -> tuple[list[Message], bytes]:
    """Return the whole messages at the front of the buffer, and the rest. Raises ProtocolError on an absurd length."""
    messages: list[Message] = []
    position = 0
    while len(buffer) - position >= 5:
        length = struct.unpack_from("!i", buffer, position + 1)[0]
        if not 4 <= length <= MAX_MESSAGE:
            raise ProtocolError("the answer is not PostgreSQL's protocol")
        end = position + 1 + length
        if len(buffer) < end:
            break
        messages.append(Message(buffer[position : position + 1].decode("latin-1"), buffer[position + 5 : end]))
        position = end
    return messages, buffer[position:]


def parse_error(body: bytes) -> ServerError:
    """Return the parts of an ErrorResponse that tell its cause."""
    fields: dict[str, str] = {}
    for part in body.split(b"\0"):
        if part:
            fields[part[:1].decode("latin-1")] = part[1:].decode("utf-8", "replace")
    return ServerError(fields.get("C", ""), fields.get("M", ""), fields.get("R", ""))


def parse_columns(body: bytes) -> tuple[str, ...]:
    """Return the column names of a RowDescription."""
    names: list[str] = []
    position = 2
    for _column in range(_unpack("!h", body, 0)):
        end = body.find(b"\0", position)
        if end < 0:
            raise ProtocolError("a row description ends too early")
        names.append(body[position:end].decode("utf-8", "replace"))
        position = end + 1 + 18
    return tuple(names)


def parse_row(body: bytes) -> tuple[str | None, ...]:
    """Return the values of a DataRow as text."""
    values: list[str | None] = []
    position = 2
    for _column in range(_unpack("!h", body, 0)):
        length = _unpack("!i", body, position)
        position += 4
        if length < 0:
            values.append(None)
            continue
        if position + length > len(body):
            raise ProtocolError("a row ends too early")
        values.append(body[position : position + length].decode("utf-8", "replace"))
        position += length
    return tuple(values)


def md5_password(user: str, password: str, salt: bytes) -> str:
    """Return the answer to an MD5 challenge; older servers still keep such passwords."""
    inner = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()


def saslprep(password: str) -> str:
    """Return the password as RFC 4013 prepares it, or unchanged where that forbids it, as PostgreSQL does."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared:
        return password
    forbidden = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(check(char) for char in prepared for check in forbidden):
        return password
    if any(stringprep.in_table_d1(char) for char in prepared):
        ends_right = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if not ends_right or any(stringprep.in_table_d2(char) for char in prepared):
            return password
    return prepared


@dataclass(frozen=True)
class ScramProof:
    """The client's last message, and the signature with which the server has to answer."""

    message: str
    server_signature: bytes = field(repr=False)


def scram_first(nonce: str, user: str = "") -> str:
    """Return the client's first message without the header. PostgreSQL takes the user from the startup message."""
    return f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"


def scram_proof(password: str, client_first: str, server_first: str) -> ScramProof:
    """Answer the server's challenge without channel binding. Raises ProtocolError on a malformed challenge."""
    parts = dict(item.split("=", 1) for item in server_first.split(",") if "=" in item)
    nonce = client_first.rsplit("r=", 1)[1]
    try:
        server_nonce, salt, rounds = parts["r"], base64.b64decode(parts["s"], validate=True), int(parts["i"])
    except (KeyError, ValueError) as error:
        raise ProtocolError("the server's SCRAM challenge is malformed") from error
    if not server_nonce.startswith(nonce) or server_nonce == nonce or rounds < 1:
        raise ProtocolError("the server's SCRAM challenge does not belong to this login")
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, rounds)
    client_key = _hmac(salted, b"Client Key")
    final = f"c=biws,r={server_nonce}"
    signed = f"{client_first},{server_first},{final}".encode()
    signature = _hmac(hashlib.sha256(client_key).digest(), signed)
    proof = bytes(left ^ right for left, right in zip(client_key, signature))
    return ScramProof(f"{final},p={base64.b64encode(proof).decode()}", _hmac(_hmac(salted, b"Server Key"), signed))


def scram_verify(proof: ScramProof, server_final: str) -> None:
    """Raise ProtocolError unless the server has shown that it knows the password too."""
    try:
        signature = base64.b64decode(server_final.split("v=", 1)[1].split(",", 1)[0], validate=True)
    except (IndexError, binascii.Error) as error:
        raise ProtocolError("the server's last SCRAM message is malformed") from error
    if not hmac.compare_digest(signature, proof.server_signature):
        raise ProtocolError("the server does not know the password, so it is not the database that it says it is")


Conversation = Generator[bytes, Message, None]


def authenticate(credentials: Credentials, nonce: str) -> Conversation:
    """Log in: yields the bytes to send (none: only read on) and takes the server's messages, until ReadyForQuery.

    nonce: printable ASCII without commas, fresh for each login. Raises ServerRefused and ProtocolError.
    """
    message = yield startup(credentials)
    proof: ScramProof | None = None
    proved = True
    first = scram_first(nonce)
    while message.kind != "Z":
        answer = b""
        if message.kind == "E":
            raise ServerRefused(parse_error(message.body))
        if message.kind == "R":
            code, rest = _unpack("!i", message.body, 0), message.body[4:]
            if code == AUTH_CLEARTEXT:
                answer = frame(b"p", _text(credentials.password))
            elif code == AUTH_MD5:
                answer = frame(b"p", _text(md5_password(credentials.user, credentials.password, rest)))
            elif code == AUTH_SASL:
                if SCRAM.encode() not in rest.split(b"\0"):
                    raise ProtocolError("the server offers no SASL mechanism that is known here")
                # "n": no channel binding wanted, also where SCRAM-SHA-256-PLUS is offered.
                body = f"n,,{first}".encode()
                answer = frame(b"p", _text(SCRAM) + struct.pack("!i", len(body)) + body)
                proved = False
            elif code == AUTH_SASL_CONTINUE:
                proof = scram_proof(credentials.password, first, rest.decode("utf-8", "replace"))
                answer = frame(b"p", proof.message.encode())
            elif code == AUTH_SASL_FINAL and proof is not None:
                scram_verify(proof, rest.decode("utf-8", "replace"))
                proved = True
            elif code == AUTH_OK and not proved:
                raise ProtocolError("the server skipped its part of the SCRAM login")
            elif code != AUTH_OK:
                raise ProtocolError(f"the server asks for authentication method {code}, which is not known here")
        elif message.kind not in "SKN":
            raise ProtocolError("the answer is not PostgreSQL's protocol")
        message = yield answer


def run_query(sql: str) -> Generator[bytes, Message, Rows]:
    """Run one statement in the same way, and return its rows. Raises ServerRefused after the session is ready again."""
    columns: tuple[str, ...] = ()
    values: list[tuple[str | None, ...]] = []
    error: ServerError | None = None
    message = yield query_message(sql)
    while message.kind != "Z":
        if message.kind == "T":
            columns = parse_columns(message.body)
        elif message.kind == "D":
            values.append(parse_row(message.body))
        elif message.kind == "E":
            error = parse_error(message.body)
        message = yield b""
    if error is not None:
        raise ServerRefused(error)
    return Rows(columns, tuple(values))


def _text(value: str) -> bytes:
    """Return a zero-terminated string. A zero inside would end it early, so it is refused."""
    if "\0" in value:
        raise ProtocolError("a name or a password holds a zero byte, which PostgreSQL can't take")
    return value.encode() + b"\0"


def _unpack(form: str, body: bytes, position: int) -> int:
    """Return one integer of a message body."""
    try:
        return int(struct.unpack_from(form, body, position)[0])
    except struct.error as error:
        raise ProtocolError("a message of the server ends too early") from error


def _hmac(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256."""
    return hmac.new(key, message, hashlib.sha256).digest()
