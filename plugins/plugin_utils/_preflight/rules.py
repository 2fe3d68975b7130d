# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it means that a host could not even be looked at, and the problems of all hosts as a table."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem

_EVERYTHING = "Every host is looked at before anything is changed on one"
_PASSWORD_VARIABLE = "Set ansible_become_password in the vault, or type --ask-become-pass"
# What sudo, su and doas say, and what Ansible says of them.
_BECOME = (
    (
        r"not in the sudoers file|may not run sudo|is not allowed to (?:execute|run)|operation not permitted",
        "does not let this account become root",
        "Allow it on the host (in /etc/sudoers.d), or set ansible_user to an account that may",
    ),
    (
        r"(?:sudo|su|doas)['\"]?: (?:command )?not found|(?:sudo|su|doas): no such file",
        "is not installed",
        "Install it on the host, or set ansible_become_method to what is there, or ansible_user to root",
    ),
    (
        r"you must have a tty|no tty present",
        "wants a terminal",
        "Remove requiretty from /etc/sudoers on the host",
    ),
    (r"incorrect \w+ password|sorry, try again|authentication failure", "takes another password", _PASSWORD_VARIABLE),
    (
        r"missing \w+ password|password is required|a terminal is required|become password prompt"
        r"|privilege escalation prompt",
        "asks for a password, and none was given",
        _PASSWORD_VARIABLE,
    ),
)
_NO_PYTHON = re.compile(r"python[\w.]*['\"]?: (?:command )?not found|python[\w.]*: no such file|interpreter", re.I)
_WIDTH = 118


def judge_unreachable(said: str) -> Problem:
    """Return the problem of a host that can't be reached. said: Ansible's words."""
    return Problem(
        "unreachable",
        f"It can't be reached ({_one_line(said)})",
        _EVERYTHING,
        "See that this logs in: ansible -i <inventory> <host> -m ansible.builtin.ping; it is decided by ansible_host, "
        "ansible_user and the ssh key",
    )


def judge_failure(said: str, method: str) -> Problem:
    """Return the problem of a host on which the look itself failed. said: all that Ansible and the host said.

    method: how root's rights are got (ansible_become_method), "" where they are not asked for.
    """
    for pattern, found, fix in _BECOME:
        if method and re.search(pattern, said, re.IGNORECASE):
            return Problem("become", f"{method} {found} ({_one_line(said)})", "Only root may change packages", fix)
    if _NO_PYTHON.search(said):
        return Problem(
            "python",
            f"There is no Python that Ansible could use ({_one_line(said)})",
            "Ansible's modules are written in it",
            "Install python3 on the host, or set ansible_python_interpreter to where it is",
        )
    return Problem(
        "host-check",
        f"The host could not be looked at ({_one_line(said)})",
        _EVERYTHING,
        "Repair what it says, and run the playbook again with -vvv if that does not tell enough",
    )


def _one_line(said: str) -> str:
    """Return the words in one line that is not endless."""
    return textwrap.shorten(" ".join(said.split()), 300, placeholder=" ...") or "it said nothing"


def problem_table(problems: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """Return the problems of all hosts as the lines of a table; what several hosts have in common is one row.

    problems: for each host, problems as Problem.to_dict returns them.
    """
    hosts = _by_problem(problems)
    if not hosts:
        return []
    first = min(max(len("host"), *(len(", ".join(names)) for names in hosts.values())), 30)
    second = max(len("check"), *(len(problem.check) for problem in hosts))
    third = max(_WIDTH - first - second - 4, 40)

    def row(names: str, check: str, text: list[str]) -> list[str]:
        cells = (textwrap.wrap(names, first) or [""], [check])
        return [
            "  ".join(
                (
                    *(f"{(cell[number] if number < len(cell) else ''):{width}}" for cell, width in zip(cells, widths)),
                    text[number] if number < len(text) else "",
                )
            ).rstrip()
            for number in range(max(len(text), *map(len, cells)))
        ]

    widths = (first, second)
    lines = row("host", "check", ["what was found, and what to do"])
    for problem, names in hosts.items():
        text = textwrap.wrap(f"{problem.found}.", third, break_on_hyphens=False, break_long_words=False)
        text += textwrap.wrap(f"-> {problem.fix}.", third, break_on_hyphens=False, break_long_words=False)
        lines += row(", ".join(names), problem.check, text)
    return lines


def report(problems: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """Return the problems of all hosts for a person; what several hosts have in common is said once.

    problems: for each host, problems as Problem.to_dict returns them.
    """
    return [f"{', '.join(names)}: {problem}" for problem, names in _by_problem(problems).items()]


def _by_problem(problems: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[Problem, list[str]]:
    """Return the hosts that have each problem."""
    hosts: dict[Problem, list[str]] = {}
    for host, entries in problems.items():
        for entry in entries:
            hosts.setdefault(Problem(**entry), []).append(host)
    return hosts
