# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: failure_reason
short_description: Why a task failed
version_added: 1.0.0
description:
  - Takes the result of a task and returns why it failed. Where the module could not even begin, as on a full disk, that
    is what the machine said, and not that the result is no JSON.
options:
  _input:
    description: The result of a task, as it is registered.
    type: dict
    required: true
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show why the host failed
  ansible.builtin.debug:
    msg: "{{ ansible_failed_result | rspm.ha.failure_reason }}"
"""

RETURN = r"""
_value:
  description: The reason, empty where the result has none.
  type: str
  sample: "no module can run there, since its disk is full (OSError: [Errno 28] No space left on device: '/x')"
"""

from collections.abc import Callable

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.failure import failure_reason


class FilterModule:
    """The filter, by its name."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filter."""
        return {"failure_reason": failure_reason}
