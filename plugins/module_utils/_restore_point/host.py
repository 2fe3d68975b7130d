# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make and restore the restore point. The service's account owns its files, since root may be squashed.

The folder holds restore-point.json, replaced in one step, and one folder of files for each time that it was made; the
older one goes when the newer is complete and named in restore-point.json.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import find_account, sum_as, take_over
from ansible_collections.rspm.ha.plugins.module_utils._config.host import Candidate, account_ids, save
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import KEY_PATH
from ansible_collections.rspm.ha.plugins.module_utils._config.unit import CONFIG_PATH, account_missing, parse_sums
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder, read_text, sum_of, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._core.version import parse_version
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.host_tools import load_tools
from ansible_collections.rspm.ha.plugins.module_utils._database_copy.rules import Tools
from ansible_collections.rspm.ha.plugins.module_utils._package.host import load_host, remove
from ansible_collections.rspm.ha.plugins.module_utils._package.host_fetch import place, prepare_folder
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import STAGING_FOLDER, staged_name
from ansible_collections.rspm.ha.plugins.module_utils._postgres import client_tools
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import load_tool_options
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import load_left_sessions
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import host_restore as database_restore
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import restore_rules
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import rules as point
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host_session import Access
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.host_state import QUICK, StateFile
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState
from ansible_collections.rspm.ha.plugins.module_utils._service.host import load_config, load_document

# The sum of the saved package, on each node; the account owns what lies beside the restore point
KNOWN_PATH = "/var/lib/rspm-ha/restore-point-package.json"
_COPY_TIMEOUT = 1800.0
_DUMP_TIMEOUT = 6 * 3600.0
_SESSION_TIMEOUT = 30.0


