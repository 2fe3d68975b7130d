# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions have in common that look at all hosts at once."""

from __future__ import annotations

from ansible.plugins.action import ActionBase


class ControllerAction(ActionBase):  # type: ignore[misc] # Ansible has no types
    """An action that runs on the controller, once for all hosts of the play, in check mode too, and asks no machine."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _supports_check_mode = True
