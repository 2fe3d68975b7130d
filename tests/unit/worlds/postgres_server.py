# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server of a test's own, without databases."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
needs_server = pytest.mark.skipif(
    not BINARIES or os.geteuid() != 0 or not shutil.which("pg_dump"),
    reason="needs root and a PostgreSQL server: apt-get install postgresql",
)
ACCOUNT = "postgres"
SECRET = "canary:pass\\word 'x'"


def postgres(*argv: str, text: str | None = None) -> str:
    """Run a command of the server's, which refuses to run as root."""
    words = ["runuser", "-u", ACCOUNT, "--"] if os.geteuid() == 0 else []
    return subprocess.run([*words, *argv], input=text, text=True, check=True, stdout=subprocess.PIPE, cwd="/").stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server with its socket in a folder."""

    port: int
    folder: Path

    def sql(self, text: str, database: str = "postgres") -> str:
        """Return the rows that the superuser gets, a line each."""
        argv = ("psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(self.port), "-d", database)
        return postgres(*argv, text=text).strip()


@contextmanager
def running_server(
    settings: Sequence[str] = (),
    certificate: str = "",
    rules: str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
) -> Iterator[Server]:
    """Give a server, which is slow to make.

    settings: name=value. certificate: the name in its own one, as openssl has it, "" for none. rules: of pg_hba.conf.
    """
    folder = Path(tempfile.mkdtemp(prefix="rspm-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, ACCOUNT, ACCOUNT)
    port = free_port()
    data, tools = str(folder / "data"), BINARIES[-1].parent
    try:
        postgres(str(tools / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        if certificate:
            request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            request += ["-subj", f"/CN={certificate.partition(':')[2]}", "-addext", f"subjectAltName={certificate}"]
            postgres(*request, "-keyout", f"{data}/server.key", "-out", f"{data}/server.crt")
        Path(data, "pg_hba.conf").write_text(rules)
        given = [f"-c {setting}" for setting in ("listen_addresses=127.0.0.1", "fsync=off", *settings)]
        options = " ".join([f"-p {port} -k {folder}", *given, *(["-c ssl=on"] if certificate else [])])
        postgres(str(tools / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield Server(port, folder)
        finally:
            postgres(str(tools / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
