# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repository keeps the rules of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rules import module_rules, role_rules, room_rules, task_rules, text_rules, word_rules

ROOT = Path(__file__).resolve().parents[2]
Rule = Callable[[Path], list[str]]
RULES: list[Rule] = [
    *task_rules.RULES,
    *role_rules.RULES,
    *module_rules.RULES,
    *room_rules.RULES,
    *text_rules.RULES,
    *word_rules.RULES,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps(rule: Rule) -> None:
    found = rule(ROOT)
    if found:
        pytest.fail(f"{(rule.__doc__ or '').strip()}\n" + "\n".join(found), pytrace=False)
