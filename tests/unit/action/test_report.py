# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees and gets on the controller: plain text, files where the command was typed, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.module_utils._lock import host as lock_host
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.check import Given
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.read_paths import path_faults

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
KEEP_ALIVE = "-o ServerAliveInterval=10 -o ServerAliveCountMax=3"


def play(
    folder: Path, tasks: list[dict[str, Any]], *options: str, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run tasks as a playbook of another folder than the one where the command is typed."""
    (folder / "books").mkdir(exist_ok=True)
    book = [{"name": "x", "hosts": "localhost", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}]
    (folder / "books" / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
    return subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "books/play.yml", *options),
            *("-e", "ansible_connection=local"),
        ],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "HOME": str(folder), "PWD": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def report(**given: Any) -> list[dict[str, Any]]:
    """Return the task that shows a report of two lines."""
    lines = {"lines": ['node1  says "hello"', "", "node2  nothing"], **given}
    return [{"name": "Show it", "rspm.ha.report": lines, "any_errors_fatal": False}]


def test_a_report_is_plain_text(tmp_path: Path) -> None:
    told = play(tmp_path, report(path="r.json", content={"b": "é", "a": [1]}))
    assert told.returncode == 0, told.stdout + told.stderr
    assert '\nnode1  says "hello"\n\nnode2  nothing\n' in told.stdout
    file = tmp_path / "r.json"
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": [1], "b": "é"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".json") == ["r.json"]


def test_a_check_writes_no_report(tmp_path: Path) -> None:
    assert play(tmp_path, report(path="r.json", content={}), "--check").returncode == 0
    assert not (tmp_path / "r.json").exists()


def test_a_report_that_can_not_be_written_fails_no_run(tmp_path: Path) -> None:
    told = play(tmp_path, report(path="nowhere/r.json", content={}))
    assert told.returncode == 0 and "could not be written to" in told.stdout + told.stderr


@pytest.mark.parametrize(("ends", "code"), [("ok", 0), ("failed", 2), ("unreachable", 4)])
def test_how_a_report_ends_is_the_exit_code(tmp_path: Path, ends: str, code: int) -> None:
    told = play(tmp_path, report(ends=ends, path="r.json", content={"state": ends}))
    assert told.returncode == code and "node2  nothing" in told.stdout
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {"state": ends}


def test_the_variable_wins_over_an_inventory_that_becomes(tmp_path: Path) -> None:
    """The keyword loses, which is why there is a rule against it."""
    asked = {"name": "Who", "ansible.builtin.command": "id -un"}
    inventory = tmp_path / "inventory.yml"
    # a sudo that is none: whoever uses it fails
    given = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": "/bin/false"}
    given |= {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"all": {"hosts": {"node1": given}}}), encoding="utf-8")
    for words, code in (({"become": False}, 2), ({"vars": {"ansible_become": False}}, 0)):
        (tmp_path / "p.yml").write_text(
            yaml.safe_dump([{"name": "x", "hosts": "all", "gather_facts": False, "tasks": [{**asked, **words}]}]),
            encoding="utf-8",
        )
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(tmp_path / "p.yml")]
        assert subprocess.run(argv, capture_output=True, check=False).returncode == code, words


@pytest.mark.parametrize(
    ("environment", "own", "expected"),
    [
        ({}, {}, f"-C -o ControlMaster=auto -o ControlPersist=60s {KEEP_ALIVE}"),
        ({"ANSIBLE_SSH_ARGS": "-o A=b"}, {}, f"-o A=b {KEEP_ALIVE}"),
        ({"ANSIBLE_SSH_ARGS": "-o A=b"}, {"ansible_ssh_args": "-J bastion"}, f"-J bastion {KEEP_ALIVE}"),
        ({}, {"ansible_ssh_args": ""}, KEEP_ALIVE),
    ],
)
def test_the_keep_alive_is_added(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    own: dict[str, str],
    expected: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    book = {
        "name": "x",
        "hosts": "all",
        "gather_facts": False,
        "vars": {"ansible_ssh_args": "{{ lookup('rspm.ha.ssh_args') }}"},
        "tasks": [{"name": "Show", "rspm.ha.report": {"lines": ["<{{ ansible_ssh_args }}>"]}}],
    }
    (tmp_path / "p.yml").write_text(yaml.safe_dump([book]), encoding="utf-8")
    (tmp_path / "i.yml").write_text(json.dumps({"all": {"hosts": {"node1": own}}}), encoding="utf-8")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(COLLECTIONS))
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "i.yml", "p.yml"]
    told = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"\n<{expected}>\n" in told.stdout, told.stdout + told.stderr


def found(verb: str, **values: Any) -> list[str]:
    """Return what is wrong with the paths of one host."""
    given: Mapping[str, Given] = {name: Given(value) for name, value in values.items()}
    return [f"{fault.subject}: {fault.found}" for fault in path_faults(verb, {"node1": given})]


def test_paths_are_those_of_where_the_command_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hook.yml").touch()
    (tmp_path / "rspm.deb").touch()
    package = {"rspm_package_source": "file", "rspm_package_file": "rspm.deb"}
    hooks = {"before_lock": ["hook.yml", "~/hook.yml"], "after_lock": "hook.yml"}
    assert found("upgrade", rspm_report_file="r.json", rspm_upgrade_hooks=hooks, **package) == []
    assert found("migrate_to_single_node", rspm_migration_inventory="new") == []
    assert found("status", rspm_status_file="") == []


@pytest.mark.parametrize(
    ("verb", "values", "says"),
    [
        ("upgrade", {"rspm_report_file": "nowhere/r.json"}, "there is no folder {here}/nowhere"),
        ("rollback", {"rspm_report_file": "nowhere/r.json"}, "there is no folder {here}/nowhere"),
        ("upgrade", {"rspm_report_file": "."}, "{here} is a folder"),
        ("status", {"rspm_status_file": "nowhere/r.json"}, "there is no folder {here}/nowhere"),
        ("migrate_to_single_node", {"rspm_migration_inventory": "file"}, "{here}/file is no folder"),
        ("migrate_to_single_node", {"rspm_migration_inventory": "a/b"}, "there is no folder {here}/a"),
        (
            "upgrade",
            {"rspm_upgrade_hooks": {"before_lunch": []}},
            "before_lunch belongs to no phase, and would never run",
        ),
        ("upgrade", {"rspm_upgrade_hooks": {"before_lock": ["a.yml"]}}, "before_lock: {here}/a.yml is no file"),
        ("site", {"rspm_package_source": "file", "rspm_package_file": "x.deb"}, "{here}/x.deb can't be read"),
    ],
)
def test_paths_that_can_not_be_are_told_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, values: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (subject,) = [name for name in values if name != "rspm_package_source"]
    assert found(verb, **values) == [f"{subject}: {says.format(here=tmp_path)}"]
    # another verb does not need it
    assert found("unlock", **values) == []


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (str(path) == str(tmp_path) and mode & os.W_OK))
    assert found("status", rspm_status_file=f"{tmp_path}/s.json") == [f"rspm_status_file: {tmp_path} can't be written"]


def test_a_process_that_is_hidden_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not lock_host.is_hidden(os.getpid())
    monkeypatch.setattr(lock_host, "_stat", lambda _pid: [])

    def kill(_pid: int, _number: int) -> None:
        raise PermissionError

    # one that has other rights may be signalled, and is hidden all the same
    assert lock_host.is_hidden(os.getpid())
    assert not lock_host.is_hidden(2**22 + 1) and not lock_host.is_hidden(0)
    monkeypatch.setattr(os, "kill", kill)
    assert lock_host.is_hidden(7) and not lock_host.is_hidden(0)
