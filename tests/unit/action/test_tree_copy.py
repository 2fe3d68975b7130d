# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions of tree_copy and node_migrate make of the end of the copy."""

from __future__ import annotations

import fcntl
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.action.tree_copy import ActionModule
from ansible_collections.rspm.ha.plugins.plugin_utils._progress import read_follow
from ansible_collections.rspm.ha.plugins.plugin_utils._progress.read_follow import Copying

STARTED = {"ansible_job_id": "j1.2", "results_file": "/root/.ansible_async/j1.2"}


@pytest.fixture
def action(monkeypatch: pytest.MonkeyPatch) -> ActionModule:
    made = object.__new__(ActionModule)
    made._task = SimpleNamespace(action="rspm.ha.tree_copy")
    monkeypatch.setattr(made, "_low_level_execute_command", lambda *_args, **_more: {"stdout": ""})
    return made


def ended(action: ActionModule, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any]) -> dict[str, Any] | None:
    monkeypatch.setattr(action, "_execute_module", lambda **_more: status)
    return action._ended(STARTED, "node1", None)


def test_a_copy_that_a_restart_ended_is_told_with_its_cause(
    action: ActionModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what ansible-core 2.19 answers where the folder of the results is empty
    lost = {"failed": True, "finished": True, "started": True, "msg": "could not find job", "ansible_job_id": "j1.2"}
    result = ended(action, monkeypatch, lost)
    assert result and result["failed"] is True
    assert "node1 was restarted" in result["msg"] and "Run the same command again" in result["msg"]


def test_a_copy_at_work_has_no_result_yet(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(action, monkeypatch, {"finished": False, "started": True}) is None


def test_the_result_is_the_modules_own(action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"finished": True, "started": True, "ansible_job_id": "j1.2", "changed": True, "files": 7}
    assert ended(action, monkeypatch, status) == {"changed": True, "files": 7}


def test_a_copy_that_begins_late_is_asked_for_its_result_at_its_end(
    action: ActionModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def execute(command: str) -> dict[str, str]:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        return {"stdout": done.stdout}

    asked: list[float] = []
    monkeypatch.setattr(action, "_low_level_execute_command", execute)
    monkeypatch.setattr(action, "_ended", lambda *_args: asked.append(time.monotonic()) or {})
    times: list[float] = []

    def copy() -> None:
        time.sleep(2.6)
        with (tmp_path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (tmp_path / "alive.x").touch()
            time.sleep(2.4)
            (tmp_path / "alive.x").unlink()
            times.append(time.monotonic())

    thread = threading.Thread(target=copy)
    thread.start()
    monkeypatch.setattr(read_follow, "state_folder", lambda _destination: str(tmp_path))
    action._follow(STARTED, Copying("/copy", "x"), "node1", None)
    thread.join()
    # once, and not up to two seconds later
    assert len(asked) == 1 and 0 < asked[0] - times[0] < 1


def test_a_copy_that_never_begins_is_asked_for_its_result(
    action: ActionModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(action, "_ended", lambda *_args: {"failed": True})
    monkeypatch.setattr(read_follow, "state_folder", lambda _destination: str(tmp_path))
    assert action._follow(STARTED, Copying("/copy", "x"), "node1", None) == {"failed": True}


def test_a_call_that_does_more_than_copy_is_followed_to_the_end_of_all(
    action: ActionModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held, texts, asked = tmp_path / "held", [], []

    def execute(command: str) -> dict[str, str]:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        texts.append(done.stdout)
        return {"stdout": done.stdout}

    monkeypatch.setattr(action, "_low_level_execute_command", execute)
    monkeypatch.setattr(action, "_ended", lambda *_args: asked.append(time.monotonic()) or {})
    monkeypatch.setattr(read_follow, "state_folder", lambda _destination: str(tmp_path))
    times: list[float] = []

    def migrate() -> None:
        time.sleep(0.5)
        with held.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (tmp_path / "progress.x").write_text("how far it is\n")
            time.sleep(4)
            (tmp_path / "progress.x").unlink()
            # the databases, the start
            time.sleep(2)
            times.append(time.monotonic())

    thread = threading.Thread(target=migrate)
    thread.start()
    action._follow(STARTED, Copying("/copy", "x", str(held)), "node1", None)
    thread.join()
    assert len(asked) == 1 and 0 < asked[0] - times[0] < 1
    assert any("how far it is" in text for text in texts)


def test_asking_makes_no_lock_of_another_mode(tmp_path: Path) -> None:
    for question in Copying("/copy", "x", str(tmp_path / "held")).questions():
        subprocess.run(["sh", "-c", question], check=True)
    assert list(tmp_path.iterdir()) == []
