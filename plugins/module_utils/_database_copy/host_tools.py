# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a copy needs on the host: one run at a time, PostgreSQL's tools, a folder for the dump, no leftovers."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.failure import CHECK, tool_failed
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import Tools, parse_major
from ansible_collections.rspm.ha.plugins.module_utils._postgres.client_tools import password_file, tool_environment
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import load_tool_options
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database

# on a file system that no reboot keeps: the passwords lie here
RUN_FOLDER = "/run/rspm-ha-database-copy"
_PREFIX = "rspm-ha-copy-"
_TIMEOUT = 24 * 3600.0
_QUICK = 60.0
_TOOLS = ("pg_dump", "pg_restore", "timeout")
# where distributions and PostgreSQL's own packages put the tools of each version
_TOOL_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin", "/usr/bin")
# a server that lost its power must not be waited for
_KEEPALIVE = "keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000"


@dataclass(frozen=True)
class WorkFolder:
    """The folder of this run, below work_path; host: name of this host, for a person."""

    runner: Runner
    work_path: str
    folder: str
    host: str

    def dump(
        self, tools: Tools, database: Database, name: str, words: list[str], jobs: int, folder: str, address: str
    ) -> None:
        """Dump a database into a folder of this run. address: for a person."""
        # it is read once, from a local disk, so good compression gains little
        shape = ["--format=directory", "--compress=1", "--no-sync", f"--jobs={jobs}", f"--file={self.folder}/{folder}"]
        self._run(tools, "pg_dump", database, name, [*shape, *words], address)

    def listed(self, tools: Tools, folder: str) -> str:
        """Return what a dump holds, as pg_restore lists it."""
        path = f"{self.folder}/{folder}"
        done = self.runner([f"{tools.folder}/pg_restore", "--list", path], timeout=_QUICK)
        if done.rc != 0:
            raise DomainError(tool_failed("pg_restore", done.rc, done.stderr, self.work_path, self.host, path))
        return done.stdout

    def restore(
        self, tools: Tools, database: Database, name: str, chosen: str, jobs: int, folder: str, address: str
    ) -> None:
        """Restore what is chosen of a dump, nothing of it as somebody else's. address: for a person."""
        path = f"{self.folder}/{folder}.list"
        write_file(path, chosen, 0o600, os.geteuid(), os.getegid())
        words = ["--exit-on-error", "--no-owner", "--no-acl", f"--jobs={jobs}", f"--use-list={path}"]
        self._run(tools, "pg_restore", database, name, [*words, f"{self.folder}/{folder}"], address)

    def remove(self, folder: str) -> None:
        """Remove a dump, so that the next one has its room."""
        shutil.rmtree(f"{self.folder}/{folder}")

    def _run(self, tools: Tools, tool: str, database: Database, name: str, words: list[str], address: str) -> None:
        text = password_file(database.user, database.password)
        secret = f"{RUN_FOLDER}/pgpass"
        write_file(secret, text, 0o600, os.geteuid(), os.getegid())
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        argv = [f"{tools.folder}/{tool}", f"--dbname=dbname='{quoted}' {_KEEPALIVE}", *words]
        environment = tool_environment(database, secret, load_tool_options(database))
        done = self.runner(argv, timeout=_TIMEOUT, env=environment)
        if done.rc != 0:
            raise DomainError(tool_failed(tool, done.rc, done.stderr, self.work_path, self.host, address))


def load_tools(runner: Runner) -> list[Tools]:
    """Return PostgreSQL's tools on this host, without the wrappers that choose one by themselves."""
    found: dict[str, Tools] = {}
    for pattern in _TOOL_FOLDERS:
        for folder in glob.glob(pattern):
            real = os.path.realpath(f"{folder}/pg_dump")
            if not os.access(real, os.X_OK) or real.endswith("/pg_wrapper"):
                continue
            versions = [runner([f"{folder}/{tool}", "--version"], timeout=_QUICK) for tool in _TOOLS[:2]]
            majors = {parse_major(shown.stdout) for shown in versions if shown.rc == 0}
            if len(majors) == 1 and all(shown.rc == 0 for shown in versions):
                found.setdefault(real, Tools(folder, majors.pop()))
    return list(found.values())


def free_bytes(work_path: str) -> int:
    """Return the free bytes of the file system of work_path. Raises DomainError where there is no such folder."""
    try:
        return shutil.disk_usage(work_path).free
    except OSError as error:
        raise DomainError(
            Problem(
                CHECK,
                f"work_path {work_path} can not be used ({error.strerror})",
                "The dump lies there until it is restored",
                f"Create it: mkdir -p -m 0700 {work_path}, or set work_path to a folder that exists",
            )
        ) from error


@contextmanager
def work_folder(runner: Runner, work_path: str, host: str) -> Iterator[WorkFolder]:
    """Give a folder that is removed afterwards, on a host on which no other copy runs; what a dead run left goes."""
    make_folder(RUN_FOLDER, 0o700)
    held = os.open(RUN_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DomainError(
                Problem(
                    CHECK,
                    f"another copy of databases runs on {host}",
                    "Two would fill the same databases",
                    "Wait until it has ended (pgrep -af database_copy), and run the same command again",
                )
            ) from error
        _remove_leftovers(work_path)
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=work_path)
        try:
            yield WorkFolder(runner, work_path, folder, host)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(FileNotFoundError):
                os.unlink(f"{RUN_FOLDER}/pgpass")
    finally:
        os.close(held)


def _remove_leftovers(work_path: str) -> None:
    """End the tools that a killed run left at work, and remove its folders. Only what this user started and made."""
    prefix = f"{work_path.rstrip('/')}/{_PREFIX}"
    for path in glob.glob("/proc/[0-9]*"):
        with suppress(OSError):
            if os.stat(path).st_uid != os.geteuid():
                continue
            with open(f"{path}/cmdline", "rb") as file:
                argv = file.read().decode("utf-8", "surrogateescape").split("\0")
            if os.path.basename(argv[0]) in _TOOLS and any(prefix in word for word in argv):
                os.kill(int(os.path.basename(path)), signal.SIGKILL)
    for path in glob.glob(f"{glob.escape(prefix)}*"):
        if os.path.isdir(path) and os.lstat(path).st_uid == os.geteuid():
            shutil.rmtree(path)
