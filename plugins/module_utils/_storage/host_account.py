# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the host's users and groups."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.rspm.ha.plugins.module_utils._storage.account import AccountRequest, AccountState

Key = TypeVar("Key", str, int)
Entry = TypeVar("Entry")


def read_account(wanted: AccountRequest) -> AccountState:
    """Return what this host knows of the wanted account and of who has its ids."""
    user = _found(pwd.getpwnam, wanted.name)
    group = _found(grp.getgrnam, wanted.name)
    uid_holder = _found(pwd.getpwuid, wanted.uid)
    gid_holder = _found(grp.getgrgid, wanted.gid)
    return AccountState(
        uid=user.pw_uid if user else -1,
        gid=user.pw_gid if user else -1,
        group_gid=group.gr_gid if group else -1,
        uid_name=uid_holder.pw_name if uid_holder else "",
        gid_name=gid_holder.gr_name if gid_holder else "",
    )


def _found(look: Callable[[Key], Entry], key: Key) -> Entry | None:
    try:
        return look(key)
    except KeyError:
        return None
