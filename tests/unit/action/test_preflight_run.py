# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that can not be looked at, in real runs of ansible-playbook: told with the others, never gone on without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.plugin_utils._preflight.rules import judge_failure, problem_table

REPOSITORY = Path(__file__).resolve().parents[3]
PLAYBOOKS = REPOSITORY / "playbooks"
COLLECTIONS = REPOSITORY / ".cache" / "collections"
CANARY = "canary-password"
# Nothing listens on port 1.
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
VARIABLES: dict[str, Any] = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "ansible_become_password": CANARY,
    "rspm_version": "2026.08.0",
    "rspm_address": "http://packages.example.org",
    "rspm_database_password": CANARY,
    "rspm_database_host": "127.0.0.1",
    "rspm_database_port": 1,
    "rspm_nfs_server": "127.0.0.1",
    "rspm_package_checksum": "sha256:" + "0" * 64,
    "rspm_package_lock_timeout": 0,
    # as preflight leaves it on the nodes
    "preflight_left": {
        "node": "node1",
        "left": {"folder": "/nowhere", "uid": 0, "gid": 0, "ready": False, "lock": {}},
    },
}


# What changes nothing on a host.
LOOKS = {"rspm.ha.node_info", "ansible.builtin.group_by", "rspm.ha.run_lock", "rspm.ha.cluster_status"}

DEFAULTS = {"name": "rspm.ha.rspm", "public": True}


def play(
    folder: Path, playbook: Path, groups: dict[str, dict[str, Any]], *args: str, collections: Path = COLLECTIONS
) -> subprocess.CompletedProcess[str]:
    """Run a playbook against groups of hosts."""
    inventory = {"all": {"vars": VARIABLES, "children": {name: {"hosts": hosts} for name, hosts in groups.items()}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.yml", *args, playbook],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
            "ANSIBLE_NOCOLOR": "1",
            # whoever runs the tests may be root already
            "ANSIBLE_BECOME_ALLOW_SAME_USER": "1",
        },
    )


def refusing_sudo(folder: Path, said: str) -> str:
    """Return the path of a sudo that refuses with what sudo says."""
    path = folder / "sudo"
    path.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    path.chmod(0o755)
    return str(path)


def test_hosts_that_can_not_be_looked_at_are_told_beside_the_others(tmp_path: Path) -> None:
    sudo = refusing_sudo(tmp_path, "ops is not in the sudoers file.")
    done = play(
        tmp_path,
        PLAYBOOKS / "preflight.yml",
        {
            "rspm_nodes": {"node1": LOST, "node2": {"ansible_become": True, "ansible_become_exe": sudo}},
            "rspm_load_balancer": {"lb": {"ansible_python_interpreter": "/nowhere/python3"}, "lb2": LOST},
        },
    )
    assert done.returncode == 2, done.stdout + done.stderr
    text = done.stdout + done.stderr
    assert "node1, lb2: [unreachable] It can't be reached (" in text
    assert "node2: [become] sudo does not let this account become root (" in text
    assert "lb: [python] There is no Python that Ansible could use (" in text
    assert "\nnode1, lb2  unreachable  It can't be reached (" in done.stdout
    assert "[host-check]" not in text and CANARY not in text
    assert "unreachable=1" not in done.stdout and "failed=2" not in done.stdout


@pytest.mark.parametrize("present", [True, False])
def test_a_lost_host_ends_the_run(tmp_path: Path, present: bool) -> None:
    """Without the check Ansible goes on with the next play, which is what the check is for."""
    marker = tmp_path / "reached"
    plays: list[dict[str, Any]] = [
        {
            "name": "Lose the balancer",
            "hosts": "rspm_load_balancer",
            "gather_facts": False,
            "any_errors_fatal": True,
            "tasks": [{"name": "Ask", "ansible.builtin.raw": "true"}],
        },
        {"name": "Look", "ansible.builtin.import_playbook": str(PLAYBOOKS / "parts" / "present.yml")},
        {
            "name": "Restart the nodes",
            "hosts": "rspm_nodes",
            "gather_facts": False,
            "any_errors_fatal": True,
            "tasks": [{"name": "Mark", "ansible.builtin.file": {"path": str(marker), "state": "touch"}}],
        },
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays if present else [plays[0], plays[2]]))
    groups: dict[str, dict[str, Any]] = {"rspm_nodes": {"node1": {}}, "rspm_load_balancer": {"lb": LOST}}
    done = play(tmp_path, tmp_path / "play.yml", groups)
    assert done.returncode != 0
    assert marker.exists() != present, done.stdout
    assert ("lb: [host-lost]" in done.stdout) == present


def test_site_looks_for_lost_hosts_before_each_play() -> None:
    plays = yaml.safe_load((PLAYBOOKS / "site.yml").read_text())
    imported = [entry.get("ansible.builtin.import_playbook") for entry in plays]
    assert imported[:2] == ["preflight.yml", "parts/present.yml"]
    for before, entry in zip(imported[1:], plays[2:], strict=False):
        tasks = [task for task in entry.get("tasks", []) if task.get("ansible.builtin.import_role") != DEFAULTS]
        acts = entry.get("roles") or any(not set(task) & LOOKS for task in tasks)
        assert before == "parts/present.yml" or not acts, entry["name"]


@pytest.mark.parametrize(
    ("said", "method", "check", "found"),
    [
        ("Incorrect sudo password", "sudo", "become", "sudo takes another password (Incorrect sudo password)"),
        ("Missing sudo password", "sudo", "become", "sudo asks for a password, and none was given"),
        ("sudo: a password is required", "sudo", "become", "sudo asks for a password, and none was given"),
        ("/bin/sh: 1: sudo: not found", "sudo", "become", "sudo is not installed"),
        ("Sorry, user ops is not allowed to execute '/bin/sh' as root", "sudo", "become", "sudo does not let"),
        ("sudo: sorry, you must have a tty to run sudo", "sudo", "become", "sudo wants a terminal"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "", "python", "There is no Python"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "sudo", "python", "There is no Python"),
        ("No space left on device", "sudo", "host-check", "The host could not be looked at (No space left on device)"),
        ("", "", "host-check", "The host could not be looked at (it said nothing)"),
    ],
)
def test_why_a_host_could_not_be_looked_at(said: str, method: str, check: str, found: str) -> None:
    problem = judge_failure(said, method)
    assert problem.check == check and problem.found.startswith(found)


def test_the_table_is_aligned_and_says_what_is_common_once() -> None:
    shared = {"check": "free-space", "found": "/var has 1 MiB free", "why": "y", "fix": "Make room"}
    own = {"check": "a", "found": "word " * 40, "why": "y", "fix": "Do"}
    lines = problem_table({"node1": [shared], "node2": [shared, own], "node3": []})
    assert lines[:3] == [
        "host          check       what was found, and what to do",
        "node1, node2  free-space  /var has 1 MiB free.",
        "                          -> Make room.",
    ]
    assert all(len(line) <= 120 for line in lines) and lines[-1].endswith("-> Do.")
    assert problem_table({"node1": []}) == []
