"""Runs on a node: prints five times a second which processes of the server live, and of which version each is.

A line is `begin pid,start,version ...`; start is in clock ticks since boot. The version is what the installed program
says at the first sight of the process, so what runs is told apart from what was installed over it later.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

PROGRAM = b"/opt/rstudio-pm/bin/rstudio-pm"
_NO_SERVERS = (b"--version", b"check-config")


def _servers() -> list[tuple[str, str]]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if PROGRAM not in words[:2] or any(word in words for word in _NO_SERVERS):
                continue
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                found.append((pid, file.read().rpartition(")")[2].split()[19]))
    return found


def _version() -> str:
    shown = subprocess.run([PROGRAM.decode(), "--version"], capture_output=True, text=True, check=False).stdout.split()
    return shown[1] if len(shown) > 1 else "unknown"


def main() -> None:
    """Print samples until nobody reads them."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    known: dict[tuple[str, str], str] = {}
    while True:
        servers = _servers()
        for server in servers:
            if server not in known:
                known[server] = _version()
        print(boot, *(f"{pid},{start},{known[pid, start]}" for pid, start in servers), flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
