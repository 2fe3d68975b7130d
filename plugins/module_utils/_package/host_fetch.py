# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch a package, and move it to where packages are staged."""

from __future__ import annotations

import os
from http.client import HTTPException

from ansible.module_utils.urls import ConnectionError as AnsibleConnectionError
from ansible.module_utils.urls import open_url

from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_folder
from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import free_bytes
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._package import rules as package
from ansible_collections.rspm.ha.plugins.module_utils._package.host import require_apart

# URLError and time-outs are OSErrors
_FETCH_ERRORS = (OSError, HTTPException, AnsibleConnectionError, ValueError)


def prepare_folder(path: str) -> None:
    """Make the staging folder, readable by the package managers' own users and writable by root only."""
    make_folder(path)
    require_apart(path)
    os.chmod(path, 0o755)


def place(path: str, target: str) -> None:
    """Move a verified file into the staging folder in one step."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o644)
        os.fchown(descriptor, 0, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(path, target)


def fetch(url: str, target: str, folder: str) -> None:
    """Fetch url into target, which lies below folder; certificates are checked, proxies are the environment's.

    Raises DomainError where there is no good answer or no space, and OSError where writing fails.
    """
    try:
        response = open_url(url, timeout=60, follow_redirects="safe")
        length = int(response.headers.get("Content-Length") or 0)
    except _FETCH_ERRORS as error:
        raise DomainError(package.not_fetched(url, str(error))) from error
    raise_any(package.judge_space({folder: free_bytes(folder)}, package.space_to_stage(folder, length)))
    with open(target, "wb") as file:
        while True:
            try:
                chunk = response.read(1 << 20)
            except _FETCH_ERRORS as error:
                raise DomainError(package.not_fetched(url, str(error))) from error
            if not chunk:
                return
            file.write(chunk)
