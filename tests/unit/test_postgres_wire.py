# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wire codec against published test vectors and against everything that can be cut off or made up."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils import _postgres_wire as wire

# RFC 7677, section 3: user "user", password "pencil".
RFC_NONCE = "rOprNGfwEbeRWgbNEkqO"
RFC_FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
RFC_FINAL = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
RFC_SERVER_FINAL = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

CREDENTIALS = wire.Credentials(user="rstudio_pm", database="main", password="correct horse")


def message(kind: str, body: bytes) -> wire.Message:
    return wire.Message(kind, body)


def authentication(code: int, rest: bytes = b"") -> wire.Message:
    return message("R", struct.pack("!i", code) + rest)


def test_scram_answers_as_in_rfc_7677() -> None:
    proof = wire.scram_proof("pencil", wire.scram_first(RFC_NONCE, "user"), RFC_FIRST)
    assert proof.message == RFC_FINAL
    wire.scram_verify(proof, RFC_SERVER_FINAL)


@pytest.mark.parametrize("final", ["v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=AAAA", "e=other-error", "v=%"])
def test_a_server_that_does_not_know_the_password_is_refused(final: str) -> None:
    proof = wire.scram_proof("pencil", wire.scram_first(RFC_NONCE, "user"), RFC_FIRST)
    with pytest.raises(wire.ProtocolError):
        wire.scram_verify(proof, final)


@pytest.mark.parametrize(
    "challenge",
    [
        "r=somebodyelse,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        f"r={RFC_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        f"r={RFC_NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
        f"r={RFC_NONCE}x,s=???,i=4096",
        f"r={RFC_NONCE}x,i=4096",
        "",
    ],
)
def test_a_challenge_that_does_not_fit_is_refused(challenge: str) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.scram_proof("pencil", wire.scram_first(RFC_NONCE), challenge)


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        # Forbidden by the RFC: PostgreSQL then takes the password as it is.
        ("\u0007", "\u0007"),
        ("\u06271", "\u06271"),
        ("", ""),
        ("\u00ad", "\u00ad"),
    ],
)
def test_saslprep_is_as_in_rfc_4013(password: str, prepared: str) -> None:
    assert wire.saslprep(password) == prepared


def test_the_md5_answer_is_as_documented() -> None:
    # concat('md5', md5(concat(md5(concat(password, username)), random-salt)))
    assert wire.md5_password("user", "password", b"\x01\x02\x03\x04") == "md5a3576f1ae039b8996bc4fc2720f9c71a"


