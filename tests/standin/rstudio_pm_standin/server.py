# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's life: start, watch the database, stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import database, facts, nodes, publish, schema, secret, settings
from .app import App
from .gcfg import ConfigError
from .web import Server

EXIT_FAILED = 1
EXIT_SCHEMA = 3
_DRAIN_SECONDS = 5.0
_BEAT_SECONDS = 5.0
_USAGE_SECONDS = 2.0


class Log:
    """Lines to the standard error, which the journal keeps, and to the service's log file."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            self(f"the log file {path} can't be opened: {error.strerror}")

    def __call__(self, text: str) -> None:
        """Write one line."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} rstudio-pm: {text}\n".encode()
        for descriptor in (2, self._descriptor):
            if descriptor >= 0:
                with suppress(OSError):  # a full disk or a closed journal must not end the service
                    os.write(descriptor, line)


class Service:
    """One running node."""

    def __init__(self, config: settings.Settings, log: Log) -> None:
        self._config = config
        self._log = log
        self._stop = threading.Event()
        self._exit = 0
        self._woken, self._wake = os.pipe()
        self._ended, self._end = os.pipe()
        self._main = database.main_session(config)
        self._watched = database.main_session(config)
        self._usage = database.usage_session(config)
        self._app = App(config.data_dir, self._main, log, config.text("Licensing.LicenseType"))
        self._web = Server(self._app, log)

    def run(self) -> int:
        """Serve until told to stop and return the exit code; raises ConfigError, DatabaseError or OSError."""
        port = self._listen_early() if facts.enabled("PING_EARLY") else 0
        schema.ensure(self._main, self._usage, self._log)
        publish.ensure_indexes(self._main, self._config.data_dir)
        port = port or self._listen()
        nodes.register(self._main, f"{facts.node_name()}:{port}")
        # From here on a stop is an orderly one; before, it just ends the process, and a migration with it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._ask_to_stop())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if self._app.starting:
            self._app.starting = False
        else:
            self._web.serve()
        if facts.enabled("WORKER"):
            subprocess.Popen([sys.executable, *sys.argv[:1], "--worker", str(self._config.path)])
        threads = [threading.Thread(target=self._watch, daemon=True)]
        if self._usage:
            threads.append(threading.Thread(target=self._count, args=(self._usage,), daemon=True))
        for thread in threads:
            thread.start()
        self._log(f"version {facts.VERSION}: the Package Manager service is ready on port {port} ({facts.NOTICE})")
        _tell_systemd("READY=1")
        os.read(self._ended, 1)
        self._stop.set()
        self._log("stopping")
        os.write(self._wake, b"x")
        self._web.drain(_DRAIN_SECONDS)
        for thread in threads:
            thread.join(2)
        self._log("stopped")
        return self._exit

    def _ask_to_stop(self) -> None:
        # Event.set() takes a lock that the main thread, which a signal interrupts, may hold itself: it hung for good.
        os.write(self._end, b"x")

    def _listen_early(self) -> int:
        """Answer before the schema is moved, to /__ping__ alone."""
        self._app.starting = True
        port = self._listen()
        self._web.serve()
        return port

    def _listen(self) -> int:
        http, https = self._config.listeners()
        ports = []
        if http:
            ports.append(self._web.listen(*http))
        if https:
            ports.append(self._web.listen(*https, tls=self._tls()))
        return ports[0]

    def _tls(self) -> Any | None:
        import ssl  # costs start-up time that only this case needs

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._config.text("HTTPS.Certificate"), self._config.text("HTTPS.Key"))
        return context

    def _watch(self) -> None:
        """Compare the schema, follow the offline switch, leave signs of life; until the service stops."""
        session = self._watched
        period = float(facts.switch("SCHEMA_CHECK_SECONDS", "10"))
        next_check, next_beat = time.monotonic() + period, 0.0
        while not self._stop.is_set():
            try:
                session.wait(1.0, self._woken)
                if self._stop.is_set():
                    break
                if time.monotonic() >= next_check:
                    next_check = time.monotonic() + period
                    if self._outdated(session):
                        return
                self._follow(session)
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + _BEAT_SECONDS
                    nodes.beat(session, "offline" if self._app.offline else "online")
            except database.DatabaseError as error:
                self._log(f"the database fails: {error}")
                self._stop.wait(2)
        try:
            nodes.beat(session, "stopped")
        except database.DatabaseError as error:
            self._log(f"the database does not learn that this node stops: {error}")

    def _outdated(self, session: database.Session) -> bool:
        """Shut down where the database has another schema than this version needs."""
        found = schema.current(session)
        if found == facts.SCHEMA:
            return False
        self._log(
            f"the database has schema {found}, version {facts.VERSION} needs {facts.SCHEMA}: "
            "out-of-date database schema detected, shutting down"
        )
        self._exit = EXIT_SCHEMA
        self._ask_to_stop()
        return True

    def _follow(self, session: database.Session) -> None:
        wanted = nodes.wanted(session)
        if (wanted == "offline") == self._app.offline:
            return
        self._app.offline = wanted == "offline"
        if self._app.offline and not self._web.settle(60):
            self._log("a request still runs after 60 s offline")
        nodes.beat(session, wanted)
        session.notify()
        self._log(f"this node is {wanted}")

    def _count(self, session: database.Session) -> None:
        """Write downloads to the usage database, many at a time; until the service stops."""
        last = False
        while not last:
            last = self._stop.wait(_USAGE_SECONDS)
            totals: dict[tuple[str, str], list[int]] = {}
            while self._app.downloads:
                repo, file, size = self._app.downloads.popleft()
                total = totals.setdefault((repo, file), [0, 0])
                total[0] += 1
                total[1] += size
            if totals:
                try:
                    self._write_usage(session, totals)
                except database.DatabaseError as error:
                    self._log(f"the usage database fails, {len(totals)} counts are lost: {error}")

    def _write_usage(self, session: database.Session, totals: dict[tuple[str, str], list[int]]) -> None:
        day = time.strftime("%Y-%m-%d")
        with session.transaction():
            for (repo, file), (downloads, size) in sorted(totals.items()):
                key = (day, facts.node_name(), repo, file)
                session.run(
                    """INSERT INTO usage_downloads (day, node, repo, file, downloads) VALUES (%s, %s, %s, %s, %s)
                       ON CONFLICT (day, node, repo, file)
                       DO UPDATE SET downloads = usage_downloads.downloads + excluded.downloads""",
                    *key,
                    downloads,
                )
                if facts.SCHEMA >= 44:
                    session.run(
                        """UPDATE usage_downloads SET bytes = bytes + %s
                           WHERE day = %s AND node = %s AND repo = %s AND file = %s""",
                        size,
                        *key,
                    )


