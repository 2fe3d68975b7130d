# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server on this host, asked and set as its own superuser over its socket."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._address.host import resolve
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand, Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import APPLICATION, literal
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.client_rules import (
    Access,
    clients_of,
    with_rules,
)
from ansible_collections.rspm.ha.plugins.module_utils._postgres_server.rules import Change, Setting, names_in

ACCOUNT = "postgres"
UNANSWERED = "database-server"
_SETTINGS = ("max_connections", "listen_addresses", "ssl")
_TIMEOUT = 30.0
_RELOAD_TIMEOUT = 10.0
# A load within the second in which a file was written does not tell whether it has read it.
_NEXT_SECOND = 1.1


def superuser_runner(run: Runner) -> Runner:
    """Return a runner whose commands run as the superuser's account, also where this process is root's."""
    if os.geteuid() != 0:
        return run

    def as_superuser(argv: list[str], **options: Any) -> CompletedCommand:
        return run(as_account(argv, ACCOUNT), **options)

    return as_superuser


class PostgresServer:
    """The server at a port of this host."""

    def __init__(self, run: Runner, port: int) -> None:
        """Take the runner, which is to run as the superuser's account; nothing is asked yet."""
        self.run = run
        self.port = port
        self.found: dict[str, Any] = {}

    def sql(self, statement: str) -> str:
        """Return what a statement answers. Raises DomainError."""
        argv = ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-p", str(self.port), "-d", "postgres"]
        done = self.run(argv, input=statement, timeout=_TIMEOUT)
        if done.rc != 0:
            raise DomainError(
                Problem(
                    check=UNANSWERED,
                    found=f"PostgreSQL at port {self.port} of this host can't be asked: "
                    + (done.stderr.strip().replace("\n", "; ") or f"psql ended with {done.rc}"),
                    why="Its settings and client rules have to let in the nodes",
                    fix=f"See that sudo -u postgres psql -p {self.port} works on this host, and run the playbook again",
                )
            )
        return done.stdout.strip()

    def answers(self) -> bool:
        """Return whether a server runs at the port."""
        return self.run(["pg_isready", "-q", "-p", str(self.port)], timeout=_TIMEOUT).rc == 0

    def observe(self, access: Access) -> None:
        """Ask everything that the decision needs."""
        names = ", ".join(map(literal, _SETTINGS))
        databases = ", ".join(map(literal, access.databases))
        query = f"""SELECT json_build_object(
            'running', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN ({names})),
            'on_disk', (SELECT json_object_agg(name, setting) FROM (SELECT DISTINCT ON (name) name, setting
                FROM pg_file_settings WHERE name IN ({names}) ORDER BY name, seqno DESC) AS last),
            'pending', (SELECT json_agg(name ORDER BY name) FROM pg_settings WHERE pending_restart),
            'client_rules', current_setting('hba_file'),
            'stale', date_trunc('second', pg_conf_load_time())
                <= (pg_stat_file(current_setting('hba_file'))).modification,
            'others', (SELECT json_agg(datname ORDER BY datname) FROM pg_database
                WHERE NOT datistemplate AND datname NOT IN ('postgres', {databases})),
            'foreign', (SELECT json_object_agg(datname, pg_get_userbyid(datdba)) FROM pg_database
                WHERE datname IN ({databases}) AND pg_get_userbyid(datdba) <> {literal(access.user)}),
            'live', (SELECT json_agg(DISTINCT host(client_addr)) FROM pg_stat_activity
                WHERE usename = {literal(access.user)} AND datname IN ({databases})
                AND client_addr IS NOT NULL AND application_name <> {literal(APPLICATION)}))"""
        self.found = json.loads(self.sql(query))

    @property
    def others(self) -> list[str]:
        """Return the databases that are neither the nodes' nor the server's own."""
        return self.found["others"] or []

    @property
    def foreign(self) -> dict[str, str]:
        """Return the owners of those of the nodes' databases that the nodes' role does not own."""
        return self.found["foreign"] or {}

    @property
    def live(self) -> list[str]:
        """Return the addresses with a session of the nodes' role."""
        return self.found["live"] or []

    @property
    def pending(self) -> list[str]:
        """Return the settings that others have changed and that wait for a restart."""
        return [name for name in self.found["pending"] or [] if name not in _SETTINGS]

    def settings(self) -> dict[str, Setting]:
        """Return the settings that the nodes depend on."""
        running, on_disk = self.found["running"], self.found["on_disk"] or {}
        # a boolean is written in many ways, and what the server made of it is what counts
        same = {"ssl": running["ssl"]}
        return {name: Setting(running[name], {**on_disk, **same}.get(name, running[name])) for name in _SETTINGS}

    def listening(self) -> dict[str, Sequence[str]]:
        """Return the addresses of the names at which the server listens or will."""
        each = self.settings()["listen_addresses"]
        return {name: resolve(name) or [name] for name in {*names_in(each.running), *names_in(each.on_disk)}}

    def set(self, changes: Iterable[Change]) -> None:
        """Write the settings, as ALTER SYSTEM does: the server refuses a wrong one, and RESET takes it back."""
        for change in changes:
            if change.write:
                self.sql(f"ALTER SYSTEM SET {change.name} = {literal(change.new)}")

    def rules(self) -> str:
        """Return the text of the client rules, as the server's own account may read them. Raises DomainError."""
        path = literal(self.found["client_rules"])
        content = base64.b64decode(self.sql(f"SELECT encode(pg_read_binary_file({path}), 'base64')"))
        return content.decode("utf-8", "surrogateescape")

    def clients(self, access: Access) -> list[str]:
        """Return the networks that our rules let in so far."""
        return [str(network) for network in clients_of(self.rules(), access)]

    def planned_rules(self, access: Access) -> tuple[str, str]:
        """Return the client rules as they are and as they are to be."""
        before = self.rules()
        return before, with_rules(before, access)

    def write_rules(self, text: str) -> None:
        """Put the client rules in place; the old ones are put back where the server could not read the new ones."""
        path, before = os.path.realpath(self.found["client_rules"]), self.rules()
        self._refuse_errors("is refused as it stands, before anything was changed")
        self._replace(path, text)
        try:
            self._refuse_errors("would be refused, and is as before")
        except DomainError:
            self._replace(path, before)
            raise

    def _refuse_errors(self, state: str) -> None:
        # a rule for TLS where there is none is called an error, and is loaded all the same
        wrong = self.sql(
            "SELECT format('line %s: %s', line_number, error) FROM pg_hba_file_rules "
            "WHERE error IS NOT NULL AND error NOT LIKE 'host%record cannot match%'"
        )
        if wrong:
            raise DomainError(
                Problem(
                    "database-client-rules",
                    f"{self.found['client_rules']} {state} ({'; '.join(wrong.splitlines())})",
                    "PostgreSQL loads no client rule while one is wrong, and starts with none",
                    "Correct that line, and run the playbook again",
                )
            )

    @staticmethod
    def _replace(path: str, text: str) -> None:
        status = os.stat(path)
        write_file(path, text, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def reload(self) -> None:
        """Have the server read its files, and wait until it has. Raises DomainError."""
        time.sleep(_NEXT_SECOND)
        before = self.sql("SELECT pg_conf_load_time(), pg_reload_conf()").partition("|")[0]
        deadline = time.monotonic() + _RELOAD_TIMEOUT
        while self.sql("SELECT pg_conf_load_time()") == before:
            if time.monotonic() > deadline:
                raise DomainError(
                    Problem(
                        "database-reload",
                        f"PostgreSQL at port {self.port} did not read its configuration within {_RELOAD_TIMEOUT:g} s",
                        "The rules that let the nodes in are not in force",
                        "See the log of PostgreSQL, and run the playbook again",
                    )
                )
            time.sleep(0.1)

    def refuse_without_tls(self) -> None:
        """Raise DomainError where TLS was set and is not there, after taking the setting back."""
        if self.sql("SHOW ssl") == "on":
            return
        files = self.sql("SELECT current_setting('ssl_cert_file') || ' and ' || current_setting('ssl_key_file')")
        self.sql("ALTER SYSTEM RESET ssl")
        self.sql("SELECT pg_reload_conf()")
        raise DomainError(
            Problem(
                "database-tls",
                f"PostgreSQL at port {self.port} can't use TLS with {files}",
                "rspm_database_sslmode asks for it, and the nodes could not log in",
                "Put certificate and key there as the log of PostgreSQL says, or set rspm_database_sslmode",
            )
        )
