# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a copy is written. Root opens it without following links, gives it to the account, and writes nothing in it."""

from __future__ import annotations

import os
from contextlib import suppress

from ansible_collections.rspm.ha.plugins.module_utils._account_files.host import Account, open_unfollowed, swappable
from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import free_space
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.plan import Room, TargetFacts
from ansible_collections.rspm.ha.plugins.module_utils._tree_copy.rules import (
    owner_problem,
    place_problem,
    state_problem,
)


def require_apart(host: str, folder: str, account: Account | None) -> None:
    """Raise DomainError where the account could lead root elsewhere on the way to a folder of root's."""
    place = swappable(folder, account)
    if place:
        raise DomainError(state_problem(host, folder, place))


def load_room(path: str) -> Room:
    """Return what is left where the path is, or would be made."""
    return Room(*free_space(path))


def load_target(path: str, copy_of: str) -> TargetFacts:
    """Return what is at the destination. copy_of: source whose copy it is, as the state knows it."""
    try:
        real = os.path.realpath(path)
    except OSError:
        # a link that is gone by now
        real = path
    try:
        descriptor = open_unfollowed(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return TargetFacts(real, "absent", True, copy_of)
    except OSError:
        # a file, or a link in the way
        return TargetFacts(real, "other", False, copy_of)
    try:
        return TargetFacts(real, "folder", not os.listdir(descriptor), copy_of)
    finally:
        os.close(descriptor)


def _make_folder(above: str, name: str) -> int:
    """Have a folder there, and return it opened."""
    parent = open_unfollowed(above, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)


def make_destination(host: str, path: str, account: Account | None) -> None:
    """Have a folder of the account's there, which writes the copy; an empty one of root's is given to it."""
    try:
        descriptor = _make_folder(*os.path.split(path))
    except OSError as error:
        raise DomainError(place_problem(host, path, error.strerror or str(error))) from error
    try:
        owner = os.fstat(descriptor).st_uid
        if account is None or owner == account.uid:
            return
        # what the account can have put there in its place is a folder of its own, or one that was there already
        if owner != 0 or os.listdir(descriptor):
            raise DomainError(owner_problem(host, path, owner, account.name))
        os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)
