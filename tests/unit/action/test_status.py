# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster is, out of what its nodes have registered, in real runs of ansible-playbook."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.action.test_preflight_run import PLAYBOOKS, play
from tests.unit.plugin_utils._status.test_rules import NODE

REGISTERED: dict[str, Any] = {
    "status_node": {"node": NODE},
    "status_lock": {"says": "free", "lock": {}},
    "rspm_storage_path": "/mnt/rstudio-pm",
    "rspm_data_dir": "{{ rspm_storage_path }}/data",
    "rspm_status_file": "status.json",
}
OTHER = {"status_node": {"node": {**NODE, "running_version": "2025.01.0"}}}
LOST = {"status_node": {"unreachable": True, "msg": "no route"}, "status_lock": {"skipped": True}}


def run(folder: Path, tasks: list[Any], **nodes: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    book = {"name": "x", "hosts": "rspm_nodes", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([book]))
    return play(folder, folder / "play.yml", {"rspm_nodes": {name: {**REGISTERED, **nodes[name]} for name in nodes}})


@pytest.mark.parametrize(
    ("second", "code", "state", "says"),
    [
        ({}, 0, "healthy", "Nothing is unfinished, and nothing is wrong."),
        (OTHER, 2, "wrong", "[one-version]"),
        (LOST, 4, "unknown", "node2 can't be reached: no route"),
    ],
)
def test_the_status_of_all_nodes_is_shown_and_kept(
    tmp_path: Path, second: dict[str, Any], code: int, state: str, says: str
) -> None:
    """Runs the tasks of the playbook that come after those that ask the nodes."""
    done = run(
        tmp_path, yaml.safe_load((PLAYBOOKS / "status.yml").read_text())[1]["tasks"][-2:], node1={}, node2=second
    )
    assert done.returncode == code and says in done.stdout, done.stdout + done.stderr
    assert "Lock: nobody holds it" in done.stdout
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == state and list(status["nodes"]) == ["node1", "node2"] and "table" not in status


def test_nodes_that_differ_end_a_run(tmp_path: Path) -> None:
    tasks = [{"name": "Check", "rspm.ha.cluster_status": {"alike": True}}]
    assert run(tmp_path, tasks, node1={}, node2={}).returncode == 0
    done = run(tmp_path, tasks, node1={}, node2=OTHER)
    assert done.returncode == 2 and "[one-version] The nodes have different versions" in done.stdout
    ahead = {**REGISTERED["status_node"]["node"], "clock": {"offset": 0.8}}
    done = run(tmp_path, tasks, node1={}, node2={"status_node": {"node": ahead}})
    assert done.returncode == 2 and "[clocks-agree] The clocks of node1 and node2 differ" in done.stdout
