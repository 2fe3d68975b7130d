# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps databases from being copied, what cuts it off, and the old ones afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host, host_tools
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import connect
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import Credentials
from tests.unit.worlds.database_copy_servers import Server, run_copy, succeed
from tests.unit.worlds.postgres_server import SECRET, needs_server

pytestmark = needs_server


def test_a_foreign_target_is_refused_by_name(servers: tuple[Server, Server], tmp_path: Path) -> None:
    target = servers[1]
    target.sql("CREATE TABLE somebodys (v text)", "usage")
    for check in (True, False):
        refused = run_copy(servers, tmp_path, _ansible_check_mode=check)
        assert "/usage is not empty: it has public.somebodys" in refused["msg"]
        assert 'DROP DATABASE "usage"' in refused["problems"][0]["fix"]
    # the other one was not begun either
    assert succeed(servers, tmp_path, state="observed")["target_state"] == "foreign"
    assert target.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "main") == "0"


SCRIPT = """\
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.rspm.ha.plugins.module_utils._database_copy import host_tools
from ansible_collections.rspm.ha.plugins.modules import database_copy
arguments, host_tools.RUN_FOLDER = json.load(sys.stdin), sys.argv[1]
with patch_module_args(arguments):
    database_copy.main()
"""


def test_killed_in_the_restore_the_next_run_does_it_again(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = servers
    source.sql(
        "SET ROLE pm; CREATE TABLE large AS SELECT i, md5(i::text) FROM generate_series(1, 400000) i;"
        "CREATE INDEX a ON large (md5); CREATE INDEX b ON large (i, md5); CREATE INDEX c ON large (md5, i)",
        "main",
    )
    arguments = {"source": source.option(), "target": target.option(), "work_path": str(tmp_path), "jobs": 2}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, host_tools.RUN_FOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdin
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    deadline = time.monotonic() + 60
    observed = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'main' AND query LIKE 'CREATE INDEX%'"
    while target.sql(observed) == "0":
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(os.listdir(tmp_path)) == 1 and os.listdir(host_tools.RUN_FOLDER) == ["pgpass"]
    redone = succeed(servers, tmp_path)
    assert redone["before_state"] == "ours_unfinished" and redone["target_state"] == "ours_finished"
    assert [one["action"] for one in redone["databases"]] == ["replace", "fill"]
    assert not succeed(servers, tmp_path)["changed"]


def test_what_an_earlier_copy_still_does_in_the_target_is_ended(servers: tuple[Server, Server], tmp_path: Path) -> None:
    late = connect("127.0.0.1", servers[1].port, Credentials("pm", "main", SECRET), "disable", 10)
    late.query("BEGIN; CREATE TABLE late (v int)")
    succeed(servers, tmp_path)
    with pytest.raises(Exception, match=r"57P01|closed the connection"):
        late.query("COMMIT")
    late.close()


@pytest.mark.parametrize("side", [0, 1])
def test_a_session_of_the_role_keeps_it_from_copying(servers: tuple[Server, Server], tmp_path: Path, side: int) -> None:
    other = connect("127.0.0.1", servers[side].port, Credentials("pm", "usage", SECRET, "rstudio-pm"), "disable", 10)
    refused = run_copy(servers, tmp_path)
    other.close()
    assert refused["problems"][0]["check"] == "database-sessions" and "rstudio-pm from 127.0.0.1" in refused["msg"]
    assert servers[1].sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "main") == "0"


def test_the_old_databases_become_read_only(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source = servers[0]

    def writes() -> bool:
        node = connect("127.0.0.1", source.port, Credentials("pm", "usage", SECRET, "node"), "disable", 10)
        try:
            node.query("INSERT INTO download VALUES ('x', now()); DELETE FROM download WHERE name = 'x'")
        except Exception as error:
            assert "25006" in str(error)
            return False
        finally:
            node.close()
        return True

    assert succeed(servers, tmp_path, state="retired", _ansible_check_mode=True)["changed"] and writes()
    time.sleep(0.1)
    node = connect("127.0.0.1", source.port, Credentials("pm", "usage", SECRET, "node"), "disable", 10)
    assert "node from 127.0.0.1" in run_copy(servers, tmp_path, state="retired")["msg"] and writes()
    node.close()
    time.sleep(0.1)
    retired = succeed(servers, tmp_path, state="retired")
    assert retired["changed"] and retired["removal_commands"] == ['DROP DATABASE "main";', 'DROP DATABASE "usage";']
    assert not writes() and not succeed(servers, tmp_path, state="retired")["changed"]
    succeed(servers, tmp_path)


def test_a_source_that_a_new_session_still_writes_to_is_told(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source = {**servers[0].option(), "options": {"options": "-c default_transaction_read_only=off"}}
    refused = run_copy(servers, tmp_path, state="retired", source=source)
    assert "/main is able to write" in refused["msg"]


def test_what_can_not_work_is_refused_before_anything_changes(servers: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = servers
    same = run_copy((source, source), tmp_path)
    assert "are the same database" in same["msg"]
    target.sql("ALTER DATABASE main OWNER TO postgres")
    assert 'ALTER DATABASE "main" OWNER TO "pm"' in run_copy(servers, tmp_path)["problems"][0]["fix"]
    target.sql("DROP DATABASE main;\nCREATE DATABASE main OWNER pm TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    assert "has the encoding LATIN1" in run_copy(servers, tmp_path)["msg"]
    target.sql("DROP DATABASE main")
    assert "has no database main" in run_copy(servers, tmp_path)["msg"]
    predicted = succeed(servers, tmp_path, _ansible_check_mode=True)
    assert predicted["changed"] and predicted["before_state"] == "absent"
    assert "has no database main" in predicted["target_problem"]


def test_a_full_disk_is_told(servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = servers
    # each run of pytest that begins meanwhile closes the folder of all runs to the server's account
    folder = Path(tempfile.mkdtemp(prefix="rspm-small-"))
    folder.chmod(0o755)
    small = folder / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        source.sql("SET ROLE pm; CREATE TABLE large AS SELECT md5(i::text) FROM generate_series(1, 300000) i", "main")
        refused = run_copy(servers, small)
        assert "bytes free" in refused["msg"] and "work_path" in refused["problems"][0]["fix"]
        with monkeypatch.context() as patch:
            patch.setattr(host, "free_bytes", lambda _path: 1 << 40)
            refused = run_copy(servers, small)
        assert f"{small} on {socket.gethostname()} is full" in refused["msg"]
        subprocess.run(["mount", "-o", "remount,size=14m", str(small)], check=True)
        shutil.chown(small, "postgres", "postgres")
        small.chmod(0o700)
        target.sql(f"CREATE TABLESPACE small LOCATION '{small}'")
        target.sql("ALTER DATABASE main SET TABLESPACE small")
        work = tmp_path / "work"
        work.mkdir()
        refused = run_copy(servers, work)
        assert f"127.0.0.1:{target.port}/main is full" in refused["msg"] and "No space left" in refused["msg"]
        assert source.sql("SELECT count(*) FROM large", "main") == "300000"
        target.drop()
        target.sql("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
        shutil.rmtree(folder)
