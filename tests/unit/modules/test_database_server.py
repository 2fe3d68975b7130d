# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server that others use too lets the nodes in: what is decided, and on a server that the test starts."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres import rules
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import connect
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.host import UNANSWERED, PostgresServer
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.rules import (
    Setting,
    Wanted,
    decide_settings,
    judge_clients,
    kept_clients,
    listening,
)
from ansible_collections.rspm.ha.plugins.modules.database_server import check, let_in, met_at
from tests.unit.worlds.postgres_server import Server, needs_server, running_server

WANTED = Wanted(200, ("10.2.0.9",), True)
FINE = {
    "max_connections": Setting("500", "500"),
    "listen_addresses": Setting("10.2.0.9", "10.2.0.9"),
    "ssl": Setting("on", "on"),
}


def decided(shared: bool = True, **changed: Setting) -> list[tuple[str, str, bool, bool]]:
    changes = decide_settings({**FINE, **changed}, WANTED, {"localhost": ["127.0.0.1", "::1"]}, shared)
    return [(change.name, change.new, change.write, change.restart) for change in changes]


def test_what_is_enough_is_left_alone() -> None:
    assert decided() == [] and decided(shared=False) == []


def test_connections_are_only_raised() -> None:
    assert decided(max_connections=Setting("100", "100")) == [("max_connections", "200", True, True)]
    # an earlier run has written it, and was cut off before the restart
    assert decided(max_connections=Setting("100", "200")) == [("max_connections", "200", False, True)]
    # somebody has raised it further, and not restarted yet
    assert decided(max_connections=Setting("100", "700")) == [("max_connections", "700", False, True)]
    # somebody has lowered it, which would show after the next start
    assert decided(max_connections=Setting("500", "100")) == [("max_connections", "200", True, False)]


def test_an_address_is_added_where_others_have_databases() -> None:
    one, local = Setting("10.1.0.9", "10.1.0.9"), Setting("localhost", "localhost")
    assert decided(listen_addresses=one) == [("listen_addresses", "10.1.0.9, 10.2.0.9", True, True)]
    assert decided(listen_addresses=local) == [("listen_addresses", "localhost, 10.2.0.9", True, True)]
    assert decided(shared=False, listen_addresses=local) == [("listen_addresses", "*", True, True)]
    both = "10.1.0.9, 10.2.0.9"
    assert decided(listen_addresses=Setting("10.1.0.9", both)) == [("listen_addresses", both, False, True)]


@pytest.mark.parametrize("setting", ["*", "0.0.0.0", "10.2.0.9", "localhost,10.2.0.9", "db", " 10.1.0.9 , * "])
def test_the_present_setting_may_cover_the_address(setting: str) -> None:
    assert listening(setting, ["10.2.0.9"], {"db": ["10.2.0.9"]}, True) == setting


@pytest.mark.parametrize("setting", ["::", "", "10.2.0.90", "db"])
def test_or_may_not(setting: str) -> None:
    assert listening(setting, ["10.2.0.9"], {"db": ["10.1.0.9"]}, True).endswith("10.2.0.9")


def test_tls_is_turned_on_only_where_it_is_needed() -> None:
    assert decided(ssl=Setting("off", "off")) == [("ssl", "on", True, False)]
    plain = Wanted(200, (), False)
    assert decide_settings({**FINE, "ssl": Setting("off", "off")}, plain, {}, True) == []


def test_a_list_of_nobody_or_of_names_is_refused() -> None:
    assert judge_clients(["10.2.0.1", "fd00::/64"]) == []
    assert judge_clients([])[0].found == "There is no node to let in to the databases"
    assert "pm-a is no address" in judge_clients(["10.2.0.1", "pm-a"])[0].found


def test_a_node_that_lives_is_kept() -> None:
    before, after = ["10.2.0.1/32", "10.2.0.2/32", "fd00::1/128"], ["10.2.0.1/32"]
    assert kept_clients(before, after, ["10.2.0.1", "10.2.0.2", "10.9.0.9", "fd00::1"]) == ["10.2.0.2", "fd00::1"]
    assert kept_clients(before, after, []) == []


def test_it_is_met_where_it_has_an_address_itself() -> None:
    assert met_at(["nowhere.invalid", "240.0.0.1", ""]) == ()


HBA = """\
local all all trust
# nobody from the network
host all all 0.0.0.0/0 reject
"""
SETUP = """\
SET password_encryption = 'scram-sha-256';
CREATE ROLE pm LOGIN PASSWORD 'secret';
CREATE DATABASE main OWNER pm;
CREATE DATABASE usage OWNER pm;
"""
GIVEN: dict[str, Any] = {
    "databases": ["main", "usage"],
    "user": "pm",
    "clients": ["127.0.0.1"],
    "connections": 50,
    "addresses": ["127.0.0.1"],
    "tls": False,
    "keep_connected": True,
}


