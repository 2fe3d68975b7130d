# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read and write the record of a migration, on shared storage as the service's account."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder, read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import FILE, LOCAL_PATH, Written, parse, render
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import mount_of, parse_mountinfo

_TIMEOUT = 60.0


@dataclass(frozen=True)
class RecordStore:
    """The record in a folder of the shared storage, which answers within timeout seconds, and this host's own."""

    runner: Runner
    folder: str
    timeout: float = _TIMEOUT

    @property
    def path(self) -> str:
        """Where the shared one is."""
        return f"{self.folder}/{FILE}"

    def read_shared(self) -> Written | None:
        """Return the shared record, None where there is none. Raises DomainError where nobody can tell."""
        shown = self.runner(as_account(["cat", self.path]), timeout=self.timeout)
        if shown.rc == 0:
            return parse(shown.stdout, self.path)
        if "No such file" in shown.stderr:
            return None
        raise DomainError(
            Problem(
                check="migration-record",
                found=f"{self.path} can't be read: {shown.stderr.strip() or 'no answer in time'}",
                why="Whether a migration has been switched to its own data and databases is not known",
                fix="Bring the shared storage back, and run the same command again",
            )
        )

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
        new = f"{self.folder}/.{FILE}.new"
        self._do(["mkdir", "-p", "-m", "0750", "--", self.folder])
        self._do(["dd", f"of={new}", "conv=fsync", "status=none"], text=render(record))
        self._do(["mv", "-T", "--", new, self.path])
        self._do(["sync", self.folder])

    def write_own(self, record: Written) -> None:
        """Put this host's own record in place, likewise."""
        make_folder(os.path.dirname(LOCAL_PATH))
        write_file(LOCAL_PATH, render(record), 0o644)

    def remove_shared(self) -> None:
        """Remove the shared record."""
        self._do(["rm", "-f", "--", self.path])
        self._do(["sync", self.folder])

    def _do(self, argv: list[str], text: str = "") -> None:
        done = self.runner(as_account(argv), input=text or None, timeout=self.timeout)
        if done.rc != 0:
            raise DomainError(
                Problem(
                    check="migration-record",
                    found=f"{' '.join(argv)} failed ({done.rc}): {done.stderr.strip()}",
                    why="How far the migration has come has to outlive whatever happens next",
                    fix="See that the shared storage is mounted and writable, and run the same command again",
                )
            )


def is_mounted(path: str) -> bool:
    """Return whether something is mounted at this path, or a share that the path is a folder of."""
    entry = mount_of(parse_mountinfo(read_text("/proc/self/mountinfo") or ""), path)
    return entry is not None and (entry.mount_point == path or entry.is_nfs)
