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


def server_file() -> Path:
    """The file that names the licence server."""
    return facts.rooted("/var/lib/rstudio-pm/verify/license-server")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


def _file() -> tuple[str, str]:
    """Return the licence file that counts, and why others do not."""
    wrong = []
    for folder in _folders():
        try:
            for file in sorted(folder.glob("*.lic")):
                text = file.read_bytes()
                if file.stat().st_mode & 0o7777 != 0o600:
                    wrong.append(f"the licence file {file} is ignored because its mode is not 0600")
                elif b"\r\n" in text or b"EXPIRED" in text:
                    wrong.append(f"the licence file {file} is no valid licence")
                else:
                    return str(file), ""
        except OSError:
            continue
    return "", "; ".join(wrong)


def status(licence_type: str = "") -> tuple[bool, str]:
    """Return whether a licence is there, and how that is known. licence_type: Licensing.LicenseType."""
    file, wrong = _file()
    if file:
        return True, f"licence file {file}"
    if licence_type == "remote":
        server = _read(server_file())
        return bool(server), f"leased from {server}" if server else "no licence server is named"
    if _read(state_file()):
        return True, "activated with license-manager"
    return False, wrong or "no licence file and no activation"


def demanded() -> bool:
    """Return whether this host's switches demand a licence."""
    return facts.enabled("LICENSE_REQUIRED")


class Watch:
    """Answers cheaply: looks again at most once a second."""

    def __init__(self, licence_type: str = "") -> None:
        self._type = licence_type
        self._until = 0.0
        self._missing = False

    def missing(self) -> bool:
        """Return whether a licence is demanded and absent."""
        now = time.monotonic()
        if now >= self._until:
            self._missing = demanded() and not status(self._type)[0]
            self._until = now + 1
        return self._missing


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(f"{text}\n", "utf-8")
    if os.geteuid() == 0 and "STANDIN_ROOT" not in os.environ:
        account = pwd.getpwnam(ACCOUNT)
        for each in (path.parent, path):
            os.chown(each, account.pw_uid, account.pw_gid)


def _say_status() -> None:
    file, wrong = _file()
    key, server = _read(state_file()), _read(server_file())
    if file:
        print(f"-- License file status --\n\nStatus: Activated\nHas-Key: Yes\nLicense-File: {file}\n")
    print(f"-- Local license status --\n\nStatus: {'Activated' if key else 'Deactivated'}")
    print(f"Product-Key: {key}\nHas-Key: Yes" if key else "Has-Key: No")
    print("\n-- Floating license status --\n")
    print(f"License-Server: {server}\nLease: Active" if server else "License server not in use.")
    print(f"\nDetail: {wrong or status()[1]} ({facts.NOTICE})")


def main(arguments: list[str]) -> int:
    """Run license-manager."""
    command = arguments[0] if arguments else ""
    if command in ("activate", "deactivate"):
        time.sleep(float(facts.switch("ACTIVATION_SECONDS", "0")))
    if command == "status":
        _say_status()
        return 0
    if command == "activate" and len(arguments) == 2:
        if arguments[1].startswith("BAD"):
            print("Error activating product key: (13) the product key is not valid", file=sys.stderr)
            return 1
        _keep(state_file(), arguments[1])
        print("Status: Activated")
        return 0
    if command == "license-server" and len(arguments) == 2:
        _keep(server_file(), arguments[1])
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
    print("usage: license-manager status | activate KEY | deactivate | license-server HOST:PORT", file=sys.stderr)
    return 2
