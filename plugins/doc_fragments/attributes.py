# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules say of check mode, diff mode and a second run; a module says only in what it differs."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes."""

    # of a module that changes something
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Reports what would be done.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
"""

    # of a module that only looks
    LOOKS = r"""
attributes:
  check_mode:
    description: Changes nothing, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  idempotent:
    description: Changes nothing.
    support: full
"""
