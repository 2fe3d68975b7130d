# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args


def run_module(module: ModuleType, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module and return its result, as Ansible would read it."""
    results: list[str] = []
    with patch_module_args(dict(arguments)), pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda text, *_rest, **_more: results.append(text))
        with pytest.raises(SystemExit):
            module.main()
    result: dict[str, Any] = json.loads(results[-1])
    return result
