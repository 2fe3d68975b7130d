# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module in the background and shows how far it is, which a module can't do itself."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import state_folder
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.progress import parse_progress, progress_line

# Seconds. A question waits on the machine for what it asks: the beginning, then the end.
_PAUSE = 0.3
_INTERVAL = 2.0
_LINE_INTERVAL = 3.0
# One that has not begun by then may have been refused
_START = 4.0
# The module writes its progress each second; one that does not may have ended, and after a while there is none
_SILENT = 10.0
_GONE = 120.0
# A connection that is cut has to be back before the module gives up, which it does after 30 s
_UNREACHABLE = 25.0
_TIME_LIMIT = 14 * 24 * 3600

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        destination = self._task.args.get("destination")
        if self._task.check_mode or self._task.async_val or not isinstance(destination, str):
            result.update(self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val)))
            return result
        follower = secrets.token_hex(6)
        # the module is wrapped for as long only; the task itself is one that is waited for
        self._task.async_val = _TIME_LIMIT
        try:
            started = self._execute_module(
                module_args={**self._task.args, "follower": follower}, task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = 0
        if not started.get("ansible_job_id"):
            result.update(started)
            return result
        host = str((task_vars or {}).get("inventory_hostname", ""))
        result.update(self._follow(started, state_folder(destination), follower, host, task_vars))
        return result

    def _follow(
        self,
        started: dict[str, Any],
        folder: str,
        follower: str,
        host: str,
        task_vars: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Show the progress until the module has ended, and return its result."""
        begun = changed = answered = time.monotonic()
        shown, last, playbook = 0.0, "", os.getppid()
        alive, progress, lock = (
            shlex.quote(f"{folder}/{name}") for name in (f"alive.{follower}", f"progress.{follower}", "lock")
        )
        begin = f"for wait in $(seq {_INTERVAL / 0.2:.0f}); do test -e {alive} && break; sleep 0.2; done; "
        # the copy holds the lock while it has the file of whoever follows it, so that this wait ends with it
        ask = (
            f"if test -e {alive}; then echo begun; touch -c {alive}; "
            f"flock --shared --timeout {_INTERVAL:g} {lock} true; fi; "
            f"if test -e {alive}; then echo at work; cat {progress} 2>/dev/null || :; fi"
        )
        while True:
            if os.getppid() != playbook:
                # killed; whoever goes on following would keep the module at work
                raise AnsibleError("The playbook is gone")
            time.sleep(_PAUSE)
            try:
                text = self._low_level_execute_command(ask if last else begin + ask)["stdout"]
                now = answered = time.monotonic()
                if text.strip() and text != last:
                    last, changed = text, now
                lines = text.splitlines()
                # asking for the result costs more than for the progress
                over = "at work" not in lines if last else now - begun > _START
                if over or now - changed > _SILENT:
                    ended = self._ended(started, host, task_vars)
                    if ended is not None:
                        return ended
            except AnsibleConnectionFailure:
                if time.monotonic() - answered > _UNREACHABLE:
                    raise
                self._connection.reset()
                continue
            found = parse_progress("".join(lines[-1:]))
            if found is not None and now - shown >= _LINE_INTERVAL:
                display.display(progress_line(host, found))
                shown = now
            if now - changed > _GONE:
                return _gone(host)

    def _ended(self, started: dict[str, Any], host: str, task_vars: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the result, None while there is none."""
        arguments = {"jid": started["ansible_job_id"], "_async_dir": started["results_file"].rpartition("/")[0]}
        status = self._execute_module(
            module_name="ansible.legacy.async_status", module_args=arguments, task_vars=task_vars
        )
        if not status.get("finished"):
            return None
        # a restart of the machine empties the folder of the results
        if status.get("msg") == "could not find job":
            return _gone(host)
        self._low_level_execute_command(f"rm -f {shlex.quote(started['results_file'])}")
        return {key: value for key, value in status.items() if key not in ("ansible_job_id", "started", "finished")}


def _gone(host: str) -> dict[str, Any]:
    """Return the result of a copy that will never tell its own."""
    return {
        "failed": True,
        "msg": f"tree_copy on {host} ended without a result: {host} was restarted, or the copy was killed. What it "
        "copied is kept. Run the same command again.",
    }
