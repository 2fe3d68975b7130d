# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof from the databases, with a PostgreSQL server that the test starts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres import host_sessions
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection, connect
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import SessionWatch, local_end, open_watch
from ansible_collections.rspm.ha.plugins.module_utils._postgres.node_sessions import End
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, Credentials, ServerRefused
from tests.unit.worlds import postgres_server
from tests.unit.worlds.postgres_logins import PASSWORD, Server, needs_postgres

pytestmark = needs_postgres

# one of the roles has an older password
WEAK = {"require_auth": "scram-sha-256,password"}


def watch_of(server: Server, timeout: float = 0.3, port: int = 0) -> SessionWatch:
    database = {"host": "127.0.0.1", "port": port or server.port, "databases": ["main", "usage"], "user": "pm"}
    return open_watch(
        {
            **database,
            "password": PASSWORD,
            "sslmode": "disable" if port else "require",
            "options": {},
            "timeout": timeout,
        }
    )


def session(server: Server, user: str = "pm") -> Connection:
    opened = connect("127.0.0.1", server.port, Credentials(user, "usage", PASSWORD), "disable", 5, WEAK)
    opened.query("SET application_name = 'rstudio-pm'")
    return opened


def test_nobody_is_left(server: Server) -> None:
    with closing(watch_of(server)) as watch:
        assert str(watch.own_end()) == str(local_end(watch.connection.fileno()))
        assert watch.own_end().address == "127.0.0.1"
        assert watch.prove_own_gone() == 0
        watch.prove_others_gone()


def test_what_a_dead_process_left_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = session(server)
    # as after a power cut: the server still has the session, and no process of the node
    monkeypatch.setattr(host_sessions, "load_open_ports", dict)
    with closing(watch_of(server)) as watch:
        assert watch.prove_own_gone() == 1
        assert watch.wait(0) == ()
    with pytest.raises((ServerRefused, ConnectFailed)):
        stale.query("SELECT 1")


def test_what_a_dead_process_left_is_ended_while_the_node_runs(server: Server) -> None:
    dead, living = session(server), session(server)
    with closing(living), closing(watch_of(server)) as watch:
        port = local_end(dead.fileno()).port
        with pytest.MonkeyPatch.context() as patch:
            opened = {known: name for known, name in host_sessions.load_open_ports().items() if known != port}
            patch.setattr(host_sessions, "load_open_ports", lambda: opened)
            assert watch.end_left() == 1
        living.query("SELECT 1")
    with pytest.raises((ServerRefused, ConnectFailed)):
        dead.query("SELECT 1")


def test_a_living_program_of_this_node_is_named_and_not_ended(server: Server) -> None:
    with closing(session(server)) as living:
        with (
            closing(watch_of(server)) as watch,
            pytest.raises(
                DomainError, match=rf"1 session is left .*on this node .*\(pid {os.getpid()}\) has them open"
            ),
        ):
            watch.prove_own_gone()
        assert living.query("SELECT 1").values


@pytest.fixture
def proxy(server: Server) -> Iterator[int]:
    """Return the port of a TCP proxy in front of the server, as HAProxy, PgBouncer or NAT would be."""
    script = Path(postgres_server.__file__).with_name("tcp_proxy.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(server.port)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def test_behind_a_proxy_nobodys_session_is_ended(server: Server, proxy: int) -> None:
    # the session of another node, which serves, behind the same address
    with closing(connect("127.0.0.1", proxy, Credentials("pm", "usage", PASSWORD), "disable", 5)) as serving:
        serving.query("SET application_name = 'rstudio-pm'")
        said = pytest.raises(DomainError, match=r"whose they are can't be told.*pg_terminate_backend")
        with said, closing(watch_of(server, port=proxy)) as watch:
            watch.prove_own_gone()
        assert serving.query("SELECT 1").values


def test_a_session_that_a_proxy_keeps_for_another_is_not_ended_either(server: Server, proxy: int) -> None:
    """The database is reached directly by this node, which also carries the proxy of another."""
    with closing(connect("127.0.0.1", proxy, Credentials("pm", "usage", PASSWORD), "disable", 5)) as serving:
        serving.query("SET application_name = 'rstudio-pm'")
        with closing(watch_of(server)) as watch, pytest.raises(DomainError, match="has them open"):
            watch.prove_own_gone()
        assert serving.query("SELECT 1").values


def test_a_session_that_ends_by_itself_is_waited_for(server: Server) -> None:
    leaving = session(server)
    timer = threading.Timer(0.2, leaving.close)
    timer.start()
    with closing(watch_of(server, timeout=10)) as watch:
        assert watch.prove_own_gone() == 0
    timer.join()


def test_the_sessions_of_other_nodes_are_never_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionWatch, "own_end", lambda _watch: End("192.0.2.11", 1))
    with closing(session(server)) as other, closing(watch_of(server)) as watch:
        assert watch.prove_own_gone() == 0
        with pytest.raises(DomainError, match=r"1 session is left at 127\.0\.0\.1:\d+: rstudio-pm from 127\.0\.0\.1"):
            watch.prove_others_gone()
        assert other.query("SELECT 1").values


@pytest.mark.parametrize("user", ["clear", "watcher"])
def test_sessions_of_other_roles_do_not_count_and_are_left_alone(server: Server, user: str) -> None:
    with closing(session(server, user)) as other, closing(watch_of(server)) as watch:
        watch.prove_others_gone()
        assert watch.prove_own_gone() == 0
        assert other.query("SELECT 1").values


def test_a_database_that_goes_away_is_a_problem(server: Server, tmp_path: Path) -> None:
    watch = watch_of(server)
    watch.connection.close()
    with pytest.raises(DomainError, match="could not be asked for its sessions"):
        watch.wait(0)
    with pytest.raises(DomainError) as caught:
        open_watch(
            {
                "host": "127.0.0.1",
                "port": 1,
                "databases": ["main"],
                "user": "pm",
                "password": "canary",
                "sslmode": "disable",
                "options": {},
                "timeout": 1,
            }
        )
    assert "canary" not in str(caught.value)
