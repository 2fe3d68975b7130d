# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the signature of an rpm on this host."""

from __future__ import annotations

import os
import tempfile

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
from ansible_collections.rspm.ha.plugins.module_utils._package.host_fetch import fetch
from ansible_collections.rspm.ha.plugins.module_utils._package.signature import (
    check_argv,
    import_argv,
    judge_signature,
)


def check_signature(run: Runner, path: str, key: str) -> list[Problem]:
    """Return why a file is not certainly signed. key: address or path of the only key that counts, "" for the host's.

    Raises DomainError where the key can't be had.
    """
    if not key:
        done = run(check_argv("", path), timeout=120)
        return judge_signature(path, key, done.rc, done.stdout, done.stderr)
    # a keyring of its own, which nothing else on the host sees
    with tempfile.TemporaryDirectory() as folder:
        local = key
        if "://" in key:
            local = f"{folder}/key"
            fetch(key, local, folder)
        os.mkdir(f"{folder}/keys")
        run(import_argv(f"{folder}/keys", local), check=True, timeout=120)
        done = run(check_argv(f"{folder}/keys", path), timeout=120)
    return judge_signature(path, key, done.rc, done.stdout, done.stderr)
