# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stopping a node: blocked first, and stopped only when nothing is left."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import parse
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import Session, sessions_of, terminate_query
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._service import host_stop
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import UnitState, block_text, parse_unit
from ansible_collections.rspm.ha.plugins.module_utils._service.stop_rules import (
    Listener,
    Remains,
    StopPlan,
    judge_blocked,
    judge_stopped,
    listen_addresses,
    parse_listeners,
    plan_stop,
    signal_due,
)
from ansible_collections.rspm.ha.plugins.modules import node_stop
from tests.unit.worlds.module_run import run_module

SOCKETS = """\
LISTEN 0 4096 *:4242 *:* users:(("rstudio-pm",pid=812,fd=9))
LISTEN 0 128 127.0.0.1:4243 0.0.0.0:* users:(("other",pid=7,fd=3))
LISTEN 0 128 [::1]:22 [::]:* users:(("sshd",pid=1,fd=3))
"""


def unit_of(pid: int = 0, blocked: str = "") -> UnitState:
    state = "active" if pid else "inactive"
    text = f"LoadState=loaded\nUnitFileState=enabled\nActiveState={state}\nSubState=x\nMainPID={pid}\n"
    return parse_unit(text, block_text(blocked) if blocked else "", 0)


def remains(pid: int = 0, blocked: str = "", **more: Any) -> Remains:
    return dataclasses.replace(Remains(unit_of(pid, blocked), (pid,) if pid else (), ()), **more)


@pytest.mark.parametrize(
    ("now", "plan"),
    [
        (remains(812), StopPlan(True, True)),
        (remains(), StopPlan(True, False)),
        (remains(0, "upgrade"), StopPlan(False, False)),
        (remains(812, "upgrade"), StopPlan(False, True)),
        (remains(0, "rollback"), StopPlan(True, False)),
        (remains(0, "upgrade", processes=(9,)), StopPlan(False, True)),
    ],
)
def test_plan(now: Remains, plan: StopPlan) -> None:
    assert plan_stop(now, "upgrade") == plan
    assert plan.changes is (plan != StopPlan(False, False))


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ("", ["*:4242"]),
        ("[HTTP]\nListen = 127.0.0.1:4243", ["127.0.0.1:4243"]),
        ("[HTTP]\nListen = 10.0.0.1:4243", []),
        ("[HTTP]\nListen = :4243\n[HTTPS]\nListen = [::1]:22", ["127.0.0.1:4243", "[::1]:22"]),
        ("[HTTP]\nListen = 10.0.0.1:4242", ["*:4242"]),
    ],
)
def test_listeners_are_those_that_the_server_would_collide_with(config: str, found: list[str]) -> None:
    listeners = parse_listeners(SOCKETS, listen_addresses(parse(config)))
    assert [listener.address for listener in listeners] == found
    assert parse_listeners(SOCKETS, [":4242"])[0].owner == "rstudio-pm (pid 812)"


def test_whatever_is_left_is_named() -> None:
    assert judge_stopped("node1", remains(0, "upgrade")) == []
    (problem,) = judge_stopped("node1", remains(812, "upgrade"), "nothing within 5 s")
    assert "process 812 is left" in problem.found and "nothing within 5 s" in problem.found
    (problem,) = judge_stopped("node1", remains(listeners=(Listener("*:4242", ""),)))
    assert "a process that is not shown still listens at *:4242 on node1" in problem.found
    starting = dataclasses.replace(unit_of(), active_state="activating")
    assert "its unit is left" in judge_stopped("node1", remains(unit=starting))[0].found


def test_sessions_are_told_apart_by_address() -> None:
    def session(pid: int, address: str) -> Session:
        return Session(pid, "main", "pm", "", address, "idle", "", "")

    here, there = session(1, "10.0.0.1"), session(2, "10.0.0.2")
    assert sessions_of([here, there]) == (here, there)
    assert sessions_of([here, there], of="10.0.0.1") == (here,)
    assert sessions_of([here, there], not_of="10.0.0.1") == (there,)
    # "" is the server's own socket, and neither everybody nor nobody
    assert sessions_of([here, there], of="") == ()
    assert sessions_of([here, there], not_of="") == (here, there)
    assert "pid IN (1, 2)" in terminate_query([here, there])


LEFT = remains(0, processes=(671,))


@pytest.mark.parametrize(
    ("now", "sent", "left", "signal"),
    [
        (LEFT, 0, 1.0, "SIGTERM"),
        (LEFT, 1, 0.51, ""),
        (LEFT, 1, 0.5, "SIGKILL"),
        (LEFT, 2, 0.01, ""),
        # systemd could not stop it
        (remains(812), 0, 1.0, ""),
        # of no process of the unit's
        (remains(0, listeners=(Listener("*:4242", ""),)), 0, 1.0, ""),
    ],
)
def test_what_a_stop_leaves_gets_one_signal_after_the_other(now: Remains, sent: int, left: float, signal: str) -> None:
    assert signal_due(now, sent, left) == signal


