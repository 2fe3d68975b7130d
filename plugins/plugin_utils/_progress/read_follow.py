# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module in the background and shows how far it is, which a module can't do itself."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
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
# One that says nothing new may have ended, and after a while there is none
_SILENT = 10.0
_GONE = 120.0
# A connection that is cut has to be back before a copy gives up, which it does after 30 s
_UNREACHABLE = 25.0
_TIME_LIMIT = 14 * 24 * 3600

display = Display()


@dataclass(frozen=True)
class Copying:
    """Copying that shows in its state's folder how far it is. follower: whoever asks for that.

    held: file that the module has locked for as long as it is at work; "" where only the file of the follower tells,
    which also one that was killed leaves.
    """

    destination: str
    follower: str
    held: str = ""

    def questions(self) -> tuple[str, str]:
        """Return what is asked at first, and again and again: it prints "at work", and the progress behind that."""
        folder = state_folder(self.destination)
        names = (f"alive.{self.follower}", f"progress.{self.follower}")
        alive, progress = (shlex.quote(f"{folder}/{name}") for name in names)
        lock = shlex.quote(self.held or f"{folder}/lock")
        # a lock that is not there is not made, which would be with another mode
        held = f"{{ test -e {lock} && ! flock --shared --nonblock {lock} true; }}"
        at_work = held if self.held else f"test -e {alive}"
        begin = f"for wait in $(seq {_INTERVAL / 0.2:.0f}); do {at_work} && break; sleep 0.2; done; "
        # the lock is held for as long as there is something to wait for, so that this wait ends with it
        ask = (
            f"if {at_work}; then echo begun; touch -c {alive}; flock --shared --timeout {_INTERVAL:g} {lock} true; fi; "
            f"if {at_work}; then echo at work; cat {progress} 2>/dev/null || :; fi"
        )
        return begin + ask, ask


class FollowingAction(ActionBase):  # type: ignore[misc] # Ansible has no types
    """An action that runs the module of the same name."""

    _requires_connection = True

    def run_followed(self, copying: Copying, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Run the module, show its progress, and return its result."""
        # the module is wrapped for as long only; the task itself is one that is waited for
        self._task.async_val = _TIME_LIMIT
        try:
            arguments = {**self._task.args, "follower": copying.follower}
            started: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if not started.get("ansible_job_id"):
            return started
        return self._follow(started, copying, str((task_vars or {}).get("inventory_hostname", "")), task_vars)

    def _follow(
        self, started: dict[str, Any], copying: Copying, host: str, task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Show the progress until the module has ended, and return its result."""
        begun = changed = answered = asked = time.monotonic()
        shown, last, playbook = 0.0, "", os.getppid()
        first, again = copying.questions()
        while True:
            if os.getppid() != playbook:
                # killed; whoever goes on following would keep the module at work
                raise AnsibleError("The playbook is gone")
            time.sleep(_PAUSE)
            try:
                text = self._low_level_execute_command(again if last else first)["stdout"]
                now = answered = time.monotonic()
                lines = text.splitlines()
                at_work = "at work" in lines
                if text.strip() and (text != last or (copying.held and at_work)):
                    last, changed = text, now
                # asking for the result costs more than for the progress
                over = not at_work if last else now - begun > _START
                if over or now - (asked if copying.held else max(asked, changed)) > _SILENT:
                    asked = now
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
                return self._gone(host)

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
            return self._gone(host)
        self._low_level_execute_command(f"rm -f {shlex.quote(started['results_file'])}")
        return {key: value for key, value in status.items() if key not in ("ansible_job_id", "started", "finished")}

    def _gone(self, host: str) -> dict[str, Any]:
        """Return the result of a module that will never tell its own."""
        name = str(self._task.action).rpartition(".")[2]
        return {
            "failed": True,
            "msg": f"{name} on {host} ended without a result: {host} was restarted, or it was killed. What it copied "
            "is kept. Run the same command again.",
        }
