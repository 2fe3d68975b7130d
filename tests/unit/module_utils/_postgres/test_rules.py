# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What libpq is told, and how its words are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._postgres import rules

LOCATION = "\nLOCATION:  auth_failed, auth.c:334\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            'FATAL:  28P01: password authentication failed for user "pm"' + LOCATION,
            rules.ServerError("28P01", 'password authentication failed for user "pm"', "auth_failed"),
        ),
        # libpq says before where it was, and the server's language is its own
        (
            'connection to server at "db1" (10.0.0.1), port 1 failed: ВАЖНО:  28P01: пользователь не прошёл' + LOCATION,
            rules.ServerError("28P01", "пользователь не прошёл", "auth_failed"),
        ),
        # sslmode prefer tries both ways
        (
            "FATAL:  28000: no entry, SSL encryption\nLOCATION:  ClientAuthentication, auth.c:1\n"
            "FATAL:  3D000: no database\nLOCATION:  InitPostgres, postinit.c:2\n",
            rules.ServerError("3D000", "no database", "InitPostgres"),
        ),
        # a pooler names no place
        ("FATAL:  08P01: no such user\n", rules.ServerError("08P01", "no such user", "")),
    ],
)
def test_the_servers_answer_is_known_in_any_language(text: str, error: rules.ServerError) -> None:
    found = rules.read_failure(text)
    assert isinstance(found, rules.ServerRefused) and found.error == error


@pytest.mark.parametrize(
    ("text", "failure", "detail"),
    [
        (
            'could not translate host name "db1" to address: Name or service not known\n',
            rules.NAME_NOT_FOUND,
            "Name or service not known",
        ),
        (
            'connection to server at "db1" (10.0.0.1), port 5432 failed: Connection refused\n'
            "\tIs the server running on that host and accepting TCP/IP connections?\n",
            rules.REFUSED,
            "Connection refused",
        ),
        ("No route to host\n\tIs the server running\n", rules.NETWORK, "No route to host"),
        ("Connection timed out\n", rules.TIMED_OUT, "Connection timed out"),
        (
            "server does not support SSL, but SSL was required\n",
            rules.TLS_NOT_OFFERED,
            "server does not support SSL, but SSL was required",
        ),
        ("SSL error: certificate verify failed\n", rules.CERTIFICATE, "SSL error: certificate verify failed"),
        ("SSL error: no protocols available\n", rules.TLS_FAILED, "SSL error: no protocols available"),
        (
            'could not load private key file "/x": bad\n',
            rules.TLS_FAILED,
            'could not load private key file "/x": bad',
        ),
        ('invalid dsn: invalid connection option "x"\n', rules.OPTIONS, 'invalid connection option "x"'),
        ("SSL SYSCALL error: EOF detected\n", rules.PROTOCOL, "SSL SYSCALL error: EOF detected"),
        ("something new\n", rules.PROTOCOL, "something new"),
    ],
)
def test_what_libpq_says_itself(text: str, failure: str, detail: str) -> None:
    found = rules.read_failure(text)
    assert isinstance(found, rules.ConnectFailed) and (found.failure, found.detail) == (failure, detail)


METHODS = st.sampled_from(["password", "md5", "scram-sha-256", "gss", "none"])
REQUIRED = st.one_of(st.none(), st.lists(METHODS, min_size=1), st.lists(METHODS.map("!{}".format), min_size=1))


@given(st.sampled_from(rules.SSLMODES), REQUIRED, st.sampled_from(["", "prefer", "require"]), st.booleans())
def test_a_weak_login_needs_a_verified_server_or_the_teams_word(
    sslmode: str, methods: list[str] | None, binding: str, new: bool
) -> None:
    options = {"require_auth": ",".join(methods)} if methods is not None else {}
    if binding:
        options["channel_binding"] = binding
    libpq = 170000 if new else 150018
    names = set(methods or ["!password", "!md5"])
    negative = any(name.startswith("!") for name in names)
    allowed = any(f"!{weak}" not in names if negative else weak in names for weak in ("password", "md5"))
    guard = rules.protection(sslmode, options, libpq)
    if allowed or sslmode in rules.VERIFIED:
        assert guard == {}
    elif new:
        assert not rules.lets_weak(guard)
    else:
        assert guard == {"channel_binding": "require"}
    # an older libpq ends with an error at a name that it does not know
    known = rules.known_options(sslmode, options, "/issuers", libpq)
    assert new or "require_auth" not in known
    assert ("sslrootcert" in known) == (sslmode in rules.VERIFIED)
    for_tools = rules.tool_options("db1", 1, sslmode, known, libpq)
    assert for_tools.get("channel_binding", "") in (binding, "require")
    assert set(rules.environment_of(for_tools)) <= set(rules.ENVIRONMENT.values())


@pytest.mark.parametrize(
    ("detail", "binding", "change"),
    [
        ("channel binding required, but SSL not in use", "", {"channel_binding": "prefer"}),
        ("channel binding required, but SSL not in use", "disable", {"channel_binding": "disable"}),
        ("channel binding required, but SSL not in use", "require", None),
        ("channel binding is required, but server did not offer it", "", None),
        ("channel binding is required, but server did not offer it", "prefer", {"channel_binding": "prefer"}),
        ("channel binding required, but server authenticated client without channel binding", "", None),
        (
            "channel binding required, but server authenticated client without channel binding",
            "prefer",
            {"channel_binding": "prefer", "password": ""},
        ),
        ("channel binding required but not supported by server's authentication request", "prefer", None),
    ],
)
def test_a_second_login_only_where_the_first_has_shown_that_it_may_be(
    detail: str, binding: str, change: dict[str, str] | None
) -> None:
    said = rules.read_failure(detail)
    assert isinstance(said, rules.ConnectFailed)
    assert rules.next_try(said, {"channel_binding": binding} if binding else {}) == change


def test_each_server_has_its_host_and_its_port() -> None:
    assert rules.endpoints("db1", 5432, {}) == [{"host": "db1", "port": "5432"}]
    assert rules.endpoints("db1", 5432, {"host": "a,b"}) == [
        {"host": "a", "port": "5432"},
        {"host": "b", "port": "5432"},
    ]
    assert rules.endpoints("db1", 5432, {"hostaddr": "10.0.0.1,10.0.0.2", "port": "1,2"}) == [
        {"host": "db1", "port": "1", "hostaddr": "10.0.0.1"},
        {"host": "db1", "port": "2", "hostaddr": "10.0.0.2"},
    ]


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(rules.ConnectFailed, match="zero byte"):
        rules.parameters(rules.Credentials("a\0b", "c", "p"), "require", {})


def test_the_teams_options_never_change_who_logs_in() -> None:
    found = rules.parameters(rules.Credentials("u", "d", "p"), "require", {"gssencmode": "disable"})
    assert (found["user"], found["dbname"], found["sslmode"]) == ("u", "d", "require")
    assert found["gssencmode"] == "disable"
    assert "canary" not in repr(rules.Credentials("u", "d", "canary"))


@given(st.text())
def test_a_literal_ends_where_it_should(text: str) -> None:
    inner = rules.literal(text)[2:-1].replace("\\\\", "").replace("''", "")
    assert "'" not in inner and "\\" not in inner