class Node:
    """A node with systemd: what was called, and whether it was blocked then."""

    def __init__(self, folder: Path) -> None:
        self.block = folder / "rstudio-pm.service.d/block.conf"
        self.pid = 812
        self.stray: tuple[int, ...] = ()
        # of the unit, and left by its stop; what ends them
        self.workers: tuple[int, ...] = ()
        self.ends_at = "SIGTERM"
        self.stops = True
        self.events: list[tuple[str, bool]] = []

    def __call__(self, argv: list[str], **_options: Any) -> CompletedCommand:
        if argv[0] == "ss":
            return CompletedCommand(0, SOCKETS if self.pid else "", "")
        if argv[:2] == ["systemctl", "show"]:
            state = "active" if self.pid else "inactive"
            text = f"LoadState=loaded\nUnitFileState=enabled\nActiveState={state}\nSubState=x\nMainPID={self.pid}\n"
            return CompletedCommand(0, text, "")
        self.events.append((argv[1], self.block.exists()))
        if argv[1] == "stop" and not self.stops:
            return CompletedCommand(124, "", "")
        if argv[1] == "stop":
            self.pid = 0
        if argv[1:] == ["kill", f"--signal={self.ends_at}", "rstudio-pm.service"]:
            self.workers = ()
        return CompletedCommand(0, "", "")

    def processes(self, _group: str) -> tuple[int, ...]:
        return ((self.pid,) if self.pid else ()) + self.stray + self.workers


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(service_host, "BLOCK_PATH", str(node.block))
    monkeypatch.setattr(service_host, "DROPIN_FOLDER", str(node.block.parent))
    monkeypatch.setattr(host_stop, "load_document", dict)
    monkeypatch.setattr(host_stop, "load_processes", node.processes)
    monkeypatch.setattr(host_stop, "_LINGER_SECONDS", 0.2)
    monkeypatch.setattr(node_stop, "module_runner", lambda _module: node)
    return node


class Watch:
    """The databases, in which stale sessions can be ended."""

    def __init__(self, node: Node, work: Callable[[], int]) -> None:
        self.node = node
        self.work = work

    def prove_own_gone(self) -> int:
        self.node.events.append(("sessions", self.node.block.exists()))
        return self.work()

    def close(self) -> None:
        self.node.events.append(("close", True))


def run(**arguments: Any) -> dict[str, Any]:
    return run_module(node_stop, arguments)


def test_blocked_before_stopped_and_idempotent(node: Node) -> None:
    result = run()
    assert node.events == [("daemon-reload", True), ("stop", True)]
    assert result["changed"] and result["masked"] and result["stopped"]
    assert [step["step"] for step in result["timeline"]] == ["block", "stop", "prove"]
    assert all(step["at"].endswith("Z") and step["seconds"] >= 0 for step in result["timeline"])
    assert node.block.read_text().startswith("# Blocked by rspm.ha for: upgrade\n")
    assert result["before"] == {"running": True, "blocked": False}
    again = run()
    assert again["before"] == {"running": False, "blocked": True}
    assert not again["changed"] and [step["step"] for step in again["timeline"]] == ["prove"]
    assert len(node.events) == 2
    assert run(purpose="rollback")["changed"] and "rollback" in node.block.read_text()


def test_check_mode_changes_nothing(node: Node) -> None:
    result = run(_ansible_check_mode=True)
    assert result["changed"] and result["timeline"] == [] and node.events == [] and not node.block.exists()
    assert result["before"] == {"running": True, "blocked": False}
    assert result["diff"] == {
        "before": "rstudio-pm, running, not blocked\n",
        "after": "rstudio-pm, stopped, blocked\n",
    }


def test_a_server_that_does_not_stop_fails_and_stays_blocked(node: Node) -> None:
    node.stops = False
    begun = time.monotonic()
    result = run(stop_timeout=5)
    assert time.monotonic() - begun < 5
    assert result["problems"][0]["check"] == "node-stopped" and "nothing within 5 s" in result["problems"][0]["found"]
    assert [step["step"] for step in result["timeline"]] == ["block", "stop", "prove"]
    assert node.block.exists()


@pytest.mark.parametrize(("ends_at", "kills"), [("SIGTERM", 1), ("SIGKILL", 2)])
def test_processes_that_the_units_stop_leaves_are_ended(node: Node, ends_at: str, kills: int) -> None:
    node.workers, node.ends_at = (671, 672), ends_at
    assert run()["stopped"]
    assert [event for event, _blocked in node.events] == ["daemon-reload", "stop", *["kill"] * kills]


def test_nothing_is_killed_that_was_not_stopped(node: Node) -> None:
    node.workers, node.stops = (671,), False
    run(stop_timeout=5)
    assert "kill" not in [event for event, _blocked in node.events]


def test_a_process_that_is_not_the_units_is_seen(node: Node) -> None:
    node.pid, node.stray = 0, (4711,)
    assert run(_ansible_check_mode=True)["before"]["running"]
    assert "process 4711 is left" in run()["problems"][0]["found"]


DATABASE = {"host": "db1", "databases": ["main"], "user": "pm", "password": "x"}


def test_sessions_are_part_of_the_proof(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_stop, "open_watch", lambda _database: Watch(node, lambda: 0))
    result = run(database=DATABASE)
    assert [event for event, _blocked in node.events] == ["daemon-reload", "stop", "sessions", "close"]
    assert result["sessions_ended"] == 0
    assert not run(database=DATABASE)["changed"]
    monkeypatch.setattr(node_stop, "open_watch", lambda _database: Watch(node, lambda: 2))
    result = run(database=DATABASE)
    assert result["changed"] and result["sessions_ended"] == 2

    def left() -> int:
        raise DomainError(Problem("database-sessions", "1 session is left", "w", "f"))

    monkeypatch.setattr(node_stop, "open_watch", lambda _database: Watch(node, left))
    result = run(database=DATABASE)
    assert result["problems"][0]["check"] == "database-sessions"
    assert result["timeline"][-1]["step"] == "sessions"


def test_a_node_that_somebody_unblocks_meanwhile_does_not_stay_stopped() -> None:
    assert judge_blocked("node1", remains(0, "upgrade")) == []
    (problem,) = judge_blocked("node1", remains())
    assert problem.check == "node-stopped" and "somebody has unblocked it meanwhile" in problem.found
