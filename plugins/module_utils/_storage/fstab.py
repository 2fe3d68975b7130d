# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of a mount in /etc/fstab (fstab(5)); every other line stays as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem

FSTAB = "/etc/fstab"


def _escape(field: str) -> str:
    return re.sub(r"[\\ \t\n#]", lambda match: f"\\{ord(match.group()):03o}", field)


def _point(line: str) -> str:
    """Return the mount point of a line, empty for a comment and for what is no entry."""
    fields = line.split()
    if len(fields) < 3 or fields[0].startswith("#"):
        return ""
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[1])
    return point if point == "/" else point.rstrip("/")


def with_mount(text: str, source: str, path: str, options: Sequence[str]) -> str:
    """Return fstab with one NFS mount at path; the same text where it has that already."""
    wanted = [_escape(source), _escape(path), "nfs", ",".join(options)]
    lines = text.splitlines()
    at = [index for index, line in enumerate(lines) if _point(line) == path]
    if len(at) == 1 and lines[at[0]].split()[:4] == wanted:
        return text
    line = " ".join([*wanted, "0", "0"])
    kept = [line if index == at[0] else other for index, other in enumerate(lines) if index not in at[1:]] if at else []
    return "\n".join(kept or [*lines, line]) + "\n"


def without_mount(text: str, path: str) -> str:
    """Return fstab without a mount at path; the same text where there is none."""
    lines = text.splitlines()
    kept = [line for line in lines if _point(line) != path]
    return text if kept == lines else "".join(f"{line}\n" for line in kept)


def detached_text(path: str, how: str) -> str:
    """Return what is told of a mount whose server did not answer. how: the command that took it away."""
    return (
        f"The server of what was mounted at {path} did not answer in time, so that it was taken away by force ({how}). "
        "What was not yet written there is lost, and a process that waits for the server may do so until the reboot."
    )


def stays_mounted(path: str, source: str, timeout: float) -> DomainError:
    """Return the error of a mount that even force does not take away."""
    return DomainError(
        Problem(
            check="storage-unmount",
            found=f"{source} at {path} could not be unmounted within {timeout:g} s, nor by umount -f and umount -l",
            why="This host would mount it again, or go on using it",
            fix="Bring the file server back, or reboot this host, and run the same command again",
        )
    )
