# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe what a migration has left on a node, and whether another run is at work. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._lock.host import LockFolder
from ansible_collections.rspm.ha.plugins.module_utils._lock.lease import seems_over
from ansible_collections.rspm.ha.plugins.module_utils._migration.host_record import RecordStore, is_mounted
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written, further
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import BLOCK_PATH, blocked_for

# Of a storage whose server is away.
_TIMEOUT = 15.0


def read(store: RecordStore) -> Written | None:
    """Return the record. What this host has itself counts also where the shared storage is gone."""
    own = store.read_own()
    try:
        return further(store.read_shared(), own)
    except DomainError:
        if own is None:
            raise
        return own


def load_own(store: RecordStore) -> dict[str, str]:
    """Return what this host alone knows: its own record's place in the migration, and why it is blocked."""
    own = store.read_own()
    return {"own": (own.here or "stays") if own else "", "blocked_for": blocked_for(read_text(BLOCK_PATH) or "")}


def load_left(runner: Runner, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node has left of earlier runs.

    given: storage_path, kind, uid and gid of the shared storage, and folder, our own on it.
    Returns record, own and blocked_for as the module migration_record does; lock, {} while nobody is known to hold it,
    and whether its lease is over;
    ready: whether the storage is there, so that the lock may be taken on it; and what was given.
    """
    store = RecordStore(f"{given['folder']}/migration", _TIMEOUT)
    path = given["storage_path"]
    left: dict[str, Any] = {
        "record": {},
        "lock": {},
        "over": False,
        "ready": is_mounted(path) if given["kind"] == "nfs" else _is_folder(runner, path),
        **given,
    }
    try:
        left.update(load_own(store))
        record = read(store)
        left["record"] = record.to_dict() if record else {}
        if left["ready"]:
            stored = LockFolder(f"{given['folder']}/lock", given["uid"], given["gid"], _TIMEOUT).read()
            left["lock"] = stored.record.to_dict() if stored.record else {}
            left["over"] = seems_over(stored.sign, time.time())
    except DomainError as error:
        # the checks of the storage say more of it
        left["says"] = str(error)
    return left


def _is_folder(runner: Runner, path: str) -> bool:
    # on a mount of the team's, whose server may be away
    return runner(as_account(["test", "-d", path]), timeout=_TIMEOUT).rc == 0
