# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what the inventory says of the hosts, and what the tasks have registered for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.failure import failure_reason
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.report import done_by_phase

# Ansible's, of the task that a host came to a rescue from
_FAILED = "ansible_failed_result"


def native(text: Any) -> str:
    """Return a text without what Ansible has attached to it, which str() leaves there."""
    return str(text).encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")


def plain(value: Any) -> Any:
    """Return a value of plain Python; Ansible's are worked out when they are asked for, and know where they are of."""
    if isinstance(value, Mapping):
        return {native(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return native(value)
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else float(value)


class Variables:
    """The variables of the host that a task runs for, and those of all others."""

    def __init__(self, known: Mapping[str, Any], templar: Any) -> None:
        self._known, self._templar = known, templar

    def own(self, name: str, default: Any = None) -> Any:
        """Return a variable as the task has it, the role's own included."""
        return plain(self._templar.template(self._known[name])) if name in self._known else default

    def of(self, host: str, name: str, default: Any = None) -> Any:
        """Return what the inventory or a task has set for a host."""
        known = self._known["hostvars"][host]
        return plain(known[name]) if name in known else default

    def hosts(self, group: str) -> list[str]:
        """Return the hosts of a group, none where there is no such group."""
        return [native(host) for host in self._known["groups"].get(group, [])]

    @property
    def nodes(self) -> list[str]:
        """The nodes of the cluster."""
        return self.hosts("rspm_nodes")

    @property
    def play_hosts(self) -> list[str]:
        """All hosts of the play, those that it has lost included."""
        return [native(host) for host in self._known["ansible_play_hosts_all"]]

    @property
    def present_hosts(self) -> list[str]:
        """The hosts that are still in the play."""
        return [native(host) for host in self._known["ansible_play_hosts"]]


def done_of(known: Variables) -> list[dict[str, Any]]:
    """Return the phases that were done, as the hosts have recorded them."""
    return done_by_phase({host: known.of(host, "phases_done", []) for host in known.play_hosts})


def stopped_in(known: Variables) -> str:
    """Return the phase that began last, "" for none."""
    return native(known.own("phases_at", {}).get("phase", ""))


def timeline_of(known: Variables, host: str, role: str) -> list[dict[str, Any]]:
    """Return what a host has done in the phase that began last. role: what its own steps' results begin with."""
    before = known.of(host, "phases_at", {}).get("timelines", [])
    results = [known.of(host, name, {}).get("timeline", []) for name in (f"{role}_step", "phases_step")]
    return [step for timeline in results if timeline not in before for step in timeline]


def failures_of(known: Variables) -> dict[str, str]:
    """Return what has failed on which host. One that was lost could not record that the run has stopped there too."""
    stopped = [host for host in known.play_hosts if known.of(host, "phases_stopped", False)]
    texts = {
        host: failure_reason(known.of(host, _FAILED, {})) if host in stopped else "it can not be reached any more"
        for host in known.play_hosts
        if stopped
    }
    return {host: text for host, text in texts.items() if text}


def measurement(known: Variables) -> dict[str, Any]:
    """Return what the client at the load balancer has measured, {} for nothing."""
    results = [known.of(host, "phases_measured", {}) for host in known.play_hosts]
    return next((result for result in results if result.get("samples")), {})
