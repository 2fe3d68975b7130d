# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a package is installed while another node serves: its scripts reach no network, no service and no shared data.

They find themselves in a container of the same files: no network at all, an empty /run, so that there is no systemd,
D-Bus or database to talk to, /dev/null where any other program has a socket, and what nodes share for reading only.
What they start ends with them. They can't undo that, for they have not the right to mount or to enter a namespace.
Sources: namespaces(7), capabilities(7), unshare(1), setpriv(1), mount(8); proc_net_unix of proc(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import PLAYBOOK, Problem
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, mount_of

HIDDEN = ("/run", "/tmp")
# systemctl enables on the disk then, and says that it did what only a running systemd could
ENVIRONMENT = {"SYSTEMD_OFFLINE": "1"}
# of file systems that other machines may have mounted, too
_SHARED = frozenset(
    "nfs nfs4 cifs smb3 ceph fuse.ceph glusterfs fuse.glusterfs gfs2 ocfs2 lustre gpfs beegfs_nodev 9p virtiofs".split()
)
# A script asks the name of process 1 what kind of init the host has, and installs its unit accordingly
_SCRIPT = """\
set -e
read -r init </proc/1/comm
mount -t proc proc /proc
printf %s "$init" >/proc/self/comm
while [ "$1" != -- ]; do
    case $1 in
        hidden) mount -t tmpfs -o mode=1777 none "$2" ;;
        read_only) mount --bind "$2" "$2"; mount -o remount,bind,ro "$2" ;;
        covered) [ ! -S "$2" ] || mount --bind /dev/null "$2" ;;
    esac
    shift 2
done
shift
chmod 0755 /run
mkdir -m 1777 /run/lock
setpriv --bounding-set=-sys_admin -- "$@"
"""


@dataclass(frozen=True)
class Places:
    """What is different for the scripts. hidden: empty folders. read_only: mounts. covered: sockets of others."""

    hidden: tuple[str, ...]
    read_only: tuple[str, ...]
    covered: tuple[str, ...]


def parse_sockets(text: str) -> tuple[str, ...]:
    """Return the paths of the Unix sockets in /proc/net/unix; those without one belong to the network's namespace."""
    found = [line.split(maxsplit=7) for line in text.splitlines()[1:]]
    return tuple(dict.fromkeys(words[7] for words in found if len(words) == 8 and words[7].startswith("/")))


def choose_places(mounts: Sequence[MountEntry], sockets: Iterable[str], data_dir: str, needed: Iterable[str]) -> Places:
    """Return what is to be different.

    data_dir: of the server, "" where there is none. needed: paths that have to be there all the same.
    """
    hidden = tuple(place for place in HIDDEN if not any(_is_below(path, place) for path in needed))
    shared = [entry.mount_point for entry in mounts if entry.fstype in _SHARED]
    below = mount_of(list(mounts), data_dir)
    # as root, whom a file server may show nothing, only the mount itself is sure to be found
    local = [data_dir] if data_dir and (below is None or below.fstype not in _SHARED) else []
    return Places(
        hidden,
        tuple(path for path in dict.fromkeys([*shared, *local]) if not _is_hidden(path, hidden)),
        tuple(path for path in sockets if not _is_hidden(path, hidden)),
    )


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def _is_hidden(path: str, hidden: Iterable[str]) -> bool:
    # /var/run is a link to /run
    return any(_is_below(path, place) or (_is_below(path, f"/var{place}") and place == "/run") for place in hidden)


def apart_argv(argv: Sequence[str], places: Places) -> list[str]:
    """Return the command that runs argv apart."""
    kinds = (("hidden", places.hidden), ("read_only", places.read_only), ("covered", places.covered))
    arranged = [word for kind, paths in kinds for path in paths for word in (kind, path)]
    namespaces = ["--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"]
    return ["unshare", *namespaces, "--", "/bin/sh", "-c", _SCRIPT, "rspm-ha-apart", *arranged, "--", *argv]


_OTHER_ORDER = "take the order that does without: -e rspm_upgrade_mode=first_serves_until_its_turn"


def not_apart(host: str, said: str) -> Problem:
    """Return the problem of a host on which nothing can be run apart."""
    return Problem(
        "package-apart",
        f"on {host} the package's scripts can't be kept apart from network, databases and shared data: {said}",
        "They would run while another node serves",
        f"Let root make namespaces there (containers seldom may), or {_OTHER_ORDER}",
    )


def brings_others(host: str, names: Iterable[str]) -> Problem:
    """Return the problem of a package that others have to come with."""
    return Problem(
        "package-dependencies",
        f"the package needs {', '.join(names)} on {host}, which would have to be fetched with it",
        "It is installed without a network, while another node serves",
        f"Install them on every node before, and run {PLAYBOOK}.upgrade again, or {_OTHER_ORDER}",
    )


def failed_apart(cause: Problem) -> Problem:
    """Return the problem of a package that could not be installed, with what may be different elsewhere."""
    return replace(cause, fix=f"{cause.fix}. Where its scripts need a network or the databases, {_OTHER_ORDER}")
