# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes and gives back the cluster lock by the module cluster_lock, and knows by itself who this run is."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import identify

_VERB = "site"
_PLACE = ("path", "uid", "gid")


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is held then; fails where the lock is another run's, and where a host was lost."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        given = {"state": "held", "before": {}, "held": [], "phase": "", **self._task.args}
        held = [dict(each) for each in given["held"] or []]
        lost = [host for host in known["ansible_play_hosts_all"] if host not in known["ansible_play_hosts"]]
        result.update(changed=False, node=self._task.delegate_to)
        if lost or given["state"] == "free":
            left = [each for each in held if not self._give_back(each, known)]
            result["held"] = left
            if lost:
                result.update(failed=True, msg=f"{', '.join(lost)}: {_host_lost()}")
            return result
        place = {name: given["place"][name] for name in _PLACE}
        mine = next((each for each in held if each["path"] == place["path"]), None)
        # a check has not taken it
        if mine and (self._task.check_mode or not given["phase"]):
            return {**result, "held": held}
        me = identify(str((given["before"] or {}).get("holder", "")))
        asked = {**place, **me, "state": "held", "verb": _VERB, "phase": given["phase"]}
        if mine:
            asked["run_id"] = mine["run_id"]
        try:
            found = self._lock(asked, known)
        except AnsibleConnectionFailure:
            # which would end the play for one host only
            return {**result, "failed": True, "msg": f"{self._task.delegate_to}: {_host_lost()}"}
        if found.get("failed"):
            return {**found, "changed": False}
        if not mine:
            held.append({**place, "run_id": found["lock"].get("run_id", "")})
        return {**result, "held": held}

    def _give_back(self, place: dict[str, Any], known: dict[str, Any]) -> bool:
        """Let a lock go; False where the node can't be reached, or has it no more."""
        asked = {**{name: place[name] for name in _PLACE}, "state": "free", "holder": identify("")["holder"]}
        try:
            return not self._lock(asked, known).get("failed")
        except AnsibleError:
            return False

    def _lock(self, asked: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        """Run the module as its own task would."""
        task = self._task.copy()
        task.action, task.args = "rspm.ha.cluster_lock", asked
        action = self._shared_loader_obj.action_loader.get(
            "rspm.ha.cluster_lock",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return dict(action.run(task_vars=known))


def _host_lost() -> Problem:
    return Problem(
        "host-lost",
        "It could be reached before, and can't any more",
        "Going on would leave hosts with different versions or settings",
        "See why, and run the playbook again; it goes on from what it finds",
    )
