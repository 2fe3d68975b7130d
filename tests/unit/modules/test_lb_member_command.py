# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of a team's own command for its load balancer, whose arguments may be secret."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.modules import lb_member
from tests.conftest import COLLECTIONS
from tests.unit.worlds.module_run import run_module

run = partial(run_module, lb_member)
SECRET = "tok3n-of-the-team"


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", f"echo no such pool, {SECRET} >&2; exit 3"],
        ["sh", "-c", 'echo "no such pool, $0 ${1#*=}" >&2; exit 3', SECRET, f"--password={SECRET}"],
        ["sh", "-c", "echo no such pool; sleep 9", f"https://me:{SECRET}@balancer/"],
        ["/nowhere/pool-member", SECRET],
    ],
)
def test_no_argument_of_a_teams_command_is_told(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _module, text, **_more: logged.append(str(text)))
    result = run_module(
        lb_member, {"node": "n1", "state": "drain", "command": command, "timeout": 1, "_ansible_no_log": True}
    )
    result.pop("invocation", None)  # Ansible's own, which no_log keeps to itself
    assert result["failed"] is True and f"{command[0]}, which is to bring n1 to drain" in result["msg"]
    assert SECRET not in str(result) + " ".join(logged)


def test_the_task_that_runs_a_teams_command_shows_none_of_it(tmp_path: Path) -> None:
    tasks = Path(__file__).parents[3] / "roles" / "load_balancer" / "tasks" / "member.yml"
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {
                "rspm_load_balancer_command": ["sh", "-c", "echo no such pool >&2; exit 3", SECRET],
                "load_balancer_member_state": "drain",
                "rspm_load_balancer_drain_timeout": 5,
                "ansible_python_interpreter": sys.executable,
            },
            "tasks": [{"ansible.builtin.import_tasks": str(tasks)}],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-vvv", "-c", "local", "-i", "localhost,", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "ended with 3" in done.stdout
    assert SECRET not in done.stdout + done.stderr
