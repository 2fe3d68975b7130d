# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks that give a password to a module without `no_log`: whatever way the module fails, it is not printed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rules.task_rules import HIDING

ROOT = Path(__file__).resolve().parents[3]
CANARY = "canary-"
# Of one value alone all would be hidden wherever one option of the module hides it.
SECRETS = {
    "given_password": f"{CANARY}Zx9",
    "given_licence": f"{CANARY}Qw4",
    "given_key": f"{CANARY}Hu2",
    "given_setting": f"{CANARY}Lp7",
}
BASIC = "from ansible.module_utils.basic import AnsibleModule\n"
SPEAKING = """
from ansible.module_utils.basic import AnsibleModule as _Basic


class AnsibleModule(_Basic):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        {}
"""
# What is planted in place of the import of AnsibleModule; the word that the failure then has.
WAYS = {
    "it crashes before it reads its arguments": (f"raise RuntimeError('planted')\n{BASIC}", "planted"),
    "it crashes with its arguments read": (SPEAKING.format("raise RuntimeError('planted')"), "planted"),
    "it says what it was given": (SPEAKING.format("self.fail_json(msg=f'planted {self.params}')"), "planted"),
    "its arguments are refused": (BASIC, "Unsupported parameters"),
}
CONNECTION = {"host": "127.0.0.1", "port": 1, "user": "u", "password": "{{ given_password }}", "sslmode": "disable"}
BOTH = {**CONNECTION, "name": "a", "usage_name": "b"}
SESSIONS = {**CONNECTION, "databases": ["a"]}
CONFIGURED = {
    "data_dir": "/nowhere",
    "encryption_key": "{{ given_key }}",
    "config": {"Storage": {"S3SecretKey": "{{ given_setting }}"}},
}
GIVEN: dict[str, dict[str, Any]] = {
    "rspm.ha.database_copy": {"source": BOTH, "target": BOTH},
    "rspm.ha.database_login": {"database": BOTH},
    "rspm.ha.database_sessions": SESSIONS,
    "rspm.ha.node_licence": {"key": "{{ given_password }}", "content": "{{ given_licence }}"},
    "rspm.ha.node_migrate": {
        "version": "2026.08.0",
        "record_path": "/nowhere",
        "source": BOTH,
        "target": BOTH,
        "lock": {"path": "/nowhere", "uid": 1, "gid": 1, "run_id": "r", "holder": "h"},
        "configuration": {**CONFIGURED, "database": BOTH},
    },
    "rspm.ha.node_stop": {"database": SESSIONS},
    "rspm.ha.node_upgrade": {"version": "2026.08.0", "database": SESSIONS},
    "rspm.ha.restore_point": {"path": "/nowhere", "state": "observed", "database": BOTH},
    "rspm.ha.server_config": {**CONFIGURED, "database": BOTH},
}


def run(folder: Path, planted: str, refused: dict[str, Any]) -> str:
    """Run each module of HIDING in a copy of the collection, and return all that is printed at the highest level."""
    collection = folder / "ansible_collections" / "rspm" / "ha"
    shutil.copytree(ROOT / "plugins", collection / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "meta", collection / "meta")
    shutil.copy(ROOT / "galaxy.yml", collection)
    tasks = []
    for name, hiding in HIDING.items():
        module = collection / "plugins" / "modules" / f"{name.rpartition('.')[2]}.py"
        text = module.read_text("utf-8")
        assert BASIC in text
        module.write_text(text.replace(BASIC, planted, 1), "utf-8")
        assert all("{{ given_" in str(GIVEN[name][option]) for option in hiding)
        tasks.append({"name": f"Run {name}", name: {**GIVEN[name], **refused}, "ignore_errors": True})
    tasks.append({"name": "End", "ansible.builtin.fail": {"msg": "the end"}})
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    (folder / "vars.json").write_text(json.dumps({**SECRETS, "ansible_python_interpreter": sys.executable}))
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-playbook"), "-i", "node1,", "-c", "local", "-vvvvv"),
            *("-e", "@vars.json", "play.yml"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(folder),
            "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    assert '"msg": "the end"' in done.stdout, done.stdout
    return done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_no_module_that_fails_tells_a_secret(tmp_path: Path, way: str) -> None:
    planted, word = WAYS[way]
    output = run(tmp_path, planted, {"no_such_option": 1} if planted == BASIC else {})
    assert CANARY not in output
    failures = output.split("fatal: ")[1:-1]
    assert len(failures) == len(HIDING)
    assert all(word in failure for failure in failures), output
