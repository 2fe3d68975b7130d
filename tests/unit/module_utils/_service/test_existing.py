# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine that ran a server of its own does not lose it by becoming a node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import parse
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._service.existing import (
    ExistingServer,
    ServerData,
    judge_existing,
    server_data,
)
from ansible_collections.rspm.ha.plugins.module_utils._service.host_existing import keep_copy, load_existing

CLUSTER = ServerData("db:5432/rstudio_pm", "/mnt/rstudio-pm/data", "/x", "/etc/rstudio-pm/rstudio-pm.key")
SQLITE = ServerData("sqlite", "/var/lib/rstudio-pm", "/var/lib/rstudio-pm/db", "/var/lib/rstudio-pm/rstudio-pm.key")
OWN_DATABASE = ServerData("other:5432/pm", CLUSTER.data_dir, "", "")
MOVED_IN = ServerData(CLUSTER.database, CLUSTER.data_dir, "", "")
FILES = ("rstudio-pm.sqlite3",)


@pytest.mark.parametrize(
    ("existing", "told"),
    [
        # installed and never started: what the package's own configuration says is no choice of anybody
        (ExistingServer(SQLITE, ours=False, running=False), ""),
        (ExistingServer(SQLITE, ours=False, running=True), "SQLite in /var/lib/rstudio-pm/db"),
        (ExistingServer(SQLITE, ours=False, running=False, sqlite_files=FILES), "SQLite in /var/lib/rstudio-pm/db"),
        # a single node of this collection whose inventory grew
        (ExistingServer(SQLITE, ours=True, running=True, sqlite_files=FILES), "SQLite in /var/lib/rstudio-pm/db"),
        (ExistingServer(OWN_DATABASE, ours=False, running=True), "its database is other:5432/pm"),
        (ExistingServer(OWN_DATABASE, ours=True, running=True), ""),
        (ExistingServer(MOVED_IN, ours=False, running=True), ""),
        (ExistingServer(MOVED_IN, ours=False, running=True, key="own\n"), "its encryption key"),
        (ExistingServer(MOVED_IN, ours=False, running=True, key="cluster\n"), ""),
        (ExistingServer(MOVED_IN, ours=True, running=True, key="own\n"), ""),
        (
            ExistingServer(ServerData(CLUSTER.database, "/srv/pm", "", ""), ours=False, running=True),
            "its data is in /srv/pm",
        ),
    ],
)
def test_a_server_of_its_own_is_refused(existing: ExistingServer, told: str) -> None:
    problems = judge_existing(existing, CLUSTER, "cluster")
    assert [problem.check for problem in problems] == (["single-server"] if told else [])
    for problem in problems:
        assert told in problem.found
        assert "bin/migrate" in problem.fix and "another machine" in problem.fix
        assert "own" not in problem.found.partition(": ")[2]


def test_one_that_stays_on_sqlite_is_no_problem() -> None:
    wanted = ServerData("sqlite", SQLITE.data_dir, SQLITE.sqlite_dir, SQLITE.key_path)
    assert judge_existing(ExistingServer(SQLITE, ours=False, running=True, key="k"), wanted, "") == []


def test_the_vendors_defaults_count() -> None:
    assert server_data(parse("")) == SQLITE
    text = '[Database]\nProvider = Postgres\n[Postgres]\nURL = "postgres://u@db/pm?sslmode=require"\n'
    assert server_data(parse(text)).database == "db:5432/pm"
    assert server_data(parse("[Server]\nDataDir = /srv/pm/\n")).sqlite_dir == "/srv/pm/db"


def test_a_server_is_read_from_its_host(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db/rstudio-pm.sqlite3").touch()
    (tmp_path / "rstudio-pm.key").write_text("k")

    def run(argv: list[str], **_given: Any) -> CompletedCommand:
        if "systemctl" in argv:
            return CompletedCommand(0, "LoadState=loaded\nMainPID=0\n", "")
        shown = "\n".join(os.listdir(argv[-1])) if "ls" in argv else Path(argv[-1]).read_text()
        return CompletedCommand(0, shown, "")

    found = load_existing(run, f"[Server]\nDataDir = {tmp_path}\n", False)
    assert found is not None
    assert (found.running, found.sqlite_files, found.key) == (False, FILES, "k")
    assert load_existing(run, None, False) is None
    assert load_existing(run, "no gcfg", False) is None


def test_a_replaced_configuration_is_kept_twice_at_most(tmp_path: Path) -> None:
    config = tmp_path / "rstudio-pm.gcfg"
    config.write_text("theirs")
    config.chmod(0o640)
    keep_copy(str(config), False)
    for text in ("ours 1", "ours 2", "ours 3"):
        config.write_text(text)
        keep_copy(str(config), True)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir() if path != config}
    assert kept == {"rstudio-pm.gcfg.original": "theirs", "rstudio-pm.gcfg.previous": "ours 3"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
    keep_copy(str(config), False)
    assert (tmp_path / "rstudio-pm.gcfg.original").read_text() == "theirs"


def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    keep_copy(str(tmp_path / "absent"), False)
    assert list(tmp_path.iterdir()) == []
