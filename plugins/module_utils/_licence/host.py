# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading and applying the licence on a node. Decides nothing."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ansible_collections.rspm.ha.plugins.module_utils._config.unit import DROPIN_FOLDER, account_missing
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand, Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import (
    make_folder,
    read_text,
    sync_folder,
    write_file,
    write_in,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._licence.rules import (
    FILE_NAME,
    FOLDER,
    PROGRAM,
    Licence,
    LicenceState,
    not_given_back,
    out_of_time,
    parse_status,
    refused,
    replaces_another_kind,
    without_effect,
)
from ansible_collections.rspm.ha.plugins.module_utils._service.host import daemon_reload

MARK_PATH = f"{DROPIN_FOLDER}/rspm-ha-licence.conf"
_OUT_OF_TIME = 124
_STATUS_TIMEOUT = 60.0


def load_licence(runner: Runner, timeout: float = _STATUS_TIMEOUT) -> LicenceState | None:
    """Return what the node has, None where the product is not installed. Raises DomainError where it can't be told."""
    if not os.path.exists(PROGRAM):
        return None
    done = _run(runner, ["status"], timeout)
    state = parse_status(done.rc, f"{done.stdout}\n{done.stderr}")
    return replace(state, ours=_read_ours(), mark=read_text(MARK_PATH) or "")


def apply(runner: Runner, wanted: Licence, state: LicenceState, timeout: float) -> None:
    """Give the node the licence. A start of the service reads the mark, so that what runs is restarted for it."""
    if replaces_another_kind(wanted, state):
        give_back(runner, state, timeout)
    # First, so that a run that is cut off leaves the rest and a restart to be done.
    _write_mark(runner, f"{wanted.mark}# It may not be complete yet.\n")
    if wanted.kind == "file":
        _write_ours(wanted.value)
    else:
        _tell(runner, wanted, timeout)
    _write_mark(runner, wanted.mark)


def _write_mark(runner: Runner, text: str) -> None:
    make_folder(DROPIN_FOLDER)
    write_file(MARK_PATH, text, 0o644)
    daemon_reload(runner)


def _tell(runner: Runner, wanted: Licence, timeout: float) -> None:
    """Have license-manager activate a key, or know a licence server."""
    verb = "activate" if wanted.kind == "key" else "license-server"
    done = _run(runner, [verb, wanted.value], timeout)
    if done.rc != 0:
        # It may repeat the key.
        said = f"{done.stdout}\n{done.stderr}".replace(wanted.value, "***" if verb == "activate" else wanted.value)
        raise DomainError(refused(verb, done.rc, said))
    now = load_licence(runner)
    if now is None or not (now.key if verb == "activate" else now.server == wanted.value):
        raise DomainError(without_effect(verb))


def give_back(runner: Runner, state: LicenceState, timeout: float) -> None:
    """Take the licence from the node: the activation of its key, and the file that the collection has put there."""
    if state.key:
        done = _run(runner, ["deactivate"], timeout)
        if done.rc != 0:
            raise DomainError(not_given_back(done.rc, f"{done.stdout}\n{done.stderr}"))
    if state.ours is not None:
        with _folder(make=False) as folder:
            os.unlink(FILE_NAME, dir_fd=folder)
            os.fsync(folder)
    if state.mark:
        os.unlink(MARK_PATH)
        sync_folder(DROPIN_FOLDER)
        daemon_reload(runner)


def _run(runner: Runner, words: list[str], timeout: float) -> CompletedCommand:
    done = runner([PROGRAM, *words], timeout=timeout)
    if done.rc == _OUT_OF_TIME:
        raise DomainError(out_of_time(words[0], timeout))
    return done


@contextmanager
def _folder(*, make: bool) -> Iterator[int]:
    """Open the folder of licence files. It is the account's, who must not lead root elsewhere by a link."""
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise DomainError(account_missing(ACCOUNT)) from None
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    home = os.open(account.pw_dir, flags)
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(FOLDER, 0o700, dir_fd=home)
        folder = os.open(FOLDER, flags, dir_fd=home)
    finally:
        os.close(home)
    try:
        if make:
            os.fchown(folder, account.pw_uid, account.pw_gid)
            os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)


def _read_ours() -> str | None:
    """Return the text of the collection's licence file, None where it is not there or the product would ignore it."""
    try:
        with _folder(make=False) as folder:
            file = os.open(FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with open(file, encoding="utf-8", errors="surrogateescape", newline="") as text:
                found, owner = os.fstat(file), os.fstat(folder)
                regular = stat.S_ISREG(found.st_mode) and found.st_uid == owner.st_uid
                return text.read() if regular and stat.S_IMODE(found.st_mode) == 0o600 else None
    except (OSError, DomainError):
        return None


def _write_ours(text: str) -> None:
    """Put the licence file in place in one step."""
    with _folder(make=True) as folder:
        owner = os.fstat(folder)
        write_in(folder, FILE_NAME, text, 0o600, owner.st_uid, owner.st_gid)
