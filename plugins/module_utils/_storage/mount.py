# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is mounted, with which options, and how far that is from what was asked for.

Facts come from proc_pid_mountinfo(5), nfs(5) and from what the kernel's NFS client shows of a mount: an option that has
its default value is not shown, and actimeo is shown as the four values that it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Seconds; nfs(5)
_AC_DEFAULTS = {"acregmin": 3, "acregmax": 60, "acdirmin": 30, "acdirmax": 60}
_LOOKUP = {"all": "all", "none": "none", "pos": "pos", "positive": "pos"}
# Read by mount(8), mount.nfs(8) and systemd.mount(5); the kernel never sees them
_USERSPACE = frozenset(
    ["_netdev", "auto", "noauto", "defaults", "nofail", "bg", "fg", "retry", "comment", "addr", "mountaddr", "user"]
)
_CACHE_NAMES = frozenset([*_AC_DEFAULTS, "actimeo", "noac", "ac", "lookupcache"])
# name -> the option that says the opposite; which of the two a mount has is shown by the presence of the shown one
_FLAGS = {
    "rw": ("rw", True),
    "ro": ("rw", False),
    "hard": ("hard", True),
    "soft": ("hard", False),
    "softerr": ("softerr", True),
    "suid": ("nosuid", False),
    "nosuid": ("nosuid", True),
    "dev": ("nodev", False),
    "nodev": ("nodev", True),
    "exec": ("noexec", False),
    "noexec": ("noexec", True),
    "noatime": ("noatime", True),
    "cto": ("nocto", False),
    "nocto": ("nocto", True),
    "lock": ("nolock", False),
    "nolock": ("nolock", True),
    "acl": ("noacl", False),
    "noacl": ("noacl", True),
    "resvport": ("noresvport", False),
    "noresvport": ("noresvport", True),
}
_EXACT = frozenset(["proto", "timeo", "retrans", "sec", "nconnect", "port"])
# The server may grant less than was asked for
_AT_MOST = frozenset(["rsize", "wsize"])


@dataclass(frozen=True)
class MountEntry:
    """One line of /proc/self/mountinfo.

    device: "major:minor", as st_dev has it. options: of this mount. super_options: of the file system.
    """

    device: str
    root: str
    mount_point: str
    options: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def is_nfs(self) -> bool:
        """Tell whether it is an NFS mount."""
        return self.fstype in ("nfs", "nfs4")

    @property
    def live_options(self) -> tuple[str, ...]:
        """All options in force; the mount is read-only if it or its file system is."""
        together = [*self.options, *(option for option in self.super_options if option not in self.options)]
        if "ro" in together:
            together = [option for option in together if option != "rw"]
        return tuple(together)


@dataclass(frozen=True)
class CacheSettings:
    """For how many seconds an NFS client uses what it has cached."""

    lookupcache: str
    acregmin: int
    acregmax: int
    acdirmin: int
    acdirmax: int

    @property
    def negative_lookup_seconds(self) -> int:
        """For how many seconds a file that another client has created may stay missing here.

        The client trusts a directory for acdirmin first and for at most acdirmax later, and does not sort the two: with
        acdirmax=5 alone it is the default acdirmin of 30 that counts.
        """
        return 0 if self.lookupcache in ("pos", "none") else max(self.acdirmin, self.acdirmax)


@dataclass(frozen=True)
class OptionDifference:
    """One option whose value in force is not the wanted one."""

    name: str
    wanted: str
    live: str

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.name} is {self.live} instead of {self.wanted}"


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)


def parse_mountinfo(text: str) -> list[MountEntry]:
    """Return the entries of /proc/self/mountinfo in its order; a line of another form is skipped."""
    entries = []
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not separator or len(left) < 6 or len(right) < 3:
            continue
        entries.append(
            MountEntry(
                device=left[2],
                root=_unescape(left[3]),
                mount_point=_unescape(left[4]),
                options=tuple(left[5].split(",")),
                fstype=right[0],
                source=_unescape(right[1]),
                super_options=tuple(right[2].split(",")),
            )
        )
    return entries


def mount_at(entries: Sequence[MountEntry], path: str) -> MountEntry | None:
    """Return what is mounted exactly at path (the last one mounted hides the others), or None."""
    found = [entry for entry in entries if entry.mount_point == path]
    return found[-1] if found else None


def mount_of(entries: Sequence[MountEntry], path: str) -> MountEntry | None:
    """Return the mount that path lies on, or None when not even / is listed."""
    holders = [
        entry for entry in entries if path == entry.mount_point or path.startswith(entry.mount_point.rstrip("/") + "/")
    ]
    longest = max((len(entry.mount_point) for entry in holders), default=0)
    deepest = [entry for entry in holders if len(entry.mount_point) == longest]
    return deepest[-1] if deepest else None


