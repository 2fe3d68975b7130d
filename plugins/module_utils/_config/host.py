# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write configuration, key and drop-in on a node, and have the product check them. Decides nothing."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._config.unit import judge_read
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand, Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder, read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT

CLI = "/opt/rstudio-pm/bin/rspm"
_CHECK_TIMEOUT = 60.0
_STORAGE_TIMEOUT = 10.0


@dataclass(frozen=True)
class OnDisk:
    """A file as it is: content None where there is none; mode with its permission bits only."""

    content: str | None
    mode: int = 0
    owner: str = ""
    group: str = ""

    def rights(self) -> str:
        """Return owner, group and mode in one text, for a diff."""
        return f"{self.owner}:{self.group} {self.mode:04o}" if self.content is not None else ""


def load_file(path: str) -> OnDisk:
    """Return a local file with its owner and mode."""
    content = read_text(path)
    if content is None:
        return OnDisk(None)
    found = os.lstat(path)
    return OnDisk(content, stat.S_IMODE(found.st_mode), _user(found.st_uid), _group(found.st_gid))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def account_ids(name: str) -> tuple[int, int] | None:
    """Return uid and gid of the account's user and of the group of the same name, None where one is missing."""
    try:
        return pwd.getpwnam(name).pw_uid, grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def save(path: str, text: str, mode: int, ids: tuple[int, int], folder_mode: int = 0o755) -> None:
    """Put a file in place in one step; its folder is made where there is none."""
    make_folder(os.path.dirname(path), folder_mode)
    write_file(path, text, mode, *ids)


def load_shared(runner: Runner, path: str) -> str | None:
    """Return a file that may lie on shared storage, None where it is absent.

    Raises DomainError where that can't be told: then nobody knows what would be replaced.
    """
    shown = runner(as_account(["cat", path]), timeout=_STORAGE_TIMEOUT)
    return judge_read(path, shown.rc, shown.stdout, shown.stderr, known_account=account_ids(ACCOUNT) is not None)


def folder_answers(runner: Runner, path: str) -> bool:
    """Return whether the folder is there and answers."""
    return runner(as_account(["test", "-d", path]), timeout=_STORAGE_TIMEOUT).rc == 0


def has_cli() -> bool:
    """Return whether the product's admin CLI is installed."""
    return os.access(CLI, os.X_OK)


class Candidate:
    """A configuration that is not in place yet: files of the service's account in a folder of root's; gone afterwards.

    The account reads them, but can't put anything else in their place.
    """

    def __init__(self, account: str, ids: tuple[int, int]) -> None:
        """Make the folder on a file system that no reboot keeps."""
        self._account = account
        self._ids = ids
        self.folder = tempfile.mkdtemp(prefix="rspm-ha-", dir="/run")

    def __enter__(self) -> Candidate:
        """Let the account pass."""
        os.chmod(self.folder, 0o711)
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder)

    def put(self, name: str, text: str, mode: int) -> str:
        """Write one file and return its path."""
        path = f"{self.folder}/{name}"
        write_file(path, text, mode, *self._ids)
        return path

    def check(self, runner: Runner, path: str) -> CompletedCommand:
        """Let the product check a configuration, as the account that will read it."""
        return runner(as_account([CLI, "check-config", "--config", path], self._account), timeout=_CHECK_TIMEOUT)
