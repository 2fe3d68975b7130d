# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a licence is there: a licence file, or an activation made with license-manager."""

from __future__ import annotations

import os
import pwd
import sys
import time
from contextlib import suppress
from pathlib import Path

from . import facts

ACCOUNT = "rstudio-pm"


def _folders() -> list[Path]:
    folders = [facts.rooted("/var/lib/rstudio-pm")]
    with suppress(KeyError):
        folders.append(Path(pwd.getpwnam(ACCOUNT).pw_dir) / ".rstudio-pm")
    return folders


def state_file() -> Path:
    """The file in which an activation is kept; it belongs to one machine."""
    return facts.rooted("/var/lib/rstudio-pm/verify/activation")


def status() -> tuple[bool, str]:
    """Return whether a licence is there, and how that is known."""
    wrong = []
    for folder in _folders():
        try:
            files = sorted(folder.glob("*.lic"))
            for file in files:
                if file.stat().st_mode & 0o7777 == 0o600:
                    return True, f"licence file {file}"
                wrong.append(f"the licence file {file} is ignored because its mode is not 0600")
        except OSError:
            continue
    if state_file().exists():
        return True, "activated with license-manager"
    return False, "; ".join(wrong) or "no licence file and no activation"


def demanded() -> bool:
    """Return whether this host's switches demand a licence."""
    return facts.enabled("LICENSE_REQUIRED")


class Watch:
    """Answers cheaply: looks again at most once a second."""

    def __init__(self) -> None:
        self._until = 0.0
        self._missing = False

    def missing(self) -> bool:
        """Return whether a licence is demanded and absent."""
        now = time.monotonic()
        if now >= self._until:
            self._missing = demanded() and not status()[0]
            self._until = now + 1
        return self._missing


def main(arguments: list[str]) -> int:
    """Run license-manager."""
    command = arguments[0] if arguments else ""
    if command == "status":
        found, how = status()
        print(f"Status: {'Activated' if found else 'Deactivated'}")
        print(f"Detail: {how} ({facts.NOTICE})")
        return 0
    if command == "activate" and len(arguments) == 2:
        state_file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        state_file().write_text("activated\n", "utf-8")
        if os.geteuid() == 0 and "STANDIN_ROOT" not in os.environ:
            account = pwd.getpwnam(ACCOUNT)
            for path in (state_file().parent, state_file()):
                os.chown(path, account.pw_uid, account.pw_gid)
        print("Status: Activated")
        return 0
    if command == "deactivate":
        if not state_file().exists():
            print("license-manager: nothing is activated on this machine", file=sys.stderr)
            return 1
        state_file().unlink()
        print("Status: Deactivated")
        return 0
    if command == "--version":
        print(facts.version_line("license-manager"))
        return 0
    print("usage: license-manager status | activate KEY | deactivate", file=sys.stderr)
    return 2