def export_path(entry: MountEntry) -> str:
    """Return what the server calls the mount, as server:/path; root is another folder of it for a bind mount."""
    inner = entry.root.strip("/")
    source = entry.source.rstrip("/")
    return source if not inner or source.endswith(f"/{inner}") else f"{source}/{inner}"


def shared_mount_point(entries: Sequence[MountEntry], path: str) -> str:
    """Return where the share is mounted that path lies on; path itself where none is mounted now."""
    entry = mount_of(entries, path)
    return entry.mount_point if entry is not None and (entry.is_nfs or entry.fstype == "autofs") else path


def _seconds(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() else None


def cache_settings(options: Sequence[str]) -> CacheSettings:
    """Return the cache settings that options mean, given or live; later options win, as they do for mount.nfs."""
    lookup = "all"
    times = dict(_AC_DEFAULTS)
    for option in options:
        name, _unused, value = option.partition("=")
        if name == "lookupcache":
            lookup = _LOOKUP.get(value, lookup)
        elif name == "noac":
            times = dict.fromkeys(times, 0)
        elif name == "actimeo" and _seconds(value) is not None:
            times = dict.fromkeys(times, int(value))
        elif name in times and _seconds(value) is not None:
            times[name] = int(value)
    return CacheSettings(lookupcache=lookup, **times)


def security_of(options: Sequence[str]) -> str:
    """Return how a mount or an export proves and protects requests, from its options; AUTH_SYS where none says it."""
    return _value(options, "sec") or "sys"


def nfs_options(version: str, cache: str, security: str = "sys") -> list[str]:
    """Return the options of the mount in /etc/fstab.

    version: "3", "4", "4.1" or "4.2". cache: "lookupcache=pos", "actimeo=N" or "acdirmax=N". security: as sec has it;
    "sys" is left to the two sides, as it always was.
    The last four are for the boot: the machine comes up without the mount and goes on trying for as long as it takes,
    while what needs the mount waits for it; systemd.mount(5) does the same for bg, but mount(8) would then report a
    mount that isn't there.
    """
    name, _unused, value = cache.partition("=")
    # see CacheSettings.negative_lookup_seconds
    caching = [f"acdirmin={value}", cache] if name == "acdirmax" else [cache]
    boot = ["_netdev", "nofail", "x-systemd.mount-timeout=infinity", "retry=10000"]
    protected = [] if security == "sys" else [f"sec={security}"]
    return ["rw", "hard", f"vers={version}", *protected, *caching, *boot]


def kernel_options(options: Sequence[str]) -> list[str]:
    """Return the options that say something of the mount itself, without those for the boot and for retries."""
    return [
        option
        for option in options
        if option.partition("=")[0] not in _USERSPACE and not option.lower().startswith("x-")
    ]


def _value(live: Sequence[str], name: str) -> str | None:
    values = [option.partition("=")[2] for option in live if option.partition("=")[0] == name]
    return values[-1] if values else None


def _version_fits(wanted: str, live: str | None) -> bool:
    # vers=4 leaves the minor version to the two kernels
    return live is not None and (live == wanted or (wanted == "4" and live.startswith("4.")))


def option_differences(wanted: Sequence[str], live: Sequence[str]) -> list[OptionDifference]:
    """Return where the options in force are not the wanted ones.

    wanted: as in fstab. live: MountEntry.live_options. What wanted does not name is not compared, except for caching,
    where the defaults are what the collection is there to avoid, and what the kernel does not show is not either.
    """
    differences = []
    wanted_cache, live_cache = cache_settings(wanted), cache_settings(live)
    for name in ("lookupcache", *_AC_DEFAULTS):
        ours, theirs = str(getattr(wanted_cache, name)), str(getattr(live_cache, name))
        if ours != theirs:
            differences.append(OptionDifference(name, ours, theirs))
    for option in kernel_options(wanted):
        name, _unused, value = option.partition("=")
        if name in _CACHE_NAMES:
            continue
        if name in ("vers", "nfsvers"):
            shown = _value(live, "vers")
            if not _version_fits(value, shown):
                differences.append(OptionDifference("vers", value, shown or "unknown"))
        elif name in _FLAGS:
            shown_name, wants_it = _FLAGS[name]
            if (shown_name in live) != wants_it:
                differences.append(OptionDifference(name, "on", "off"))
        elif name in _EXACT:
            shown = _value(live, name)
            if shown is not None and shown != value:
                differences.append(OptionDifference(name, value, shown))
        elif name in _AT_MOST:
            shown = _value(live, name)
            if shown is not None and int(shown) > int(value):
                differences.append(OptionDifference(name, value, shown))
    return differences
