# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a command as the account of the service, or another one."""

from __future__ import annotations

import pwd

from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT


def as_account(argv: list[str], account: str = "") -> list[str]:
    """Return argv to be run as an account, to which alone a file server may show its files; as root without it.

    account: "" for the service's.
    """
    try:
        pwd.getpwnam(account or ACCOUNT)
    except KeyError:
        return argv
    return ["runuser", "-u", account or ACCOUNT, "--", *argv]