def test_a_whole_scram_login_also_where_plus_is_offered() -> None:
    talk = wire.authenticate(wire.Credentials("user", "db", "pencil"), RFC_NONCE)
    assert next(talk).endswith(b"client_encoding\0UTF8\0\0")
    first = talk.send(authentication(wire.AUTH_SASL, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
    assert first.startswith(b"p") and b"SCRAM-SHA-256\0" in first and first.endswith(b"n,,n=,r=" + RFC_NONCE.encode())
    final = talk.send(authentication(wire.AUTH_SASL_CONTINUE, RFC_FIRST.encode()))
    assert final[5:].startswith(b"c=biws,r=" + RFC_NONCE.encode())
    expected = wire.scram_proof("pencil", wire.scram_first(RFC_NONCE), RFC_FIRST)
    signature = b"v=" + base64.b64encode(expected.server_signature)
    assert talk.send(authentication(wire.AUTH_SASL_FINAL, signature)) == b""
    assert talk.send(authentication(wire.AUTH_OK)) == b""
    assert talk.send(message("S", b"server_version\x0015\0")) == b""
    with pytest.raises(StopIteration):
        talk.send(message("Z", b"I"))


def test_a_server_that_skips_its_own_proof_is_refused() -> None:
    talk = wire.authenticate(CREDENTIALS, RFC_NONCE)
    next(talk)
    talk.send(authentication(wire.AUTH_SASL, b"SCRAM-SHA-256\0\0"))
    with pytest.raises(wire.ProtocolError, match="skipped its part"):
        talk.send(authentication(wire.AUTH_OK))


@pytest.mark.parametrize(
    "answer",
    [authentication(wire.AUTH_SASL, b"SCRAM-SHA-512\0\0"), authentication(7), message("T", b""), message("R", b"\0")],
)
def test_what_is_not_known_is_refused(answer: wire.Message) -> None:
    talk = wire.authenticate(CREDENTIALS, RFC_NONCE)
    next(talk)
    with pytest.raises(wire.ProtocolError):
        talk.send(answer)


def test_the_servers_error_is_kept_without_its_language() -> None:
    talk = wire.authenticate(CREDENTIALS, RFC_NONCE)
    next(talk)
    body = b"SFATAL\0VFATAL\0C28000\0Mkein pg_hba.conf-Eintrag\0Fauth.c\0RClientAuthentication\0\0"
    with pytest.raises(wire.ServerRefused) as refused:
        talk.send(message("E", body))
    assert refused.value.error == wire.ServerError("28000", "kein pg_hba.conf-Eintrag", "ClientAuthentication")


def test_no_repr_and_no_error_shows_the_password() -> None:
    proof = wire.scram_proof("pencil", wire.scram_first(RFC_NONCE), RFC_FIRST)
    assert "correct horse" not in repr(CREDENTIALS)
    assert "signature" not in repr(proof)
    with pytest.raises(wire.ProtocolError) as error:
        talk = wire.authenticate(wire.Credentials("u", "d", "canary\0x"), RFC_NONCE)
        next(talk)
        talk.send(authentication(wire.AUTH_CLEARTEXT))
    assert "canary" not in str(error.value)


def test_a_query_returns_rows_and_an_error_only_when_the_session_is_ready() -> None:
    talk = wire.run_query("SELECT 1")
    assert next(talk) == b"Q\x00\x00\x00\x0dSELECT 1\0"
    columns = struct.pack("!h", 2) + b"a\0" + b"\0" * 18 + b"b\0" + b"\0" * 18
    row = struct.pack("!hi", 2, 1) + b"1" + struct.pack("!i", -1)
    for part in (message("T", columns), message("D", row), message("C", b"SELECT 1\0")):
        assert talk.send(part) == b""
    with pytest.raises(StopIteration) as end:
        talk.send(message("Z", b"I"))
    assert end.value.value.as_dicts() == [{"a": "1", "b": None}]

    talk = wire.run_query("SELECT nothing")
    next(talk)
    talk.send(message("E", b"C42703\0Mno such column\0\0"))
    with pytest.raises(wire.ServerRefused, match="42703"):
        talk.send(message("Z", b"I"))


@pytest.mark.parametrize("body", [b"", b"\0\x02\0\0\0\x01a", b"\0\x01\0\0\0\x09a"])
def test_a_row_that_is_cut_off_is_refused(body: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.parse_row(body)


def test_a_column_list_that_is_cut_off_is_refused() -> None:
    with pytest.raises(wire.ProtocolError):
        wire.parse_columns(b"\0\x01abc")


@given(st.lists(st.tuples(st.sampled_from("RSKZTDCEN"), st.binary(max_size=40)), max_size=8), st.integers(0, 400))
def test_messages_are_the_same_however_the_network_cuts_them(parts: list[tuple[str, bytes]], cut: int) -> None:
    stream = b"".join(wire.frame(kind.encode(), body) for kind, body in parts)
    first, rest = wire.split_messages(stream[:cut])
    second, left = wire.split_messages(rest + stream[cut:])
    assert [(item.kind, item.body) for item in first + second] == parts
    assert left == b""


@given(st.binary(max_size=200))
def test_any_answer_is_taken_or_refused_but_never_trips(answer: bytes) -> None:
    talk = wire.authenticate(CREDENTIALS, RFC_NONCE)
    next(talk)
    try:
        for item in wire.split_messages(answer)[0]:
            talk.send(item)
    except (wire.ProtocolError, wire.ServerRefused, StopIteration):
        pass


def test_a_web_server_is_not_taken_for_postgresql() -> None:
    with pytest.raises(wire.ProtocolError):
        wire.split_messages(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_literal_holds_quotes_and_backslashes() -> None:
    assert wire.literal("a'b\\c") == "E'a''b\\\\c'"
