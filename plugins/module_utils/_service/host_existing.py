# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe a server that was there before the collection, and keep a copy of its configuration."""

from __future__ import annotations

import os
import stat

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import parse
from ansible_collections.rspm.ha.plugins.module_utils._config.host import load_shared
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_user import as_account
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._service.existing import (
    ExistingServer,
    copy_name,
    server_data,
)
from ansible_collections.rspm.ha.plugins.module_utils._service.host import load_unit

_TIMEOUT = 10.0


def load_existing(run: Runner, config: str | None, ours: bool) -> ExistingServer | None:
    """Return the server that a configuration belongs to; None where there is none, or it can't be read as one.

    ours: whether the collection has configured it. Raises DomainError where its storage does not answer, so that nobody
    can tell what it has.
    """
    if config is None:
        return None
    try:
        data = server_data(parse(config))
    except DomainError:
        return None
    if ours and data.database != "sqlite":
        return ExistingServer(data, ours, running=True)
    listed = run(as_account(["ls", "-A", "--", data.sqlite_dir]), timeout=_TIMEOUT)
    return ExistingServer(
        data,
        ours,
        running=load_unit(run).running,
        sqlite_files=tuple(listed.stdout.split()) if data.database == "sqlite" and listed.rc == 0 else (),
        key=load_shared(run, data.key_path),
    )


def keep_copy(path: str, ours: bool) -> None:
    """Keep a copy of a configuration that will be replaced, with its mode and owner. ours: as for load_existing."""
    text = read_text(path)
    if text is None:
        return
    found = os.lstat(path)
    copy = copy_name(path, ours, os.path.lexists(f"{path}.original"))
    write_file(copy, text, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
