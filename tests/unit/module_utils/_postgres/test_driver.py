# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where psycopg2 comes from: another Python of the host, or nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.rspm.ha.plugins.module_utils._postgres import host, rules
from ansible_collections.rspm.ha.plugins.modules import database_login, database_sessions
from tests.unit.worlds.postgres_logins import PASSWORD, Server, needs_postgres

REPOSITORY = Path(__file__).resolve().parents[4]
SYSTEM = "/usr/bin/python3"
LOGIN = {"name": "main", "usage_name": "main", "schema": "", "usage_schema": "", "user": "pm", "password": PASSWORD}


def has_psycopg2(python: str) -> bool:
    return os.path.exists(python) and subprocess.run([python, "-c", "import psycopg2"], check=False).returncode == 0


def run_ansible(folder: Path, port: int, **changes: Any) -> dict[str, Any]:
    """Run database_login by a Python that has nothing but its standard library."""
    python = folder / "bare/bin/python"
    venv.create(folder / "bare", with_pip=False)
    arguments = {"database": {**LOGIN, "host": "127.0.0.1", "port": port, **changes}}
    words = ["localhost", "-c", "local", "-m", "rspm.ha.database_login", "-a", json.dumps(arguments)]
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            *words,
            "-e",
            f"ansible_python_interpreter={python}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".cache" / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
        },
    )
    assert "canary" not in done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("=>")[2] or "{}")
    assert found, done.stdout + done.stderr
    return found


@needs_postgres
@pytest.mark.skipif(not has_psycopg2(SYSTEM), reason="needs python3-psycopg2")
def test_a_module_goes_on_in_the_python_that_has_psycopg2(server: Server, tmp_path: Path) -> None:
    # it is the machine's own libpq as well
    assert run_ansible(tmp_path, server.port)["server_version"] >= 130000
    wrong = run_ansible(tmp_path, server.port, password="wrong")
    assert [problem["check"] for problem in wrong["problems"]] == ["database-password"]
    weak = run_ansible(tmp_path, server.port, user="clear")
    assert [problem["check"] for problem in weak["problems"]] == ["database-weak-password"]
    nowhere = run_ansible(tmp_path, server.port, host="db.invalid")
    assert nowhere["problems"][0]["found"].startswith("The name db.invalid can't be resolved")


@pytest.fixture
def without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "HAS_DRIVER", False)
    monkeypatch.setattr(host, "_PYTHONS", ("/nowhere/python3",))


@pytest.mark.usefixtures("without_driver")
def test_where_no_python_has_it_nothing_is_begun(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {key: LOGIN[key] for key in ("user", "password")}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (database_login, {"database": {**LOGIN, "host": "127.0.0.1"}}),
        (database_sessions, {**arguments, "host": "127.0.0.1", "databases": ["main"]}),
    ]
    for module, given in calls:
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        result = json.loads(capsys.readouterr().out)
        assert result["failed"] is True and result["problems"][0]["check"] == "database-driver"
        assert "the playbook site, which installs" in result["msg"] and "canary" not in result["msg"]


def test_without_psycopg2_the_port_is_tried(server: Server) -> None:
    assert host.try_port("127.0.0.1", server.port, {}, 5) == (rules.NO_DRIVER, "")
    assert host.try_port("127.0.0.1", 1, {}, 5) == (rules.REFUSED, "")
    assert host.try_port("db.invalid", 1, {}, 5)[0] == rules.NAME_NOT_FOUND
    several = {"host": "127.0.0.1,127.0.0.1", "port": f"1,{server.port}"}
    assert host.try_port("db.invalid", 1, several, 5) == (rules.NO_DRIVER, "")
