# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The login probe against a PostgreSQL server that the test starts: every cause, as a real server tells it."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres import rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import (
    connect,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import judge_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import (
    Session,
    parse_sessions,
    sessions_query,
)
from ansible_collections.rspm.ha.plugins.modules import database_sessions
from tests.unit.worlds.module_run import run_module
from tests.unit.worlds.postgres_logins import PASSWORD, Server, login, needs_postgres
from tests.unit.worlds.postgres_server import free_port

pytestmark = needs_postgres


def test_the_owner_of_the_database_has_no_problem(server: Server) -> None:
    assert server.checks("main") == []


@pytest.mark.parametrize("user", ["pm", "clear", "old", "ghost"])
def test_a_wrong_password_and_an_unknown_role_look_alike(server: Server, user: str) -> None:
    weak = {"require_auth": "scram-sha-256,md5,password"}
    assert server.checks("main", user, "wrong", options=weak) == ["database-password"]


def test_a_role_that_is_not_there_and_needs_no_password(server: Server) -> None:
    assert server.checks("main", "trusted", sslmode="disable") == ["database-role"]


def test_a_missing_database(server: Server) -> None:
    assert server.checks("missing") == ["database-missing"]


def test_no_right_to_connect(server: Server) -> None:
    assert server.checks("closed") == ["database-rights"]


def test_no_right_to_create_tables(server: Server) -> None:
    assert server.checks("main", schema="pg_catalog") == ["database-rights"]
    assert server.checks("main", schema="it's") == ["database-schema"]


def test_no_client_rule(server: Server) -> None:
    result = server.login("postgres")
    assert judge_login(result)[0].check == "database-client-rule"
    assert server.checks("nobody") == ["database-client-rule"]


def test_tls_demanded_and_tls_unwanted(server: Server) -> None:
    assert server.checks("only_tls") == []
    assert server.checks("only_tls", sslmode="disable") == ["database-tls"]
    assert server.checks("only_plain", sslmode="disable") == []
    assert server.checks("only_plain") == ["database-tls"]


def test_certificates_are_verified_where_that_is_asked_for(server: Server) -> None:
    issuer = {"sslrootcert": str(server.folder / "data" / "server.crt")}
    assert server.checks(sslmode="verify-ca") == ["database-tls"]
    assert server.checks(sslmode="verify-ca", options={"sslrootcert": "/absent.pem"}) == ["database-tls"]
    assert server.checks(sslmode="verify-ca", options=issuer) == []
    assert server.checks(sslmode="verify-full", options=issuer) == ["database-tls"]
    full = login("localhost", server.port, "main", "pm", PASSWORD, "verify-full", 10, options=issuer)
    assert judge_login(full) == []


def test_no_problem_shows_the_password(server: Server) -> None:
    for result in (server.login("main", "ghost"), server.login("missing"), server.login("nobody")):
        assert "canary" not in repr(result)
        assert all("canary" not in str(problem) for problem in judge_login(result))


def test_nothing_listens() -> None:
    result = login("127.0.0.1", free_port(), "main", "pm", PASSWORD, timeout=2)
    assert judge_login(result)[0].found.endswith("(connection refused)")