def _tell_systemd(state: str) -> None:
    """Send a state to who started this process, where it wants to hear of it (Type=notify)."""
    if place := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), place.replace("@", "\0", 1) if place.startswith("@") else place)


def _work(config: settings.Settings) -> int:
    """Be a worker: a process beside the server that has a session of its own, and outlives it unless it is told."""
    session = database.main_session(config)
    while True:
        session.run("SELECT 1")
        time.sleep(1)


def _prepare(config: settings.Settings, log: Log) -> None:
    """Check the configuration and make the data directory and the key; raises ConfigError."""
    for text in config.unknown():
        if facts.STRICT_KEYS:
            raise ConfigError(text)
        log(f"ignored: {text}")
    for text in config.faults():
        raise ConfigError(text)
    config.listeners()
    try:
        config.data_dir.mkdir(mode=0o701, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"Server.DataDir {config.data_dir} can't be made: {error.strerror}") from error
    if not os.environ.get("PACKAGEMANAGER_ENCRYPTION_KEY") and secret.new_key(config.key_path):
        log(f"made the encryption key {config.key_path}")
    secret.read_key(config.key_path)


def _migrate(config: settings.Settings, log: Log) -> int:
    """Move the schema without starting, as the scripts of a package may."""
    try:
        schema.ensure(database.main_session(config), database.usage_session(config), log)
    except database.DatabaseError as error:
        log(f"can't migrate: {error}")
        return EXIT_FAILED
    return 0


def main(arguments: list[str]) -> int:
    """Run rstudio-pm."""
    path, alone = settings.DEFAULT_FILE, ""
    if arguments == ["--version"]:
        print(facts.version_line("rstudio-pm"))
        return 0
    if arguments[:1] in (["--migrate"], ["--worker"]):
        alone, *arguments = arguments
        arguments = ["--config", *arguments] if arguments else []
    if len(arguments) == 2 and arguments[0] in ("--config", "-c"):
        path = arguments[1]
    elif arguments:
        print("usage: rstudio-pm [--config FILE] | --migrate [FILE] | --version", file=sys.stderr)
        return 2
    os.umask(0o077)
    default_log = facts.rooted("/var/log/rstudio/rstudio-pm/rstudio-pm.log")
    try:
        config = settings.load(Path(path))
        log = Log(Path(config.text("Server.ServiceLog") or default_log))
    except ConfigError as error:
        Log(default_log)(f"can't start: {error}")
        return EXIT_FAILED
    if alone == "--worker":
        return _work(config)
    if alone:
        return _migrate(config, log)
    log(f"version {facts.VERSION} starts as node {facts.node_name()} ({facts.NOTICE})")
    try:
        if facts.enabled("FAIL_START"):
            raise ConfigError("this faulty build is meant to fail at start")
        _prepare(config, log)
        return Service(config, log).run()
    except schema.SchemaError as error:
        log(f"can't start: {error}")
        return EXIT_SCHEMA
    except (ConfigError, database.DatabaseError, OSError) as error:
        log(f"can't start: {error}")
        return EXIT_FAILED
