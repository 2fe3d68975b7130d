# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an NFS server exports, to whom, and how that differs from what is wanted. Sources: exports(5), exportfs(8)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import security_of

# exports(5) calls each of these a default or a choice; the server spells all of them out in its table
EXPORT_OPTIONS = ("rw", "sync", "no_subtree_check", "root_squash")
_CLIENT = re.compile(r"[A-Za-z0-9._:/\[\]*?@%-]+")


@dataclass(frozen=True)
class Export:
    """One folder exported to one client, with the options in force."""

    path: str
    client: str
    options: frozenset[str]


def export_options(security: str) -> tuple[str, ...]:
    """Return the options of our exports. security: as sec has it; "sys" is the server's default."""
    return EXPORT_OPTIONS if security == "sys" else (*EXPORT_OPTIONS, f"sec={security}")


def render_exports(path: str, clients: Sequence[str], security: str = "sys") -> str:
    """Return the file for /etc/exports.d, or raise DomainError for what can't be written in it."""
    bad = [client for client in clients if not _CLIENT.fullmatch(client)]
    if not re.fullmatch(r"(/[^/\s\"#]+)+", path) or posixpath.normpath(path) != path:
        found, fix = f"The folder to export is {path!r}", "Set rspm_nfs_export to an absolute path without spaces"
    elif not clients:
        found, fix = "There is no client to export to", "Give the group rspm_nodes its hosts, or set nfs_server_clients"
    elif bad:
        found, fix = f"The client {bad[0]!r} is no name or address", "Correct nfs_server_clients"
    else:
        options = ",".join(export_options(security))
        line = " ".join([path, *(f"{client}({options})" for client in clients)])
        return f"# Made by the collection rspm.ha; changes are overwritten.\n{line}\n"
    raise DomainError(Problem("export", found, "Only the nodes may reach the data directory", fix))


def parse_exports(text: str) -> dict[str, list[str]]:
    """Return the clients of each folder in a file of exports."""
    folders: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r'\s*(?:"([^"]+)"|([^\s#"]+))([^#]*)', line)
        if match:
            clients = [word.partition("(")[0] or "*" for word in match.group(3).split() if not word.startswith("-")]
            path = _unescape(match.group(1) or match.group(2))
            folders.setdefault(path.rstrip("/") or "/", []).extend(clients)
    return folders


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), path)


def other_clients(path: str, ours: Sequence[str], live: Sequence[Export]) -> list[str]:
    """Return to whom the folder is exported now by somebody else."""
    return sorted({export.client for export in live if export.path == path} - set(ours))


def judge_folder(
    path: str, owner: int, names: Sequence[str], uid: int, exporting: Sequence[str], others: Sequence[str]
) -> list[Problem]:
    """Return why the folder is somebody else's.

    owner: its numeric owner, -1 where there is no folder. names: what is in it. exporting: files of exports that name
    it, without ours. others: clients that it is exported to now and that our file does not name.
    """
    entries = sorted(name for name in names if name != "lost+found")
    if exporting or others:
        said = [f"named in {file}" for file in exporting] + [f"exported to {client}" for client in others]
        return [
            Problem(
                check="export-folder",
                found=f"The folder {path} is already {', '.join(said)}",
                why="The nodes need a folder that nobody else gets to, and an export of others is never changed",
                fix="Set rspm_nfs_export to a folder of its own. If that export is there for the nodes, leave the "
                "group rspm_nfs_server empty and set rspm_nfs_server to this host's address. exportfs -v shows all",
            )
        ]
    if owner not in (-1, uid) and entries:
        shown = ", ".join(entries[:5])
        return [
            Problem(
                check="export-folder",
                found=f"The folder {path} belongs to the id {owner} instead of {uid}, and has {len(entries)} entries: "
                f"{shown}",
                why="It would be given to the service's account, and nobody else could get to what is in it",
                fix="Set rspm_nfs_export to a folder of its own. If it is the data of Package Manager, give it to the "
                f"account first: chown -R {uid} {path}",
            )
        ]
    return []


def judge_root(path: str, version: str, live: Sequence[Export]) -> list[Problem]:
    """Return why nodes can't find the folder: NFS 4 looks from the root that somebody else's fsid=0 has set."""
    roots = sorted({export.path for export in live if export.options & {"fsid=0", "fsid=root"}} - {"/"})
    if version.startswith("3") or not roots:
        return []
    return [
        Problem(
            check="export-root",
            found=f"This server exports {roots[0]} as the root of NFS 4 (fsid=0)",
            why=f"Its clients look for {path} below that root, and the export of others is not changed",
            fix="Set rspm_nfs_version to 3, or export the folder below that root yourself: leave the group "
            "rspm_nfs_server empty, and set rspm_nfs_server, and rspm_nfs_export as the nodes see it",
        )
    ]


def judge_security(path: str, clients: Sequence[str], security: str, live: Sequence[Export]) -> list[Problem]:
    """Return the problem of an export whose security would change under the nodes that have it mounted."""
    found = {export.client: security_of(sorted(export.options)) for export in live if export.path == path}
    other = {client: found[client] for client in clients if found.get(client, security) != security}
    if not other:
        return []
    take = "; ".join(" ".join(["exportfs", "-u", _target(path, client)]) for client in other)
    return [
        Problem(
            check="export-security",
            found=f"{path} is exported with {', '.join(f'sec={old} to {client}' for client, old in other.items())}, "
            f"and rspm_nfs_security is {security}",
            why="A node that has it mounted would be refused in the middle of its work",
            fix=f"On each node: systemctl stop rstudio-pm; umount the storage. On this host: {take}. Then run "
            "rspm.ha.site again",
        )
    ]


def export_commands(
    path: str,
    clients: Sequence[str],
    ours: Mapping[str, Sequence[str]],
    live: Sequence[Export],
    security: str = "sys",
) -> list[list[str]]:
    """Return the calls of exportfs that bring our exports into force, and touch nobody else's.

    ours: folders and clients that our file named so far. exportfs -r would also take away what others exported by
    hand, and bring into force what they have only written down.
    """
    found = {(export.path, export.client): export.options for export in live}
    wanted = {(path, client) for client in clients}
    named = [(folder, client) for folder in ours for client in ours[folder]]
    calls = [["exportfs", "-u", _target(*entry)] for entry in named if entry in found and entry not in wanted]
    for client in clients:
        if not set(EXPORT_OPTIONS) <= found.get((path, client), frozenset()):
            calls.append(["exportfs", "-o", ",".join(export_options(security)), _target(path, client)])
    return calls


def _target(path: str, client: str) -> str:
    address = f"[{client}]" if ":" in client and not client.startswith("[") else client
    return f"{address}:{path}"


def parse_etab(text: str) -> list[Export]:
    """Return the entries of /var/lib/nfs/etab, what the server answers by: "path<tab>client(option,option)"."""
    exports = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\S+)\s+(\S+?)\(([^)]*)\)\s*", line)
        if match:
            exports.append(Export(_unescape(match.group(1)), match.group(2), frozenset(match.group(3).split(","))))
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
