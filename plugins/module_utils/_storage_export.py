# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an NFS server exports, to whom, and how far that is from what was asked for; see exports(5) and exportfs(8)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError, Problem

# exports(5) calls each of these a default or a choice; the server spells all of them out in its table
EXPORT_OPTIONS = ("rw", "sync", "no_subtree_check", "root_squash")
_CLIENT = re.compile(r"[A-Za-z0-9._:/\[\]*?@%-]+")


@dataclass(frozen=True)
class Export:
    """One folder exported to one client, with the options in force."""

    path: str
    client: str
    options: frozenset[str]


def render_exports(path: str, clients: Sequence[str]) -> str:
    """Return the file for /etc/exports.d, or raise DomainError for what can't be written in it."""
    bad = [client for client in clients if not _CLIENT.fullmatch(client)]
    if not re.fullmatch(r"(/[^/\s\"#]+)+", path) or posixpath.normpath(path) != path:
        found, fix = f"The folder to export is {path!r}", "Set rspm_nfs_export to an absolute path without spaces"
    elif not clients:
        found, fix = "There is no client to export to", "Give the group rspm_nodes its hosts, or set nfs_server_clients"
    elif bad:
        found, fix = f"The client {bad[0]!r} is no name or address", "Correct nfs_server_clients"
    else:
        options = ",".join(EXPORT_OPTIONS)
        line = " ".join([path, *(f"{client}({options})" for client in clients)])
        return f"# Made by the collection rspm.ha; changes are overwritten.\n{line}\n"
    raise DomainError(Problem("export", found, "Only the nodes may reach the data directory", fix))


def parse_etab(text: str) -> list[Export]:
    """Return the entries of /var/lib/nfs/etab, what the server answers by: "path<tab>client(option,option)"."""
    exports = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\S+)\s+(\S+?)\(([^)]*)\)\s*", line)
        if match:
            path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), match.group(1))
            exports.append(Export(path, match.group(2), frozenset(match.group(3).split(","))))
    return exports


def export_differences(path: str, clients: Sequence[str], live: Sequence[Export]) -> list[str]:
    """Return, for a person, in what the exports of path are not the wanted ones."""
    found = {export.client: export.options for export in live if export.path == path}
    differences = [f"{client} is missing" for client in clients if client not in found]
    differences += [f"{client} is too many" for client in found if client not in clients]
    for client in clients:
        lacking = [option for option in EXPORT_OPTIONS if option not in found.get(client, EXPORT_OPTIONS)]
        differences += [f"{client} lacks {option}" for option in lacking]
    return sorted(differences)
