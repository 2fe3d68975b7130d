# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look out for other nodes while everything is copied: one that is started, and stopped again, is gone at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_sessions import SessionWatch
from ansible_collections.rspm.ha.plugins.module_utils._postgres.sessions import judge_sessions

_INTERVAL = 0.5


class Lookout:
    """Looks again and again at who has a session in the old databases. Begin it when nothing is forked any more."""

    def __init__(self, open_watch: Callable[[], SessionWatch]) -> None:
        """Begin to look."""
        self._open, self._over = open_watch, threading.Event()
        self._problems: list[Problem] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> list[Problem]:
        """Look no more, and return what was found: the first session of another machine."""
        self._over.set()
        self._thread.join()
        return self._problems

    def _look(self) -> None:
        watch: SessionWatch | None = None
        try:
            while not (self._problems or self._over.wait(_INTERVAL)):
                try:
                    watch = watch or self._open()
                    self._problems = judge_sessions(watch.wait(0, not_of=watch.own_end().address), watch.where)
                except DomainError:
                    # databases that are away for a while can't be worked on either; at the end they have to answer
                    if watch:
                        watch.close()
                    watch = None
        finally:
            if watch:
                watch.close()
