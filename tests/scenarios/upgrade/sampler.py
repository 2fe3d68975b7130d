"""Runs on a node: every 100 ms, which processes of the service there are and of which version, a JSON line each.

It knows nothing of the collection: processes are those of the program's file, whoever started them; versions are what
the API tells, and what the package manager had on the disk when a process was first seen.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.request
from contextlib import suppress

PROGRAM = b"/opt/rstudio-pm/bin/rstudio-pm"
PACKAGES = "/var/lib/dpkg/status"
API = "http://127.0.0.1:4242/__api__/status"
PERIOD = 0.1
LOOKS = 5  # at a new process, until it has become the program that it is to run


def started(pid: int) -> str:
    """Return the start of a process in ticks since boot; "" where it is none of the service."""
    with suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            words = stream.read().split(b"\0")
        if PROGRAM in words[:2] and b"--version" not in words:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
                return stream.read().rpartition(")")[2].split()[19]
    return ""


def installed() -> str:
    """Return the version that the package manager has."""
    with open(PACKAGES, encoding="utf-8") as stream:
        found = re.search(r"^Package: rstudio-pm\n(?:.+\n)*?Version: (.*)$", stream.read(), re.M)
    return found.group(1) if found else ""


def told() -> str:
    """Return the version that the API tells, "" where it does not answer."""
    try:
        with urllib.request.urlopen(API, timeout=0.2) as answer:
            return str(json.load(answer)["version"])
    except (OSError, ValueError, KeyError):
        return ""


def main(path: str) -> None:
    """Write a line each time until the file is gone."""
    own = os.getpid()
    looks: dict[int, int] = {}
    services: dict[int, list[str]] = {}
    on_disk, changed = "", 0.0
    with open(path, "w", encoding="utf-8", buffering=1) as log:
        while os.path.exists(path):
            at = time.time()
            pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {own}
            looks = {pid: looks.get(pid, 0) + 1 for pid in pids}
            with suppress(OSError):
                if (now := os.stat(PACKAGES).st_mtime) != changed:
                    on_disk, changed = installed(), now
            for pid in pids:
                if pid in services or looks[pid] <= LOOKS:
                    start = started(pid)
                    if not start:
                        services.pop(pid, None)
                    elif services.get(pid, [""])[0] != start:
                        services[pid] = [start, on_disk, ""]
            services = {pid: service for pid, service in services.items() if pid in pids}
            if len(services) == 1:
                (service,) = services.values()
                service[2] = service[2] or told()
            log.write(json.dumps({"at": at, "services": [[pid, *service] for pid, service in services.items()]}) + "\n")
            time.sleep(max(0.0, at + PERIOD - time.time()))


if __name__ == "__main__":
    main(sys.argv[1])
