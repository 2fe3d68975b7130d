# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one call that moves everything to a node, with two PostgreSQL servers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host as database_copy_host
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host_scan
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host import Copier
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.report import report
from ansible_collections.rspm.ha.plugins.module_utils._migration import host_move
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import open_watch
from ansible_collections.rspm.ha.plugins.module_utils._service import host_stop
from tests.unit.worlds.database_copy_servers import Server
from tests.unit.worlds.node_migrate_machine import Machine, arguments, as_before, begun, run, simulated
from tests.unit.worlds.node_upgrade_machine import OLD
from tests.unit.worlds.postgres_server import needs_server
from tests.unit.worlds.tree_copies import needs_rsync, seen

pytestmark = [needs_server, needs_rsync]
EVERYTHING = "data and databases"


@pytest.fixture
def machine(tmp_path: Path, servers: object, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = simulated(tmp_path, monkeypatch)
    for name, real in (("Copier", Copier), ("report", report), ("open_watch", open_watch)):
        monkeypatch.setattr(host_move, name, real)
    # a server under load ends a session later than its client
    monkeypatch.setattr(host_move, "_SESSION_TIMEOUT", 3)
    monkeypatch.setattr(database_copy_host, "_SESSION_TIMEOUT", 10)
    begun(made, EVERYTHING)
    return made


def test_data_and_databases_are_moved_at_the_same_time(
    machine: Machine, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = servers
    given = arguments(machine, EVERYTHING, source=source.option(), target=target.option())
    served_at_login = []

    def open_side(*arguments: Any) -> Any:
        served_at_login.append(bool(machine.running))
        return real(*arguments)

    real = host_scan.open_side
    monkeypatch.setattr(database_copy_host, "open_side", open_side)
    result = run(given)
    assert not result.get("failed"), result["msg"]
    # users would wait for each
    assert served_at_login and all(served_at_login)
    assert result["databases"]["verified_tables"] == 8 and result["databases"]["target_state"] == "ours_finished"
    assert target.sql("SELECT count(*) FROM package", "main") == source.sql("SELECT count(*) FROM package", "main")
    assert seen(machine.folder / "copy") == seen(machine.folder / "storage/data")
    assert machine.running == OLD and result["record"]["state"] == "switched"
    names = [step["step"] for step in result["timeline"]]
    assert {"databases dump main", "databases restore usage", "data compare"} <= set(names)
    assert names.index("switch") > max(number for number, name in enumerate(names) if " " in name)


def test_a_node_that_works_on_the_old_databases_keeps_it_from_all(
    machine: Machine, servers: tuple[Server, Server]
) -> None:
    source, target = servers
    given = arguments(machine, EVERYTHING, source=source.option(), target=target.option())
    # through the server's own socket, as from another machine
    login = ["psql", "-h", str(source.folder), "-p", str(source.port), "-U", "pm", "main"]
    with subprocess.Popen(login, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdin.write("SELECT 'connected';\n")
        other.stdin.flush()
        while "connected" not in other.stdout.readline():
            pass
        result = run(given)
        other.stdin.close()
    assert [problem["check"] for problem in result["problems"]] == ["database-sessions"]
    assert "what the copies would lack" in result["msg"] and machine.running == OLD
    as_before(machine)
    assert target.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "main") == "0"
    assert not run(given).get("failed")


def test_what_somebody_puts_into_the_target_while_the_node_stops_is_not_removed(
    machine: Machine, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = servers
    given = arguments(machine, EVERYTHING, source=source.option(), target=target.option())

    def stop_and_prove(*arguments: Any) -> Any:
        target.sql("CREATE TABLE theirs (id int)", "main")
        return real(*arguments)

    real = host_stop.stop_and_prove
    monkeypatch.setattr(host_move, "stop_and_prove", stop_and_prove)
    result = run(given)
    assert [problem["check"] for problem in result["problems"]] == ["database-copy"]
    assert "main had nothing when it was looked at, and has public.theirs now" in result["msg"]
    as_before(machine)
    assert target.sql("SELECT count(*) FROM theirs", "main") == "0"
