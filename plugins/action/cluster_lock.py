# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module for this run, and leaves a process beside the playbook that renews the lock's lease until its end."""

from __future__ import annotations

import os
import shlex
import signal
import time
from typing import Any

import ansible.constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.rspm.ha.plugins.module_utils._lock.host import start_time
from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import identify
from ansible_collections.rspm.ha.plugins.plugin_utils._lock_keeper.rules import (
    OVER,
    RENEW,
    RENEWED,
    TAKEN,
    answer_of,
    keep,
)

# those that begin a program of their own for each command, so that another process can use them at the same time
_TRANSPORTS = ("ssh", "local")
_CODES = {RENEWED: 10, OVER: 11, TAKEN: 12}
_END_SECONDS = 10

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, keep its lease and return its result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        # a lock that is broken, or only looked at, is nobody's of this run
        mine = bool(given.get("verb")) or not (given.get("run_id") or given.get("state") == "observed")
        me = {} if given.get("holder") or not mine else identify("")
        found = self._execute_module(module_args={**me, **given}, task_vars=task_vars)
        if me and given.get("state") == "observed":
            # only here, and not on the node, it is known whether the holder is gone
            holder = str((found.get("lock") or {}).get("holder") or me["holder"])
            known = me if holder == me["holder"] else identify(holder)
            if known["holder_gone"]:
                found = self._execute_module(module_args={**known, **given}, task_vars=task_vars)
            found["holder_gone"] = known["holder_gone"]
        result.update(found)
        lease = result.pop("lease", None)
        if lease and not result.get("failed") and not self._task.check_mode:
            transport = str(self._connection.transport).rpartition(".")[2]
            if transport in _TRANSPORTS:
                self._keep(lease)
        return result

    def _keep(self, lease: dict[str, Any]) -> None:
        """Begin to keep the lease, unless that is done already."""
        playbook = _Process(os.getppid())
        marker = os.path.join(C.DEFAULT_LOCAL_TMP, f"rspm-ha-lock-{lease['number']}-{lease['run_id']}")
        if _keeper_lives(marker):
            return
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            os.setsid()
            if os.fork() == 0:
                self._be_keeper(lease, playbook, marker)
        finally:
            os._exit(0)

    def _be_keeper(self, lease: dict[str, Any], playbook: _Process, marker: str) -> None:
        """Keep the lease until the playbook is gone; end the playbook where it has lost the lock."""
        # those of the worker are for the worker
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        display.verbosity = 0
        with open(marker, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()} {start_time(os.getpid())}")
        interpreter = str(getattr(self, "_used_interpreter", None) or "").lstrip("#! ") or "/usr/bin/python3"
        command = " ".join([interpreter, "-I", "-c", shlex.quote(RENEW), *map(shlex.quote, lease["place"])])

        def attempt(word: str) -> _Attempt:
            return _Attempt(self, f"{command} {shlex.quote(word)}")

        why = keep(float(lease["seconds"]), playbook.lives, attempt, _clock, time.sleep)
        if why:
            display.error(f"This run ends now: {why}. See rspm.ha.status, then run the same command again.")
            playbook.end()


class _Process:
    """A process that no other is taken for."""

    def __init__(self, pid: int) -> None:
        self.pid, self.started = pid, start_time(pid)

    def lives(self) -> bool:
        """Whether it does."""
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return start_time(self.pid) == self.started

    def end(self) -> None:
        """End it: as Ctrl-C does, or else by force."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.lives():
                os.kill(self.pid, number)
            until = time.monotonic() + _END_SECONDS
            while self.lives() and time.monotonic() < until:
                time.sleep(0.2)


class _Attempt:
    """A command on the node, in a process of its own, which may hang as the storage does."""

    def __init__(self, action: ActionBase, command: str) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                said = action._low_level_execute_command(command)
                code = _CODES.get(answer_of(str(said.get("stdout", ""))), 1)
            finally:
                os._exit(code)

    def poll(self) -> str | None:
        """Return what came of it, None while it lasts."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        return next((word for word, code in _CODES.items() if os.waitstatus_to_exitcode(status) == code), "")

    def kill(self) -> None:
        """Give it up."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _clock() -> float:
    """Return a clock that nobody sets and that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _keeper_lives(marker: str) -> bool:
    try:
        with open(marker, encoding="ascii") as file:
            pid, started = file.read().split()
    except (OSError, ValueError):
        return False
    return str(start_time(int(pid))) == started
