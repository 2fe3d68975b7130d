# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in a process beside this one: what it mounts is its own, and the kernel ends it when this one ends.

Begin it before there is any thread: a fork takes along the locks that another thread has, and nobody would open them.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.host_worker import die_with_parent


class Beside:
    """The work, which returns plain data."""

    def __init__(self, work: Callable[[], dict[str, Any]]) -> None:
        """Begin it."""
        reader, writer = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(reader)
                die_with_parent()
                # that may have ended before it was asked for
                if os.getppid() == parent:
                    _answer(writer, work)
            finally:
                os._exit(0)
        os.close(writer)
        self._reader = reader

    def result(self) -> dict[str, Any] | None:
        """Wait for its end, and return what it returned; None where it was killed."""
        with open(self._reader, "rb", closefd=False) as file:
            said = file.read()
        self.end()
        answer: dict[str, Any] = json.loads(said) if said else {}
        if "crash" in answer:
            raise RuntimeError(answer["crash"])
        return answer.get("made")

    def end(self) -> None:
        """End it, however far it is."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._reader)
            self._pid = 0


def _answer(writer: int, work: Callable[[], dict[str, Any]]) -> None:
    try:
        answer: dict[str, Any] = {"made": work()}
    except BaseException:
        answer = {"crash": traceback.format_exc()}
    with open(writer, "wb") as file:
        file.write(json.dumps(answer).encode("ascii"))
