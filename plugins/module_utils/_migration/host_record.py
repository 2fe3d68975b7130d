# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read and write the record of a migration, on shared storage as the service's account."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import find_account
from ansible_collections.rspm.ha.plugins.module_utils._core.host_child import in_child
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import (
    make_folder,
    read_text,
    sync_folder,
    write_file,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import FILE, LOCAL_PATH, Written, parse, render
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import mount_of, parse_mountinfo

_TIMEOUT = 60.0
# a record has a few hundred, and what a child tells has to fit into a pipe
_LONGEST = 8192


@dataclass(frozen=True)
class RecordStore:
    """The record in a folder of the shared storage, which answers within timeout seconds, and this host's own."""

    folder: str
    timeout: float = _TIMEOUT

    @property
    def path(self) -> str:
        """Where the shared one is."""
        return f"{self.folder}/{FILE}"

    def read_shared(self) -> Written | None:
        """Return the shared record, None where there is none. Raises DomainError where nobody can tell."""
        text = self._as_account(
            lambda: _text(self.path),
            "read",
            "Whether a migration has been switched to its own data and databases is not known",
            "Bring the shared storage back, and run the same command again",
        )
        return parse(text, self.path) if text is not None else None

    def read_own(self) -> Written | None:
        """Return this host's own record, None where there is none."""
        text = read_text(LOCAL_PATH)
        return parse(text, LOCAL_PATH) if text is not None else None

    def write(self, record: Written) -> None:
        """Put the record in place. From the switch on also on this host, last of all."""
        self.write_shared(record)
        if record.switched:
            self.write_own(record)

    def write_shared(self, record: Written) -> None:
        """Put the record in place in one step that outlives a power cut."""

        def write() -> None:
            make_folder(self.folder, 0o750)
            write_file(self.path, render(record), 0o640, os.geteuid(), os.getegid())

        self._change(write, "written")

    def write_own(self, record: Written) -> None:
        """Put this host's own record in place, likewise."""
        make_folder(os.path.dirname(LOCAL_PATH))
        write_file(LOCAL_PATH, render(record), 0o644)

    def remove_shared(self) -> None:
        """Remove the shared record."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
                sync_folder(self.folder)

        self._change(remove, "removed")

    def _change(self, work: Callable[[], None], done: str) -> None:
        self._as_account(
            work,
            done,
            "How far the migration has come has to outlive whatever happens next",
            "See that the shared storage is mounted and writable, and run the same command again",
        )

    def _as_account(self, work: Callable[[], Any], done: str, why: str, fix: str) -> Any:
        """Return what work returns with the service's rights, which alone a file server may grant. Raises DomainError.

        done: what it does to the record, for a person.
        """
        account = find_account(ACCOUNT)
        uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
        said = in_child(work, uid, gid, self.timeout, umask=0o027)
        if said and "result" in said:
            return said["result"]
        reason = said["text"] if said else f"no answer within {self.timeout:g} s"
        raise DomainError(Problem("migration-record", f"{self.path} can't be {done}: {reason}", why, fix))


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_LONGEST)
    except FileNotFoundError:
        return None


def is_mounted(path: str) -> bool:
    """Return whether something is mounted at this path, or a share that the path is a folder of."""
    entry = mount_of(parse_mountinfo(read_text("/proc/self/mountinfo") or ""), path)
    return entry is not None and (entry.mount_point == path or entry.is_nfs)
