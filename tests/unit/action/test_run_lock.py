# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a playbook of many plays, in real runs of ansible-playbook: taken, kept, given back, refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.module_utils._lock.host import this_kernel
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import LockRecord, ProcessId, render
from tests.unit.action.test_preflight_run import LOST, PLAYBOOKS, play

NOW = "2026-11-28T04:00:00Z"
GATE: dict[str, Any] = {"name": "Gate", "import_playbook": str(PLAYBOOKS / "parts" / "present.yml")}
FREE: dict[str, Any] = {
    "name": "Give it back",
    "rspm.ha.run_lock": {"state": "free", "held": "{{ present_lock.held }}"},
    "delegate_to": "{{ present_lock.node }}",
    "run_once": True,
}


def at_work(*tasks: dict[str, Any], hosts: str = "rspm_nodes") -> dict[str, Any]:
    """Return a play between two gates."""
    return {"name": "Work", "hosts": hosts, "gather_facts": False, "any_errors_fatal": True, "tasks": list(tasks)}


def run(
    folder: Path, plays: list[dict[str, Any]], lock: dict[str, str] | None = None, *args: str, lost: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run plays between which the lock lies in the folder. lock: what a look at the node found."""
    left = {"folder": str(folder / "own"), "uid": os.geteuid(), "gid": os.getegid(), "ready": True, "lock": lock or {}}
    (folder / "own").mkdir(exist_ok=True)
    (folder / "plays.yml").write_text(yaml.safe_dump(plays))
    nodes: dict[str, Any] = {key: {"preflight_left": {"node": "node1", "left": left}} for key in ("node1", "node2")}
    groups: dict[str, Any] = {"rspm_nodes": nodes, "rspm_load_balancer": {"lb": LOST if lost else {}}}
    return play(folder, folder / "plays.yml", groups, *args)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "own" / "lock").glob("00*"))


def leave(folder: Path, **changes: str) -> dict[str, str]:
    """Have a lock of another run there."""
    record = LockRecord("id", "boot/1/1", "ben@ops2", "upgrade", "2026.08.0", NOW, NOW, "stage", "node1")
    lock = {**record.to_dict(), **changes}
    (folder / "own" / "lock").mkdir(parents=True)
    (folder / "own" / "lock" / "000001.json").write_text(render(LockRecord(**lock)))
    return lock


def test_it_is_held_from_the_first_gate_to_the_end_and_is_no_change(tmp_path: Path) -> None:
    seen = "{{ lookup('ansible.builtin.file', '" + str(tmp_path / "own/lock/000001.json") + "') | from_json }}"
    look = {"name": "Look", "ansible.builtin.assert": {"that": ["seen.verb == 'site'", "seen.phase == 'prepare'"]}}
    first = {**GATE, "vars": {"present_phase": "prepare"}}
    last = {**GATE, "vars": {"present_phase": "restart"}}
    done = run(tmp_path, [first, at_work({**look, "vars": {"seen": seen}}), GATE, last, at_work(FREE)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1" not in done.stdout
    assert [name for name in files(tmp_path) if "alive" not in name] == ["000001.json", "000001.released"]
    assert json.loads((tmp_path / "own/lock/000001.json").read_text())["phase"] == "restart"


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_what_another_run_holds_is_not_to_be_had(tmp_path: Path, check: tuple[str, ...]) -> None:
    marker = tmp_path / "reached"
    touch = {"name": "Mark", "ansible.builtin.file": {"path": str(marker), "state": "touch"}}
    done = run(tmp_path, [GATE, at_work(touch)], leave(tmp_path), *check)
    assert done.returncode != 0
    assert "locked by ben@ops2" in done.stdout and "to break it" in done.stdout, done.stdout
    assert not marker.exists() and files(tmp_path) == ["000001.json"]


def test_a_check_takes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, [GATE, {**GATE, "vars": {"present_phase": "restart"}}, at_work(FREE)], None, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert files(tmp_path) == []


def test_what_a_site_that_was_cut_off_held_is_taken_over(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    lock = leave(tmp_path, verb="site", target="", holder=str(ProcessId(this_kernel(), gone.pid, 1)))
    done = run(tmp_path, [GATE, at_work(FREE)], lock)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"000002.json", "000002.released"} <= set(files(tmp_path))


def test_a_lock_that_was_broken_meanwhile_ends_the_run(tmp_path: Path) -> None:
    broken = {
        "name": "Break it",
        "ansible.builtin.copy": {"dest": str(tmp_path / "own/lock/000001.released"), "content": "{}"},
        "run_once": True,
    }
    done = run(tmp_path, [GATE, at_work(broken), {**GATE, "vars": {"present_phase": "restart"}}])
    assert done.returncode != 0
    assert "no longer this run's" in done.stdout, done.stdout


def test_a_lost_host_gives_it_back(tmp_path: Path) -> None:
    ask = at_work({"name": "Ask", "ansible.builtin.raw": "true"}, hosts="rspm_load_balancer")
    done = run(tmp_path, [GATE, ask, GATE, at_work(FREE)], lost=True)
    assert done.returncode != 0
    assert "lb: [host-lost] It could be reached before" in done.stdout, done.stdout
    assert "000001.released" in files(tmp_path)


def test_what_a_site_on_bare_machines_holds_can_be_broken(tmp_path: Path) -> None:
    """The playbook's own place for it is in /run, which is another here."""
    lock, own = leave(tmp_path, verb="site", target=""), str(tmp_path / "own" / "lock")
    text = (PLAYBOOKS / "unlock.yml").read_text()
    assert text.count("path: /run/rspm-ha-site/lock\n        uid: 0\n        gid: 0") == 2
    assert (
        "present_own: {path: /run/rspm-ha-site/lock, uid: 0, gid: 0}"
        in (PLAYBOOKS / "parts" / "present.yml").read_text()
    )
    ids = f"uid: {os.geteuid()}\n        gid: {os.getegid()}"
    text = text.replace("/run/rspm-ha-site/lock\n        uid: 0\n        gid: 0", f"{own}\n        {ids}")
    plays = [each for each in yaml.safe_load(text) if "hosts" in each]
    # root's are refused
    variables = {"rspm_storage_path": "/nowhere", "rspm_uid": os.geteuid() or 940, "rspm_gid": os.getegid() or 940}
    (tmp_path / "unlock.yml").write_text(yaml.safe_dump(plays))
    for run_id, says, left in (("", "locked by ben@ops2", 1), (lock["run_id"], "locked by", 2), ("", "Lock: free", 2)):
        nodes = {"node1": {**variables, "rspm_unlock_run_id": run_id}}
        done = play(tmp_path, tmp_path / "unlock.yml", {"rspm_nodes": nodes})
        assert done.returncode == 0 and says in done.stdout, done.stdout + done.stderr
        assert len(files(tmp_path)) == left
