# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command runner that every loader is given: what ran, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError, Problem

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


@dataclass(frozen=True)
class CompletedCommand:
    """What a finished command left.

    rc: exit status; 124 when it ran out of time, 127 when there is no such command (as coreutils' timeout says it).
    stdout, stderr: decoded as UTF-8.
    """

    rc: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs one command without a shell, in the C locale."""

    def __call__(
        self,
        argv: list[str],
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> CompletedCommand:
        """Run argv; with check, raise DomainError unless it exits with 0. timeout is in seconds."""


def module_runner(module: AnsibleModule) -> Runner:
    """Return the Runner that uses module's own run_command."""

    def run(
        argv: list[str],
        *,
        check: bool = False,
        timeout: float | None = None,
        input: str | None = None,
        env: dict[str, str] | None = None,
    ) -> CompletedCommand:
        # run_command knows no time limit; coreutils is on every host
        limited = argv if timeout is None else ["timeout", "--kill-after=5", f"{timeout:g}", *argv]
        try:
            rc, stdout, stderr = module.run_command(
                limited,
                data=input,
                binary_data=True,
                environ_update={"LC_ALL": "C", **(env or {})},
                errors="surrogate_then_replace",
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as error:
            rc, stdout, stderr = 127, "", f"{argv[0]}: {error.strerror}"
        if check and rc != 0:
            said = (stderr.strip() or stdout.strip() or "it said nothing").replace("\n", "; ")
            raise DomainError(
                Problem(
                    check="command",
                    found=f"{' '.join(argv)} ended with {rc}: {said}",
                    why="The work on this host can't go on without it",
                    fix="Run the command on the host by hand, repair what it says, and run the playbook again",
                )
            )
        return CompletedCommand(rc, stdout, stderr)

    return run
