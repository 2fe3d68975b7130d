# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stand-in's own tests share: nodes as plain processes, a throw-away PostgreSQL, package files."""

from __future__ import annotations

import atexit
import compileall
import functools
import http.client
import io
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import standin_builder
from make_wheel import make_wheel as wheel

__all__ = ["wheel"]

OLD, MIDDLE, NEW = standin_builder.SCHEMAS
WAIT = 15.0  # seconds for what takes a fraction of one on an idle machine


def free_port() -> int:
    """Return a port of the loopback that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def python_with_psycopg2() -> str:
    """Return an interpreter that has the PostgreSQL driver, or an empty text."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(candidate):
            probe = subprocess.run([candidate, "-c", "import psycopg2"], capture_output=True, check=False)
            if probe.returncode == 0:
                return candidate
    return ""


@functools.cache
def installed(version: str, variant: str) -> Path:
    """Return a tree of the installed package, compiled as its maintainer script does it; one for the whole run."""
    tree = Path(tempfile.mkdtemp(prefix="standin-tree-"))
    atexit.register(shutil.rmtree, tree, ignore_errors=True)
    standin_builder.stage(tree, standin_builder.Recipe(version, standin_builder.SCHEMAS[version], variant))
    compileall.compile_dir(tree / "opt/rstudio-pm/lib", quiet=1)
    return tree


def r_package(folder: Path, name: str, version: str) -> Path:
    """Write an R source package that has nothing but its description."""
    path = folder / f"{name}_{version}.tar.gz"
    text = f"Package: {name}\nVersion: {version}\nImports: a,\n    b\nLicense: MIT\n".encode()
    member = tarfile.TarInfo(f"{name}/DESCRIPTION")
    member.size = len(text)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(text))
    return path


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: str
    location: str


@dataclass
class Node:
    """One node: its installed tree, its fixed paths below root, its configuration and its process."""

    work: Path
    version: str = NEW
    variant: str = "default"
    name: str = "one"
    data: Path = Path()
    sections: str = ""
    switches: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable

    def __post_init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        self.root = self.work / f"root-{self.name}"
        self.data = self.data if self.data != Path() else self.root / "data"
        for folder in ("var/lib/rstudio-pm", "var/log/rstudio/rstudio-pm", "etc/rstudio-pm-standin"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.switches = {"NODE_NAME": self.name, "SCHEMA_CHECK_SECONDS": "0.2", **self.switches}
        self.install(self.version, self.variant)

    def install(self, version: str, variant: str = "default") -> None:
        """Put another version in place, as an upgrade does."""
        self.version = version
        self.tree = installed(version, variant)

    @property
    def config(self) -> Path:
        """The configuration, written anew from what this object says."""
        path = self.root / "rstudio-pm.gcfg"
        path.write_text(f"[Server]\nDataDir = {self.data}\n[HTTP]\nListen = 127.0.0.1:{self.port}\n{self.sections}\n")
        return path

    @property
    def log(self) -> str:
        """What the service has logged."""
        path = self.root / "var/log/rstudio/rstudio-pm/rstudio-pm.log"
        return path.read_text() if path.exists() else ""

    def switch(self, **switches: str) -> None:
        """Write the host's switch file, which a running node reads too."""
        text = "".join(f"{name}={value}\n" for name, value in {**self.switches, **switches}.items())
        (self.root / "etc/rstudio-pm-standin/switches").write_text(text)

    def command(self, *words: str) -> list[str]:
        """Return a command of the package, by the wanted interpreter."""
        return [self.python, str(self.tree / "opt/rstudio-pm/bin" / words[0]), *words[1:]]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the package's programs."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("STANDIN_", "PACKAGEMANAGER_"))
        }
        return {**kept, "STANDIN_ROOT": str(self.root)}

    def cli(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run rspm with this node's configuration."""
        if not (self.root / "etc/rstudio-pm-standin/switches").exists():
            self.switch()
        command = self.command("rspm", *words, "--config", str(self.config))
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, check=False, env=self.environment
        )

    def launch(self, **switches: str) -> None:
        """Start the server without waiting for it."""
        self.switch(**switches)
        command = self.command("rstudio-pm", "--config", str(self.config))
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, env=self.environment)

    def start(self, **switches: str) -> Node:
        """Start the server and wait until it answers."""
        self.launch(**switches)
        until = time.monotonic() + WAIT
        while time.monotonic() < until and self.process and self.process.poll() is None:
            try:
                self.get("/__api__/status")
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"the server does not answer:\n{self.log}")

    def wait(self) -> int:
        """Return the exit code of the server when it has ended."""
        assert self.process is not None
        return self.process.wait(WAIT)

    def stop(self) -> int:
        """End the server as systemd does and return its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        return self.wait()

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask the server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.read().decode("latin-1"), response.headers.get("Location", ""))
        finally:
            connection.close()

    def nodes(self) -> dict[str, str]:
        """Return the status of every node, by `rspm cluster nodes`."""
        found = json.loads(self.cli("cluster", "nodes", "-o", "json").stdout)
        return {node["name"]: node["status"] for node in found}


def until(condition: object, what: str) -> None:
    """Wait until a callable is true."""
    assert callable(condition)
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT} s: {what}"
        time.sleep(0.05)


class Postgres:
    """A PostgreSQL cluster of its own, as an unprivileged user, on a port of the loopback."""

    def __init__(self) -> None:
        installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        self.bin = installed[-1].parent if installed else None
        self.port = free_port()
        self.folder = Path()

    def _run(self, program: str, *words: str) -> str:
        assert self.bin is not None
        user = "nobody" if os.geteuid() == 0 else None
        done = subprocess.run(
            [str(self.bin / program), *words],
            user=user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "psql" else subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=True,
        )
        return (done.stdout or "").strip()

    def start(self) -> None:
        """Make and start the cluster with a role and two databases."""
        self.folder = Path(tempfile.mkdtemp(prefix="standin-pg-"))
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
        data = str(self.folder / "data")
        self._run("initdb", "-N", "-D", data, "-U", "admin", "-A", "trust")
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", data, "-l", str(self.folder / "log"), "-o", options, "-w", "start")
        self.sql("CREATE ROLE rstudio_pm LOGIN")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the administrator and return its rows."""
        words = ("-h", str(self.folder), "-p", str(self.port), "-U", "admin", "-d", database, "-Atqc", statement)
        return self._run("psql", *words)

    def restart(self) -> None:
        """Restart, ending all sessions."""
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-m", "fast", "-w", "restart"
        )

    def url(self, database: str, query: str = "sslmode=disable") -> str:
        """Return the address of a database as the service's role."""
        return f'"postgres://rstudio_pm@127.0.0.1:{self.port}/{database}?{query}"'

    def stop(self) -> None:
        """End the cluster and remove it."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder)
