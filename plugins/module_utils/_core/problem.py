# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong, why it matters, and what to type next: every check reports in this form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# What a person types, up to the playbook's name
PLAYBOOK = "ansible-playbook -i <inventory> rspm.ha"


@dataclass(frozen=True)
class Problem:
    """One failed check on one host.

    check: short kebab-case name of the check, stable for people who search for it.
    found: what was observed, with the values.
    why: why it matters to the cluster.
    fix: what to change or type next.
    """

    check: str
    found: str
    why: str
    fix: str

    def to_dict(self) -> dict[str, str]:
        """Return the problem as a plain mapping for a module result."""
        return {"check": self.check, "found": self.found, "why": self.why, "fix": self.fix}

    def __str__(self) -> str:
        """Return the problem as one line for a person."""
        return f"[{self.check}] {self.found}. {self.why}. {self.fix}."


class DomainError(Exception):
    """Raised where the work can't go on; carries every problem that a module reports."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(" ".join(map(str, problems)))
        self.problems = problems

    def to_result(self) -> dict[str, Any]:
        """Return what a module that fails says of it."""
        return {"msg": str(self), "problems": [problem.to_dict() for problem in self.problems]}


def raise_any(problems: Sequence[Problem]) -> None:
    """Raise DomainError with all problems at once, where there are any."""
    if problems:
        raise DomainError(*problems)


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems in their order, each once: two databases on one server have most failures in common."""
    return list(dict.fromkeys(problems))