class Running:
    """A server with the module's way to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hba = server.folder / "data" / "pg_hba.conf"
        self.auto = server.folder / "data" / "postgresql.auto.conf"

    def run(self, argv: list[str], **more: Any) -> CompletedCommand:
        words = ["runuser", "-u", "postgres", "--", "env", f"PGHOST={self.server.folder}", *argv]
        done = subprocess.run(words, input=more.get("input"), text=True, capture_output=True, cwd="/", check=False)
        return CompletedCommand(done.returncode, done.stdout, done.stderr)

    def let_in(self, check_mode: bool = False, **changed: Any) -> dict[str, Any]:
        return let_in(self.run, {**GIVEN, "port": self.server.port, **changed}, check_mode)

    def login(self) -> str:
        with closing(
            connect("127.0.0.1", self.server.port, rules.Credentials("pm", "main", "secret"), "prefer", 5)
        ) as own:
            return str(own.query("SELECT 1 AS one").as_dicts()[0]["one"])


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with running_server(["max_connections=60"], certificate="IP:127.0.0.1") as server:
        server.sql(SETUP)
        yield server


@pytest.fixture
def running(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr("ansible_collections.rspm.ha.plugins.module_utils._postgres_server.host._NEXT_SECOND", 1.05)
    each = Running(shared_server)
    each.hba.write_text(HBA)
    past = time.time() - 100
    os.utime(each.hba, (past, past))
    shared_server.sql("SELECT pg_reload_conf()")
    yield each
    shared_server.sql("ALTER SYSTEM RESET ALL")


@needs_server
def test_a_reject_that_stands_first_does_not_shut_the_nodes_out(running: Running) -> None:
    owner = running.hba.stat()
    predicted = running.let_in(check_mode=True)
    assert predicted["changed"] and running.hba.read_text() == HBA
    result = running.let_in()
    assert result["changed"] and result["reloaded"] and result["restart"] == [] and result["changes"] == []
    assert running.login() == "1"
    assert (
        "".join(line for line in running.hba.read_text().splitlines(True) if "rspm" not in line and "pm " not in line)
        == HBA
    )
    assert (running.hba.stat().st_uid, running.hba.stat().st_mode) == (owner.st_uid, owner.st_mode)
    assert predicted["diff"] == result["diff"]
    again = running.let_in()
    assert not again["changed"] and not again["reloaded"]
    assert running.auto.read_text().count("=") == 0


@needs_server
def test_a_live_node_is_not_shut_out_by_a_wrong_list(running: Running) -> None:
    running.let_in()
    with closing(
        connect("127.0.0.1", running.server.port, rules.Credentials("pm", "main", "secret", "node1"), "prefer", 5)
    ) as node:
        result = running.let_in(clients=["10.2.0.2"])
        assert result["kept"] == ["127.0.0.1"] and running.login() == "1"
        gone = running.let_in(check_mode=True, clients=["10.2.0.2"], keep_connected=False)
        assert gone["kept"] == [] and "127.0.0.1" not in gone["diff"]["after"]
        with pytest.raises(DomainError, match="no node to let in"):
            running.let_in(clients=[])
        assert node.query("SELECT 1").values
    while running.server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'pm'") != "0":
        time.sleep(0.05)
    assert running.let_in(clients=["10.2.0.2"])["kept"] == []
    with pytest.raises(rules.ServerRefused, match="pg_hba"):
        running.login()


@needs_server
def test_a_database_of_somebody_else_is_refused(running: Running) -> None:
    with pytest.raises(DomainError, match=r"database main is there already and belongs to pm, not to other") as caught:
        running.let_in(user="other")
    assert 'ALTER DATABASE "main" OWNER TO "other"' in caught.value.problems[0].fix
    assert running.hba.read_text() == HBA


@needs_server
def test_a_server_that_does_not_run_yet_is_nothing_to_be_told_of(running: Running) -> None:
    silent = Problem(UNANSWERED, "it can't be asked", "", "")
    assert check(running.run, 1, [silent]) == []
    assert [each["check"] for each in check(running.run, running.server.port, [silent])] == [UNANSWERED]
    assert len(check(running.run, 1, [replace(silent, check="database-owner")])) == 1


@needs_server
def test_what_has_to_be_restarted_is_said_and_not_done(running: Running) -> None:
    running.server.sql("CREATE DATABASE shop")
    try:
        # the command line has the last word in this test's server, so that only the file is looked at
        result = running.let_in(connections=120)
        assert result["restart"] == ["max_connections from 60 to 120"] and result["others"] == ["shop"]
        assert "max_connections = '120'" in running.auto.read_text()
        assert running.server.sql("SHOW max_connections") == "60"
        again = running.let_in(connections=120)
        assert not again["changed"] and again["restart"] == result["restart"]
        assert "password_encryption" not in running.auto.read_text()
    finally:
        running.server.sql("DROP DATABASE shop")


@needs_server
def test_a_file_that_the_server_can_not_read_is_left_as_it_is(running: Running) -> None:
    broken = HBA + "host all all 10.0.0.0/99 trust\n"
    running.hba.write_text(broken)
    with pytest.raises(DomainError, match=r"refused as it stands.*line 4"):
        running.let_in()
    assert running.hba.read_text() == broken


@needs_server
def test_rules_that_the_server_refuses_are_taken_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresServer, "planned_rules", lambda *_given: (HBA, HBA + "nonsense\n"))
    with pytest.raises(DomainError, match="is as before"):
        running.let_in()
    assert running.hba.read_text() == HBA


@needs_server
def test_a_reload_that_was_missed_is_made_up_for(running: Running) -> None:
    running.let_in()
    os.utime(running.hba)
    result = running.let_in()
    assert result["changed"] and result["reloaded"] and not running.let_in()["changed"]


@needs_server
def test_a_server_that_does_not_answer_is_a_problem(running: Running) -> None:
    with pytest.raises(DomainError, match=r"PostgreSQL at port 1 of this host can't be asked.*psql -p 1") as caught:
        running.let_in(port=1)
    assert not re.search("secret", str(caught.value))


@needs_server
def test_the_folder_has_nothing_left_over(running: Running) -> None:
    running.let_in()
    assert not [path for path in Path(running.hba.parent).iterdir() if "rspm" in path.name]
