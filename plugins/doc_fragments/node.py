# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of what is done on a node, which several modules have."""

from __future__ import annotations


class ModuleDocFragment:
    """The account of the service, how it is stopped and started, and the package manager."""

    DOCUMENTATION = r"""
options:
  uid:
    description: Numeric id of the service's user.
    type: int
    required: true
  gid:
    description: Numeric id of the service's group.
    type: int
    required: true
"""

    STOP = r"""
options:
  stop_timeout:
    description: For how many seconds systemd may take to stop the server.
    type: int
    default: 120
"""

    START = r"""
options:
  allow_unlicensed:
    description: Whether a server without a licence, which answers 402, counts as healthy.
    type: bool
    default: false
  health_timeout:
    description: For how many seconds to wait for health.
    type: int
    default: 300
"""

    PACKAGES = r"""
options:
  lock_timeout:
    description: For how many seconds to wait for another run of the package manager.
    type: int
    default: 300
"""
