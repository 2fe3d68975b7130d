# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of one node: everything that the playbooks decide by and that status.yml shows.

Sources: proc(5), ss(8); the rest comes from the packages for package, service, mount and clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._package.rules import PackageState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import (
    ApiState,
    ConfigState,
    UnitState,
    restart_reasons,
)


@dataclass(frozen=True)
class Mount:
    """What the data directory lies on, as the kernel has it now."""

    mount_point: str
    fstype: str
    source: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Clock:
    """The clock as chronyd has it. offset: seconds that it still corrects. source: name or address it follows."""

    synchronised: bool
    offset: float
    source: str


@dataclass(frozen=True)
class NodeState:
    """One node, observed in one call.

    host: the node's own name. package, unit, api, config: see their classes.
    processes: ids of every process of the server, whoever started it. listening: addresses ("0.0.0.0:4242") that those
    hold. binary_changed_at: when the server's executable was put in place, in seconds since the epoch, 0 where there is
    none. mount: None where the data directory lies nowhere yet. clock: None where no chronyd answers.
    free_bytes: by folder; a folder that does not answer (its NFS server is away) or does not exist is left out.
    staged: package files in the staging folder. busy: the step of an earlier run that was at work meanwhile, or "".
    """

    host: str
    package: PackageState
    unit: UnitState
    api: ApiState
    config: ConfigState
    processes: tuple[int, ...]
    listening: tuple[str, ...]
    binary_changed_at: float
    mount: Mount | None
    clock: Clock | None
    free_bytes: Mapping[str, int]
    staged: tuple[str, ...]
    busy: str

    @property
    def running(self) -> bool:
        """Whether a process of the server is there, whatever its unit says."""
        return bool(self.processes) or self.unit.pid != 0

    @property
    def blocked(self) -> bool:
        """Whether neither a person nor a package's scripts nor a reboot can start the server."""
        return self.unit.blocked

    @property
    def running_version(self) -> str:
        """The version that the process is: by its API, else by its executable when that is still the installed file.

        "" where neither tells, or where there is no process.
        """
        if not self.running:
            return ""
        if self.api.version:
            return self.api.version
        unchanged = self.package.installed and 0 < self.binary_changed_at < self.unit.started_at
        return self.package.version if unchanged else ""

    @property
    def restart_reasons(self) -> list[str]:
        """Why the process has another version or configuration than the disk; [] also where nothing runs."""
        return restart_reasons(self.package, self.unit, self.api, self.config)

    @property
    def start_needed(self) -> bool:
        """Whether node_start would do something, or wait for health; a server that only lacks a licence is healthy."""
        awake = self.unit.running and self.unit.enabled and not self.unit.blocked and self.api.healthy(True)
        return not awake or bool(self.restart_reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return the state for a module result, with what follows from it.

        Without the checksums of the files: a fast checksum would help to guess a password in one of them.
        """
        state = asdict(self)
        for name in ("files", "started_with"):
            del state["config"][name]
        return {
            **state,
            "running": self.running,
            "running_version": self.running_version,
            "masked": self.blocked,
            "restart_needed": bool(self.restart_reasons),
            "restart_reasons": self.restart_reasons,
            "start_needed": self.start_needed,
        }


def parse_listening(text: str, pids: Sequence[int]) -> tuple[str, ...]:
    """Return the local addresses that the processes listen at, from `ss -Hltnp`."""
    found = set()
    for line in text.splitlines():
        words = line.split()
        owners = {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
        if len(words) >= 4 and owners & set(pids):
            found.add(words[3])
    return tuple(sorted(found))
