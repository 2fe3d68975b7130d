# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""See whether anything was written to the databases meanwhile. writes says how. Whatever fails is a doubt, no error."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import Connection, require_session
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import ConnectFailed, ServerRefused
from ansible_collections.rspm.ha.plugins.module_utils._postgres.writes import (
    OTHERS_QUERY,
    READING_QUERY,
    VERSION_QUERY,
    Reading,
    doubt_old_server,
    doubt_others,
    doubt_reading,
    find_written,
)

_LOGIN_TIMEOUT = 10.0
# The first reading is taken while nobody serves, the last one when that is all that is left to do
_FIRST_TIMEOUT, _LAST_TIMEOUT = 1.0, 10.0
# for the last sessions of a process that has ended, and autovacuum's
_PATIENCE = 10.0
_POLL_INTERVAL = 0.05


class Witness:
    """A session in each of the databases, from before the first moment until after the second.

    database: as SESSION_OPTIONS has it.
    """

    def __init__(self, database: Mapping[str, Any]) -> None:
        self._doubt = ""
        self._sessions: dict[str, Connection] = {}
        self._before: dict[str, Reading] = {}
        server = (database["host"], database["port"])
        account = (database["user"], database["password"], database["sslmode"])
        with self._doubting():
            for name in dict.fromkeys(database["databases"]):
                session = require_session(*server, name, *account, _LOGIN_TIMEOUT, database["options"])
                self._sessions[name] = session
                version = session.query(VERSION_QUERY).as_dicts()[0]["version"]
                self._doubt = self._doubt or doubt_old_server(int(version or 0))
            if not self._doubt:
                # planned, and asked once, now: later nobody serves meanwhile
                for session in self._sessions.values():
                    session.query(f"PREPARE reading AS {READING_QUERY}")
                self._read(_LAST_TIMEOUT)

    def begin(self) -> None:
        """Take the first reading."""
        with self._doubting():
            self._before = {} if self._doubt else self._read(_FIRST_TIMEOUT)

    def doubt(self) -> str:
        """Return what was, or may have been, written since the first reading, "" where certainly nothing was."""
        after: dict[str, Reading] = {}
        with self._doubting():
            if self._before and not self._doubt:
                self._await_end_of_others()
                after = self._read(_LAST_TIMEOUT)
                self._await_end_of_others()
        if self._doubt or not after:
            return self._doubt or "nothing was read before"
        found = {name: find_written(self._before[name], after[name]) for name in after}
        return "; ".join(f"in {name} {written}" for name, written in found.items() if written)

    def close(self) -> None:
        """End the sessions."""
        for session in self._sessions.values():
            session.close()

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Take whatever fails for a reason to doubt."""
        try:
            yield
        except (DomainError, ServerRefused, ConnectFailed) as error:
            self._doubt = self._doubt or f"the databases could not be asked ({error})"

    def _read(self, timeout: float) -> dict[str, Reading]:
        """Return a reading of each database. timeout: seconds for each."""
        found: dict[str, Reading] = {}
        for name, session in self._sessions.items():
            session.timeout = timeout
            found[name] = session.query("EXECUTE reading").as_dicts()[0]
            self._doubt = self._doubt or doubt_reading(found[name])
        return found

    def _await_end_of_others(self) -> None:
        """Wait until nobody else is in the databases; a doubt where somebody is."""
        deadline = time.monotonic() + _PATIENCE
        for session in self._sessions.values():
            while others := session.query(OTHERS_QUERY).as_dicts():
                if time.monotonic() >= deadline:
                    self._doubt = self._doubt or doubt_others(others)
                    return
                time.sleep(_POLL_INTERVAL)