def test_a_name_that_is_not_there() -> None:
    result = login("db.invalid", 5432, "main", "pm", PASSWORD, timeout=5)
    assert judge_login(result)[0].found.startswith("The name db.invalid can't be resolved")


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_what_accepts_but_never_answers_is_given_up(sslmode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = login("127.0.0.1", silent.getsockname()[1], "main", "pm", PASSWORD, sslmode, timeout=0.3)
    assert "does not answer" in judge_login(result)[0].found


@pytest.mark.parametrize("sslmode", ["disable", "require"])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_what_is_not_postgresql_is_named_so(answer: bytes, sslmode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve() -> None:
            client, _address = other.accept()
            client.recv(1024)
            client.sendall(answer)
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        result = login("127.0.0.1", other.getsockname()[1], "main", "pm", PASSWORD, sslmode, timeout=5)
        thread.join()
    assert "is not a PostgreSQL server" in judge_login(result)[0].found


def test_a_server_without_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve() -> None:
            client, _address = other.accept()
            client.recv(1024)
            client.sendall(b"N")
            client.recv(1024)
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        result = login("127.0.0.1", other.getsockname()[1], "main", "pm", PASSWORD, "require", timeout=5)
        thread.join()
    assert "offers no TLS" in judge_login(result)[0].found


def test_sessions_are_seen_with_who_and_since_when(server: Server) -> None:
    credentials = rules.Credentials("pm", "main", PASSWORD, application="node1")
    other = connect("127.0.0.1", server.port, credentials, "require", 10)
    probe = connect("127.0.0.1", server.port, rules.Credentials("pm", "main", PASSWORD), "require", 10)
    try:
        rows = probe.query(sessions_query(["main", "usage"]))
        sessions = parse_sessions(rows)
        assert [
            (session.application, session.client_address, session.user, session.database, session.state)
            for session in sessions
        ] == [("node1", "127.0.0.1", "pm", "main", "idle")]
        assert sessions[0].since.endswith("Z") and sessions[0].pid > 0
    finally:
        other.close()
        probe.close()
    assert isinstance(sessions[0], Session)


def listed_sessions(server: Server, **more: object) -> dict[str, Any]:
    """Run database_sessions and return its result."""
    arguments = {"host": "127.0.0.1", "port": server.port, "databases": ["main", "usage"], "user": "pm", **more}
    result = run_module(database_sessions, {"password": PASSWORD, **arguments})
    assert "canary" not in json.dumps(result)
    return result


def test_the_module_lists_sessions(server: Server) -> None:
    nobody = listed_sessions(server)
    assert nobody["count"] == 0 and nobody["own_address"] == "127.0.0.1"
    other = connect("127.0.0.1", server.port, rules.Credentials("pm", "main", PASSWORD, "node1"), "require", 10)
    try:
        listed = listed_sessions(server, _ansible_check_mode=True)
        assert listed["count"] == 1 and listed["sessions"][0]["application"] == "node1"
    finally:
        other.close()


@pytest.mark.parametrize("user", ["clear", "watcher"])
def test_the_module_lists_no_session_of_another_role(server: Server, user: str) -> None:
    exporter = rules.Credentials(user, "main", PASSWORD, "exporter")
    weak = {"require_auth": "scram-sha-256,password"}
    monitoring = connect("127.0.0.1", server.port, exporter, "require", 10, weak)
    node = connect("127.0.0.1", server.port, rules.Credentials("pm", "usage", PASSWORD, "node1"), "require", 10)
    try:
        assert [found["application"] for found in listed_sessions(server)["sessions"]] == ["node1"]
        node.close()
        deadline = time.monotonic() + 10
        while listed_sessions(server)["count"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert listed_sessions(server)["count"] == 0
        assert monitoring.query("SELECT 1").values
    finally:
        monitoring.close()
        node.close()


def test_the_module_tells_why_it_can_not_ask(server: Server) -> None:
    assert listed_sessions(server, password="wrong")["problems"][0]["check"] == "database-password"
    assert listed_sessions(server, databases=["missing"])["problems"][0]["check"] == "database-missing"
    assert "databases is empty" in listed_sessions(server, databases=[])["msg"]


def test_a_failed_statement_leaves_the_session_usable(server: Server) -> None:
    probe = connect("127.0.0.1", server.port, rules.Credentials("pm", "main", PASSWORD), "require", 10)
    try:
        with pytest.raises(rules.ServerRefused, match="42P01"):
            probe.query("SELECT * FROM nowhere")
        assert probe.query("SELECT 1 AS one, NULL AS none, repeat('x', 100000) AS long").as_dicts() == [
            {"one": "1", "none": None, "long": "x" * 100000}
        ]
    finally:
        probe.close()


def test_a_statement_that_takes_too_long_is_given_up(server: Server) -> None:
    probe = connect("127.0.0.1", server.port, rules.Credentials("pm", "main", PASSWORD), "require", 10)
    probe.timeout = 0.2
    with pytest.raises(ConnectFailed, match="no answer within"):
        probe.query("SELECT pg_sleep(30)")
    probe.close()
