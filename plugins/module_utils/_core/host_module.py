# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a module ends whose work can't go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


@contextmanager
def problems_told(module: AnsibleModule, far: Callable[[], Mapping[str, Any]] = dict) -> Iterator[None]:
    """Have the module fail with the problems of a DomainError. far: what it returns besides, as how far it came."""
    try:
        yield
    except DomainError as error:
        module.fail_json(**error.to_result(), **far())
