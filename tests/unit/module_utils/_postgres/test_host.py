# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The login probe against a PostgreSQL server that the test starts: every cause, as a real server tells it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.rspm.ha.plugins.module_utils._postgres import rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import (
    ConnectFailed,
    connect,
    login,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import LoginResult, judge_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import (
    Session,
    parse_sessions,
    sessions_query,
)
from ansible_collections.rspm.ha.plugins.modules import database_sessions

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = pytest.mark.skipif(not BINARIES, reason="needs a PostgreSQL server: apt-get install postgresql")

PASSWORD = "canary \u00aa 'quoted' \\ p%ss"

HBA = """\
local all all trust
hostssl only_tls all 127.0.0.1/32 scram-sha-256
hostnossl only_plain all 127.0.0.1/32 scram-sha-256
host nobody all 127.0.0.1/32 reject
host all trusted 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all old 127.0.0.1/32 md5
host main,usage,closed,missing pm,ghost,watcher 127.0.0.1/32 scram-sha-256
"""

SETUP = """\
SET password_encryption = 'scram-sha-256';
CREATE ROLE pm LOGIN PASSWORD {password};
CREATE ROLE clear LOGIN PASSWORD {password};
CREATE ROLE watcher LOGIN PASSWORD {password} IN ROLE pg_monitor;
SET password_encryption = 'md5';
CREATE ROLE old LOGIN PASSWORD {password};
CREATE DATABASE main OWNER pm;
CREATE DATABASE usage OWNER postgres;
REVOKE ALL ON SCHEMA public FROM public;
CREATE DATABASE closed OWNER postgres;
REVOKE CONNECT ON DATABASE closed FROM public;
CREATE DATABASE only_tls OWNER pm;
CREATE DATABASE only_plain OWNER pm;
"""


@dataclass(frozen=True)
class Server:
    """A running cluster: its port on the loopback address, and the folder of its files."""

    port: int
    folder: Path

    def login(self, database: str = "main", user: str = "pm", password: str = PASSWORD, **more: Any) -> LoginResult:
        more.setdefault("sslmode", "require")
        return login("127.0.0.1", self.port, database, user, password, timeout=10, **more)

    def sql(self, text: str) -> None:
        """Run statements as the superuser."""
        as_postgres("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(self.port), text=text)

    def checks(self, *names: str, **more: Any) -> list[str]:
        return [problem.check for problem in judge_login(self.login(*names, **more))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_postgres(*argv: str, text: str | None = None) -> None:
    """Run a command of the server's, which refuses to run as root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*prefix, *argv], input=text, text=True, check=True, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="rspm-postgres-"))
    data, binaries, port = folder / "data", BINARIES[-1].parent, free_port()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        as_postgres(str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync")
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        request += ["-addext", "subjectAltName=DNS:localhost"]
        as_postgres(*request, "-keyout", str(data / "server.key"), "-out", str(data / "server.crt"))
        settings = f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{folder}'\nssl = on\n"
        as_postgres("tee", "-a", str(data / "postgresql.conf"), text=settings + "fsync = off\n")
        as_postgres("tee", str(data / "pg_hba.conf"), text=HBA)
        log = str(folder / "log")
        as_postgres(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", log, "start")
        try:
            setup = SETUP.format(password=rules.literal(PASSWORD))
            as_postgres("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(folder), "-p", str(port), text=setup)
            yield Server(port, folder)
        finally:
            as_postgres(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


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


def run_module(server: Server, **more: object) -> dict[str, Any]:
    """Run database_sessions and return its result."""
    arguments = {"host": "127.0.0.1", "port": server.port, "databases": ["main", "usage"], "user": "pm", **more}
    results: list[str] = []
    with patch_module_args({"password": PASSWORD, **arguments}), pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda text, *_rest, **_more: results.append(text))
        with pytest.raises(SystemExit):
            database_sessions.main()
    assert "canary" not in results[-1]
    result: dict[str, Any] = json.loads(results[-1])
    return result


def test_the_module_lists_sessions(server: Server) -> None:
    nobody = run_module(server)
    assert nobody["count"] == 0 and nobody["own_address"] == "127.0.0.1"
    other = connect("127.0.0.1", server.port, rules.Credentials("pm", "main", PASSWORD, "node1"), "require", 10)
    try:
        listed = run_module(server, _ansible_check_mode=True)
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
        assert [found["application"] for found in run_module(server)["sessions"]] == ["node1"]
        node.close()
        deadline = time.monotonic() + 10
        while run_module(server)["count"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert run_module(server)["count"] == 0
        assert monitoring.query("SELECT 1").values
    finally:
        monitoring.close()
        node.close()


def test_the_module_tells_why_it_can_not_ask(server: Server) -> None:
    assert run_module(server, password="wrong")["problems"][0]["check"] == "database-password"
    assert run_module(server, databases=["missing"])["problems"][0]["check"] == "database-missing"
    assert "databases is empty" in run_module(server, databases=[])["msg"]


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
