# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is killed in the middle of a restore, the database holds one whole content: the old one or the saved one."""

from __future__ import annotations

import multiprocessing
import os
import random
import shlex
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.host import Candidate
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host import Store
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from tests.unit.worlds.postgres_server import BINARIES, needs_server, postgres
from tests.unit.worlds.restore_points import Server, bare, create, filled, node_files, store_of

pytestmark = needs_server

RESTORES = 20
# psql ends with this for a statement, and with another for a server that does not answer
SQL_ERROR = 3
VICTIMS = ("module", "psql", "pg_restore", "backend", "server")
# what is killed when it is at work; in any other case the transaction has begun
SIGNS = {"pg_restore": "--single-transaction"}
SAVED = """\
SET ROLE pm;
CREATE TABLE long AS SELECT 'saved' || md5(i::text) AS v FROM generate_series(1, 50000) i;
CREATE INDEX by_v ON long (v);
"""
MOVED = """\
SET ROLE pm;
DROP TABLE IF EXISTS long;
CREATE TABLE newer AS SELECT 'moved' || md5(i::text) AS v FROM generate_series(1, 5000) i;
ALTER TABLE package ADD COLUMN added text;
"""
CONTENT = """\
SELECT count(*) FROM package; SELECT count(*) FROM own.version;
SELECT md5(string_agg(attrelid::regclass || attname, ',' ORDER BY relname, attname))
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
  WHERE relnamespace IN ('public'::regnamespace, 'own'::regnamespace) AND attnum > 0 AND relkind IN ('r', 'i');
"""


def content_of(server: Server) -> str:
    """Return what is in the database, as soon as the server answers again."""
    deadline = time.monotonic() + 20
    while True:
        try:
            found = server.sql(CONTENT, "main")
            table = "long" if server.sql("SELECT to_regclass('public.long')", "main") else "newer"
            return found + server.sql(f"SELECT count(*), md5(string_agg(v, ',' ORDER BY v)) FROM {table}", "main")
        except subprocess.CalledProcessError as error:
            if error.returncode == SQL_ERROR:
                return "tables that are missing"
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def below(ancestor: int) -> dict[int, str]:
    """Return the processes that a process has started, and those that they have, by pid with their command line."""
    parents, lines = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            # the line first: a process may end between the two
            lines[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    grown = True
    while grown:
        new = {pid: lines[pid] for pid, parent in parents.items() if (parent == ancestor or parent in found)}
        grown = len(new) > len(found)
        found = new
    return found


def alive(pid: int) -> bool:
    """Tell whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def kill(server: Server, module: int, victim: str) -> None:
    """Kill one of those that take part, where it is there at the moment."""
    postmaster = int((server.folder / "data/postmaster.pid").read_text().split()[0])
    if victim == "module":
        pids = [module]
    elif victim == "server":
        pids = [postmaster, *below(postmaster)]
    elif victim == "backend":
        pids = [pid for pid, line in below(postmaster).items() if line.startswith("postgres: pm main")]
    else:
        pids = [pid for pid, line in below(module).items() if os.path.basename(line.split(" ")[0]) == victim]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim == "server":
        deadline = time.monotonic() + 10
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)
        data = server.folder / "data"
        # whoever is the first process here may leave the killed one as a zombie, which counts as alive
        (data / "postmaster.pid").unlink()
        (server.folder / f".s.PGSQL.{server.port}.lock").unlink()
        given = " ".join(shlex.split((data / "postmaster.opts").read_text())[3:])
        argv = [str(BINARIES[-1].parent / "pg_ctl"), "-D", str(data), "-w", "-l", str(server.folder / "log")]
        postgres(*argv, "-o", given, "start")


def restore(store: Store) -> None:
    store.restore(store.read())


def test_what_is_killed_leaves_one_whole_content(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(17)
    forked = multiprocessing.get_context("fork")
    with bare() as made, filled(made) as server, node_files(monkeypatch) as node:

        def private(self: Candidate, _account: str, ids: tuple[int, int]) -> None:
            # what is killed can't remove it
            self._ids = ids
            self.folder = tempfile.mkdtemp(dir=node)

        monkeypatch.setattr(Candidate, "__init__", private)
        server.sql(SAVED, "main")
        store = store_of(server, node)
        saved = content_of(server)
        create(store)
        server.sql(MOVED, "main")
        moved = content_of(server)
        begun = time.monotonic()
        restore(store)
        lasts = time.monotonic() - begun
        found = content_of(server)
        assert found == saved != moved
        ends = []
        for number in range(RESTORES):
            if found == saved:
                server.sql(MOVED, "main")
            victim = VICTIMS[number % len(VICTIMS)]
            module = forked.Process(target=restore, args=(store,))
            begun = time.monotonic()
            module.start()
            assert module.pid
            sign = SIGNS.get(victim, "ON_ERROR_STOP")
            while module.is_alive() and not any(sign in line for line in below(module.pid).values()):
                module.join(0.02)
            module.join(chance.uniform(0.0, 0.25) * lasts)
            kill(server, module.pid, victim)
            module.join(60)
            if not module.exitcode:
                # the first one may have been the slowest: the next are to be met at work
                lasts = min(lasts, time.monotonic() - begun)
            found = content_of(server)
            assert found in (saved, moved), f"{victim} was killed in restore {number}, which left {found}"
            ends.append((victim, module.exitcode, "saved" if found == saved else "moved"))
        cut = [end for _victim, code, end in ends if code]
        assert len(cut) > RESTORES // 3 and "moved" in cut, ends
        assert store.read().state is RestoreState.RESTORING or ends[-1][1] == 0
        restore(store)
        assert content_of(server) == saved and store.read().state is RestoreState.RESTORED
