# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof from the databases, with a PostgreSQL server that the test starts."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._postgres_wire import Credentials, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._postgres_wire_loader import ConnectFailed, Connection, connect
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._session_watch_loader import SessionWatch, open_watch
from tests.unit.test_postgres_server import BINARIES, PASSWORD, Server, server

__all__ = ["server"]
pytestmark = pytest.mark.skipif(not BINARIES, reason="needs a PostgreSQL server: apt-get install postgresql")


def watch_of(server: Server, timeout: float = 0.3) -> SessionWatch:
    database = {"host": "127.0.0.1", "port": server.port, "databases": ["main", "usage"], "user": "pm"}
    return open_watch({**database, "password": PASSWORD, "sslmode": "require", "timeout": timeout})


def session(server: Server, user: str = "pm") -> Connection:
    opened = connect("127.0.0.1", server.port, Credentials(user, "usage", PASSWORD), "disable", 5)
    opened.query("SET application_name = 'rstudio-pm'")
    return opened


def test_nobody_is_left(server: Server) -> None:
    with closing(watch_of(server)) as watch:
        assert watch.own_address() == "127.0.0.1"
        assert watch.prove_own_gone() == 0
        watch.prove_others_gone()


def test_what_a_dead_process_left_is_ended(server: Server) -> None:
    stale = session(server)
    with closing(watch_of(server)) as watch:
        assert watch.prove_own_gone() == 1
        assert watch.wait(0) == ()
    with pytest.raises((ServerRefused, ConnectFailed)):
        stale.query("SELECT 1")


def test_a_session_that_ends_by_itself_is_waited_for(server: Server) -> None:
    leaving = session(server)
    timer = threading.Timer(0.2, leaving.close)
    timer.start()
    with closing(watch_of(server, timeout=10)) as watch:
        assert watch.prove_own_gone() == 0
    timer.join()


def test_the_sessions_of_other_nodes_are_never_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionWatch, "own_address", lambda _watch: "192.0.2.11")
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
    watch.connection.sock.close()
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
                "timeout": 1,
            }
        )
    assert "canary" not in str(caught.value)