def _moment(now: datetime) -> str:
    return f"{now:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Store(StateFile):
    """The restore point; database: what is saved, with the role that the nodes use."""

    database: Database | None = None

    def require_tools(self) -> None:
        """Raise DomainError unless PostgreSQL's tools are on this host."""
        if not self._known_tools():
            raise DomainError(point.no_tools(socket.gethostname()))

    def create(self, now: point.Metadata, run_id: str, from_version: str, to_version: str) -> point.Metadata:
        """Save databases, configuration, key and package; what was there is replaced when all of it is verified."""
        self.require_tools()
        if parse_version(from_version) < parse_version(to_version):
            for dump in point.dumps_of(self._database()):
                database_restore.prove_changeable(self._database(), dump.database, dump.schema)
        moment = datetime.now(timezone.utc)
        created = _moment(moment)
        folder = f"{run_id}-{moment:%Y%m%dT%H%M%S%f}"
        new = point.Metadata(RestoreState.INCOMPLETE, run_id, from_version, to_version, created, folder)
        self.run(["mkdir", "-p", "-m", "0750", self.path])
        keeps = now.state not in (RestoreState.ABSENT, RestoreState.INCOMPLETE)
        self._remove_others(now.folder if keeps else "")
        if not keeps:
            self.write(new)
        self.run(["mkdir", "-m", "0700", f"{self.path}/{folder}"])
        try:
            new = self._fill(new)
        except DomainError:
            # what a full disk left would keep the nodes from writing
            with suppress(DomainError):
                self._remove_others(now.folder if keeps else "")
            raise
        self.mark(new, RestoreState.COMPLETE)
        self._remove_others(folder)
        return replace(new, state=RestoreState.COMPLETE)

    def remove(self, now: point.Metadata, *, check_mode: bool) -> point.Metadata:
        """Remove all of it; raises DomainError where nothing else leads out of a restore that has begun."""
        raise_any(point.judge_removal(now.state, self.path))
        if now.state is not RestoreState.ABSENT and not check_mode:
            self.run(["rm", "-rf", "--", self.path], timeout=_COPY_TIMEOUT)
        return point.ABSENT

    def restore(self, now: point.Metadata) -> point.Metadata:
        """Put databases and the shared key back, with no session of any node before and after."""
        database = self._database()
        self.require_tools()
        self.verify(now)
        self._prove_no_session(database)
        with self._access(database, now.tools) as access:
            now = self.write(replace(now, state=RestoreState.RESTORING, restored=_moment(datetime.now(timezone.utc))))
            for dump in point.dumps_of(database):
                self._restore(access, dump, f"{self.path}/{now.folder}/{dump.file}", now.rows.get(dump.file, {}))
        if now.key_path not in ("", KEY_PATH):
            self._copy(f"{self.path}/{now.folder}/{point.KEY}", f"{now.key_path}.rspm-ha-new")
            self.run(["mv", "-T", "--", f"{now.key_path}.rspm-ha-new", now.key_path])
            self.run(["sync", os.path.dirname(now.key_path)])
        self._prove_no_session(database)
        return self.mark(now, RestoreState.RESTORED)

    def verify(self, now: point.Metadata) -> None:
        """Raise DomainError unless every file is as it was written."""
        folder = f"{self.path}/{now.folder}"
        problems = point.judge_files(now.files, self._sums(folder, list(now.files)), folder)
        raise_any(problems)

    def stage(self, now: point.Metadata, *, check_mode: bool) -> tuple[str, bool]:
        """Have the saved package in this node's staging folder; returns its path ("" = none saved), and if changed."""
        if not now.package:
            return "", False
        host = load_host()
        target = f"{STAGING_FOLDER}/{now.package}"
        own = sum_of(target)
        known = self._known().get(now.package, "")
        raise_any(
            point.judge_package(now, staged_name(host.family, now.from_version, host.machine), own or known, target)
        )
        if own == (known or own):
            return target, False
        if not check_mode:
            prepare_folder(STAGING_FOLDER)
            part_folder = tempfile.mkdtemp(prefix=".part-", dir=STAGING_FOLDER)
            try:
                place(self._fetch(now, now.package, part_folder, known), target)
            finally:
                remove(part_folder)
        return target, True

    def package_sum(self, package: str) -> str:
        """Return the SHA-256 of the saved package as root on this node knows it, "" where it does not.

        What is written beside the restore point is the service's account's, and root installs the package.
        """
        own = f"{STAGING_FOLDER}/{package}"
        return (sum_of(own) if package else "") or self._known().get(package, "")

    def keep_sum(self, package: str, sha256: str, *, check_mode: bool) -> bool:
        """Keep the sum of the saved package where only root may write; returns whether it was not kept yet."""
        wanted = {package: sha256}
        if self._known() == wanted:
            return False
        if not check_mode:
            make_folder(os.path.dirname(KNOWN_PATH))
            write_file(KNOWN_PATH, json.dumps(wanted) + "\n", 0o644)
        return True

    @staticmethod
    def _known() -> dict[str, str]:
        return point.parse_known(read_text(KNOWN_PATH) or "")

    def configure(self, now: point.Metadata, *, check_mode: bool) -> list[str]:
        """Have the saved configuration, and the key where it is the node's own, on this node; returns what changed."""
        wanted = [(point.CONFIG, CONFIG_PATH, 0o640)]
        if now.key_path == KEY_PATH:
            wanted.append((point.KEY, KEY_PATH, 0o600))
        ids, account = self._ids(), find_account(ACCOUNT)
        changed = []
        for name, path, mode in wanted:
            if sum_as(account, path, QUICK) == now.files[name]:
                continue
            changed.append(path)
            if not check_mode:
                with Candidate(ACCOUNT, ids) as private:
                    copy = self._fetch(now, name, private.folder, now.files[name])
                    save(path, read_text(copy) or "", mode, ids)
        return changed

    def _fill(self, new: point.Metadata) -> point.Metadata:
        database, folder = self._database(), f"{self.path}/{new.folder}"
        names = [point.CONFIG]
        self._copy(CONFIG_PATH, f"{folder}/{point.CONFIG}")
        config = load_config(self.runner, load_document())
        if config.key_hash:
            names.append(point.KEY)
            self._copy(config.key_path, f"{folder}/{point.KEY}")
        host = load_host()
        package = staged_name(host.family, new.from_version, host.machine)
        if os.path.isfile(f"{STAGING_FOLDER}/{package}"):
            names.append(package)
            self._copy(f"{STAGING_FOLDER}/{package}", f"{folder}/{package}")
        else:
            package = ""
        rows = {}
        with self._access(database, 0) as access:
            for dump in point.dumps_of(database):
                names.append(dump.file)
                rows[dump.file] = self._save(access, dump, f"{folder}/{dump.file}")
        self.run(["sync", *(f"{folder}/{name}" for name in names), folder], timeout=_COPY_TIMEOUT)
        files = self._sums(folder, names)
        if package:
            # root's own sum of it, which that of the copy has to be
            saved = {package: sum_of(f"{STAGING_FOLDER}/{package}")}
            raise_any(point.judge_files(saved, files, folder))
        return replace(
            new,
            server_version=access.version,
            files=files,
            package=package,
            key_path=config.key_path if config.key_hash else "",
            tools=access.tools.major,
            rows=rows,
        )

    def _save(self, access: Access, dump: point.Dump, file: str) -> dict[str, int]:
        """Dump a database, prove that the dump can be put back, and return the rows of its tables."""
        only = ["--schema", client_tools.quote_pattern(dump.schema)] if dump.schema else []
        dumped = database_restore.save(access, dump.database, dump.schema, only, file, self.runner)
        chosen = restore_rules.choose_entries(dumped.listed, dumped.setting.kept, access.database.user)
        with Candidate(ACCOUNT, self._ids()) as private:
            given = private.put("list", chosen, 0o600)
            database_restore.end_other_runs(access.database, dump.database)
            database_restore.rehearse(access, dump.database, dumped, file, given, self.runner)
        return {name: rows for name, (rows, _digest) in dumped.content.tables.items()}

    def _restore(self, access: Access, dump: point.Dump, file: str, rows: Mapping[str, int]) -> None:
        database_restore.end_other_runs(access.database, dump.database)
        listed = database_restore.load_list(access, file, self.runner)
        kept = database_restore.load_kept(access.database, dump.database)
        chosen = restore_rules.choose_entries(listed, kept, access.database.user)
        with Candidate(ACCOUNT, self._ids()) as private:
            given = private.put("list", chosen, 0o600)
            database_restore.restore(access, dump.database, dump.schema, file, given, listed, kept, rows)

    def _database(self) -> Database:
        if self.database is None:
            raise TypeError("the module's arguments see to it that there is a database")
        return self.database

    def _known_tools(self) -> list[Tools]:
        """Return PostgreSQL's tools on this host, in folders that have psql too."""
        return [tools for tools in load_tools(self.runner) if os.path.exists(f"{tools.folder}/psql")]

    @contextmanager
    def _access(self, database: Database, oldest: int) -> Iterator[Access]:
        """Give the login of PostgreSQL's tools. oldest: of their major versions.

        The password is in a file that only the account reads, gone afterwards.
        """
        version = database_restore.load_version(database)
        host = socket.gethostname()
        tools = restore_rules.choose_tools(self._known_tools(), version // 10000, oldest, host)
        with Candidate(ACCOUNT, self._ids()) as private:
            secret = private.put("pgpass", client_tools.password_file(database.user, database.password), 0o600)
            environment = client_tools.tool_environment(database, secret, load_tool_options(database))
            yield Access(tools, database, environment, _DUMP_TIMEOUT, version)

    def _prove_no_session(self, database: Database) -> None:
        problems = load_left_sessions(database, _SESSION_TIMEOUT)
        raise_any(problems)

    def _remove_others(self, folder: str) -> None:
        """Remove every folder of files but this one ("" = none is kept)."""
        for name in self.run(["ls", "-A", self.path]).split("\n"):
            if name and name not in (folder, point.METADATA):
                self.run(["rm", "-rf", "--", f"{self.path}/{name}"], timeout=_COPY_TIMEOUT)

    def _copy(self, source: str, target: str) -> None:
        self.run(["install", "-m", "0600", "--", source, target], timeout=_COPY_TIMEOUT)
        self.run(["sync", target], timeout=_COPY_TIMEOUT)

    def _fetch(self, now: point.Metadata, name: str, folder: str, wanted: str) -> str:
        """Take one file over into a local folder of root's, verify the copy, and return its path."""
        path, copy = f"{self.path}/{now.folder}/{name}", f"{folder}/{name}"
        try:
            found = take_over(find_account(ACCOUNT), path, copy, _COPY_TIMEOUT)
        except OSError as error:
            raise DomainError(point.not_readable(path, error.strerror or str(error))) from error
        problems = point.judge_files({name: wanted}, {name: found}, f"{self.path}/{now.folder}")
        raise_any(problems)
        return copy

    def _sums(self, folder: str, names: list[str]) -> dict[str, str]:
        """Return the SHA-256 of the files that can be read, by name."""
        argv = as_account(["sha256sum", *(f"{folder}/{name}" for name in names)])
        shown = self.runner(argv, timeout=_COPY_TIMEOUT)
        return {os.path.basename(path): digest for path, digest in parse_sums(shown.stdout).items()}

    def _ids(self) -> tuple[int, int]:
        ids = account_ids(ACCOUNT)
        if ids is None:
            raise DomainError(account_missing(ACCOUNT))
        return ids
