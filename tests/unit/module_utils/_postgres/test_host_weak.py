# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who gets the password and who does not, and the team's options, with a PostgreSQL server that the test starts."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres import host, rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import judge_login
from tests.unit.worlds.postgres_logins import PASSWORD, Server, login, needs_postgres
from tests.unit.worlds.postgres_server import free_port

pytestmark = needs_postgres


# libpq of the machine is of that version as well, and the older way is taken with a newer one too.
@pytest.fixture(params=["own", "15"])
def libpq(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    if request.param == "15":
        monkeypatch.setattr(host, "libpq_version", lambda: 150018)
    return host.libpq_version()


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
def test_a_scram_password_is_accepted(server: Server, sslmode: str, libpq: int) -> None:
    result = server.login("main", sslmode=sslmode)
    assert result.ok, (result, libpq)
    assert result.tls is (sslmode != "disable")
    assert result.server_version_num >= 130000
    assert result.server_encoding


@pytest.mark.usefixtures("libpq")
@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
@pytest.mark.parametrize("user", ["clear", "old"])
def test_clear_text_and_md5_are_refused_unless_the_team_lets_them(server: Server, user: str, sslmode: str) -> None:
    assert server.checks("main", user, sslmode=sslmode) == ["database-weak-password"]
    assert server.checks("main", user, sslmode=sslmode, options={"channel_binding": "prefer"}) == [
        "database-weak-password"
    ]
    assert server.login("main", user, sslmode=sslmode, options={"require_auth": "scram-sha-256,md5,password"}).ok


@pytest.mark.usefixtures("libpq")
@pytest.mark.parametrize("user", ["clear", "old"])
def test_clear_text_and_md5_go_to_a_server_that_was_verified(server: Server, user: str) -> None:
    issuer = {"sslrootcert": str(server.folder / "data" / "server.crt")}
    assert server.login("main", user, sslmode="verify-ca", options=issuer).ok


class Between:
    """What ends a login in between: it is asked for the password, and keeps all that it gets."""

    def __init__(self, *requests: bytes) -> None:
        self.requests = list(requests)
        self.got = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        for request in self.requests:
            client, _address = self.socket.accept()
            with client:
                client.recv(1024)
                client.sendall(b"R" + struct.pack("!i", len(request) + 4) + request)
                client.settimeout(5)
                self.got += client.recv(1024)


@pytest.mark.usefixtures("libpq")
@pytest.mark.parametrize("request_", [struct.pack("!i", 3), struct.pack("!i", 5) + b"salt"])
def test_no_byte_of_the_password_leaves(request_: bytes) -> None:
    between = Between(request_)
    result = login("127.0.0.1", between.port, "main", "pm", "canary", "disable", timeout=5)
    assert result.failure == rules.WEAK and between.got == b""


def test_who_is_let_in_without_a_password(server: Server, libpq: int) -> None:
    server.sql("CREATE ROLE trusted LOGIN")
    try:
        asked = server.login("main", "trusted")
        if libpq < 160000:
            assert [each.check for each in judge_login(asked)] == ["database-channel-binding"]
        else:
            assert asked.ok
        assert server.login("main", "trusted", options={"channel_binding": "prefer"}).ok
    finally:
        server.sql("DROP ROLE trusted")


@pytest.mark.parametrize(
    "options", [{"channel_binding": "sometimes"}, {"port": "x"}, {"nonsense": "1"}, {"ssl_min_protocol_version": "9"}]
)
def test_options_that_libpq_does_not_take(server: Server, options: dict[str, str]) -> None:
    assert server.checks("main", options=options) == ["database-options"]


@pytest.mark.usefixtures("libpq")
def test_several_servers_are_tried_in_their_order(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead, mute = free_port(), silent.getsockname()[1]
        options = {"host": "127.0.0.1,127.0.0.1,127.0.0.1", "port": f"{dead},{mute},{server.port}"}
        assert login("db.invalid", 1, "main", "pm", PASSWORD, "disable", timeout=1, options=options).ok
        options["port"] = f"{dead},{mute},{dead}"
        refused = login("db.invalid", 1, "main", "pm", PASSWORD, "disable", timeout=0.3, options=options)
    assert judge_login(refused)[0].found.startswith("Nothing listens at 127.0.0.1,127.0.0.1,127.0.0.1:")
    # the first one's word is final
    options["port"] = f"{server.port},{dead},{dead}"
    assert login("db.invalid", 1, "main", "pm", "bad", "disable", options=options).failure == rules.SERVER_ERROR


def test_only_a_server_that_may_be_written_to(server: Server) -> None:
    assert server.login("main", options={"target_session_attrs": "read-write"}).ok
    assert server.checks("main", options={"target_session_attrs": "standby"}) == ["database-unreachable"]
