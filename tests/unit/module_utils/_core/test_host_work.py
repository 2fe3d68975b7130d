# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One step at a time on a node, whatever became of the run that began it."""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core import host_command
from ansible_collections.rspm.ha.plugins.module_utils._core import host_work as work
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._node import host
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import Host
from tests.unit.worlds.module_run import run_module

# what a killed run leaves: a step that goes on, and a service that its package's scripts started
HOLDER = """
import subprocess, sys, time
from ansible_collections.rspm.ha.plugins.module_utils._core import host_work as work
from tests.unit.worlds.module_run import run_module
work.LOCK_PATH = sys.argv[1]
with work.node_work("install"):
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(work, "LOCK_PATH", str(tmp_path / "lock"))
    monkeypatch.setattr(work, "_PATIENCE_SECONDS", 0.5)
    return tmp_path / "lock"


@contextmanager
def earlier_run(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A step in a process of its own; ended at the end with the service that it started."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], env={"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        service = int(holder.stdout.readline())
        try:
            yield holder
        finally:
            holder.kill()
            os.kill(service, signal.SIGKILL)


def test_a_step_that_goes_on_keeps_others_away_until_it_ends(lock: Path) -> None:
    with earlier_run(lock) as holder:
        assert work.load_work(0) == f"install, pid {holder.pid}"
        with pytest.raises(DomainError) as caught, work.node_work("stop"):
            raise AssertionError("two steps at once")
        problem = caught.value.problems[0]
        assert problem.check == "node-busy"
        assert f"a step of an earlier run (install, pid {holder.pid}) is still at work on " in problem.found
        assert problem.why == "Two runs that change one node undo each other"
        assert problem.fix == "Wait for it to end, and run the same command again"
        # as the kernel ends it: nothing is tidied up, and the service goes on
        holder.kill()
        holder.wait()
        assert work.load_work(0) == ""
        with work.node_work("stop"):
            assert work.load_work(0) == f"stop, pid {os.getpid()}"


def test_it_is_free_before_and_after(lock: Path) -> None:
    assert work.load_work(0) == "" and not lock.exists()
    with pytest.raises(ValueError, match="broken"), work.node_work("stop"):
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        raise ValueError("broken")
    assert work.load_work(0) == "" and lock.read_text() == ""


def test_a_child_of_the_step_does_not_keep_it(lock: Path) -> None:
    with work.node_work("stop"):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
    try:
        assert work.load_work(0) == ""
    finally:
        os.write(writer, b"x")
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_the_end_is_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    def step() -> None:
        with work.node_work("stop"):
            begun.set()
            ended.wait(10)

    thread = threading.Thread(target=step)
    thread.start()
    begun.wait(10)
    assert work.load_work(0.2) == f"stop, pid {os.getpid()}"
    timer = threading.Timer(0.3, ended.set)
    timer.start()
    before = time.monotonic()
    assert work.load_work(10) == ""
    assert 0.1 < time.monotonic() - before < 5
    thread.join()


def test_one_that_only_looks_keeps_nobody_away(lock: Path) -> None:
    lock.touch()
    descriptor = os.open(lock, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert work.load_work(0) == ""
    threading.Timer(0.2, os.close, (descriptor,)).start()
    with work.node_work("stop"):
        pass


def test_without_the_right_to_look_it_says_so(lock: Path) -> None:
    lock.mkdir()
    with pytest.raises(DomainError, match="can't be opened") as caught, work.node_work("stop"):
        pass
    assert caught.value.problems[0].check == "node-lock"


DATABASES = {"host": "127.0.0.1", "name": "a", "usage_name": "b", "user": "u", "password": "p"}
HELD = {"path": "/nowhere/lock", "uid": 1, "gid": 1, "run_id": "r", "holder": "h"}
MODULES: dict[str, dict[str, Any]] = {
    "node_migrate": {
        "version": "2026.08.0",
        "record_path": "/nowhere/migration",
        "lock": HELD,
        "source": DATABASES,
        "configuration": {"data_dir": "/nowhere/data"},
    },
    "node_start": {"version": "2026.08.0"},
    "node_stop": {},
    "node_upgrade": {"version": "2026.08.0"},
    "package_stage": {"version": "2026.08.0", "source": "repository"},
    "restore_point": {"state": "in_use", "path": "/nowhere/restore-point"},
    "server_config": {"data_dir": "/nowhere/data"},
    "server_package": {"version": "2026.08.0"},
}
ALL_BUSY = [*MODULES.items(), ("restore_point", {"state": "staged", "path": "/nowhere/restore-point"})]


class Reached(Exception):
    """The module began with its work."""


def result_of(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a module, whose every command is refused, and return its result; raises Reached once it does anything."""
    module = importlib.import_module(f"ansible_collections.rspm.ha.plugins.modules.{name}")

    def reached(*_arguments: object, **_more: object) -> None:
        raise Reached

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_command, "start", reached)
        if name == "restore_point":
            patch.setattr(module.Store, "read", reached)
        if name == "server_config":
            patch.setattr(module.Apply, "run", reached)
        if name in ("node_upgrade", "package_stage", "server_package"):
            patch.setattr(module, "load_host", lambda: Host("debian", "12", "x86_64"))
        return run_module(module, arguments)


@pytest.mark.parametrize(("name", "arguments"), ALL_BUSY)
def test_a_module_that_changes_the_node_does_nothing_beside_another(name: str, arguments: dict[str, Any]) -> None:
    with work.node_work("install"):
        result = result_of(name, arguments)
    assert result["failed"] is True and result["problems"][0]["check"] == "node-busy"
    with pytest.raises(Reached):
        result_of(name, arguments)
    assert work.load_work(0) == ""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {**arguments, "_ansible_check_mode": True}) for name, arguments in MODULES.items()),
        ("restore_point", {"path": "/nowhere/restore-point"}),
    ],
)
def test_what_changes_nothing_goes_on_beside_another(name: str, arguments: dict[str, Any]) -> None:
    with work.node_work("install"), pytest.raises(Reached):
        result_of(name, arguments)


def test_a_node_tells_what_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(argv: list[str], **_more: object) -> CompletedCommand:
        return CompletedCommand(127, "", f"{argv[0]}: not found")

    monkeypatch.setattr(host, "load_host", lambda: Host("debian", "12", "x86_64"))
    assert host.load_node(nothing, 0.1).to_dict()["busy"] == ""
    with work.node_work("install"):
        assert host.load_node(nothing, 0.1, 0.1).busy == f"install, pid {os.getpid()}"
