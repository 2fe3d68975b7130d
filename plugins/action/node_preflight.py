# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module, and makes a problem of a node that can't be reached or looked at, as host_preflight does."""

from __future__ import annotations

from ansible_collections.rspm.ha.plugins.action import host_preflight


class ActionModule(host_preflight.ActionModule):
    """The action of the module of the same name."""
