# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file beside the restore point that says how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._restore_point import rules as point
from ansible_collections.rspm.ha.plugins.module_utils._restore_point.rules import RestoreState

QUICK = 60.0


@dataclass(frozen=True)
class StateFile:
    """That of the restore point at path."""

    runner: Runner
    path: str

    @property
    def metadata_path(self) -> str:
        """Where its state is written."""
        return f"{self.path}/{point.METADATA}"

    def read(self) -> point.Metadata:
        """Return what is there; raises DomainError where the storage does not tell."""
        shown = self.runner(as_account(["cat", self.metadata_path]), timeout=QUICK)
        if shown.rc == 0:
            return point.parse(shown.stdout, self.metadata_path)
        if "No such file" in shown.stderr:
            return point.ABSENT
        raise DomainError(point.tool_failed(["cat", self.metadata_path], shown.rc, shown.stderr.strip()))

    def write(self, metadata: point.Metadata) -> point.Metadata:
        """Put what is known of the restore point in place in one step that outlives a power cut."""
        new = f"{self.path}/.{point.METADATA}.new"
        self.run(["dd", f"of={new}", "conv=fsync", "status=none"], text=point.render(metadata))
        self.run(["mv", "-T", "--", new, self.metadata_path])
        self.run(["sync", self.path])
        return metadata

    def mark(self, now: point.Metadata, state: RestoreState) -> point.Metadata:
        """Write the next state."""
        return self.write(replace(now, state=state))

    def run(
        self, argv: list[str], *, timeout: float = QUICK, text: str | None = None, env: dict[str, str] | None = None
    ) -> str:
        """Run a command as the account; raises DomainError unless it does its work."""
        done = self.runner(as_account(argv), timeout=timeout, input=text, env=env)
        if done.rc != 0:
            raise DomainError(point.tool_failed(argv, done.rc, done.stderr.strip().replace("\n", "; ")))
        return done.stdout
