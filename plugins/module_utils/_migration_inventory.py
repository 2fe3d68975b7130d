# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory of the single node: what the cluster's said, less the nodes that are gone, and with the new home.

Files of variables are taken over as they are, so that vaults stay vaults; what differs is in one more file, which is
read last (ansible-core reads the files of a folder in group_vars in the order of their names).
"""

from __future__ import annotations

import json
import posixpath
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

_SECRET = re.compile(r"password|secret|token|key|certificate|licen[cs]e|vault", re.IGNORECASE)
# what one run was told, and the machines need not know
_OF_A_RUN = re.compile(r"rspm_(migration.*|report_file|status_file|unlock_.*|upgrade_.*)$")
_HEAD = "# Written by rspm.ha.migrate_to_single_node."
_OURS = ("rspm_nodes", "rspm_database", "rspm_nfs_server", "rspm_load_balancer")


def group_members(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the hosts of each of the collection's groups afterwards; a group without hosts is left out.

    given: target, load_balancer, data, database as the variables have them; groups: hosts of each group so far.
    """
    groups, target = given["groups"], [given["target"]]
    members = {
        "rspm_nodes": target,
        "rspm_database": target if given["database"] == "move" else list(groups.get("rspm_database", [])),
        "rspm_nfs_server": [] if given["data"] == "move" else list(groups.get("rspm_nfs_server", [])),
        "rspm_load_balancer": ([] if given["load_balancer"] == "route" else list(groups.get("rspm_load_balancer", []))),
    }
    return {name: hosts for name, hosts in members.items() if hosts}


def new_settings(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that say something else afterwards. given: also data_dir, address, target_address."""
    settings: dict[str, str] = {}
    if given["data"] == "move":
        settings["rspm_storage_kind"] = "local"
        settings["rspm_storage_path"] = posixpath.dirname(given["data_dir"])
        settings["rspm_data_dir"] = given["data_dir"]
    if given["database"] == "move":
        settings["rspm_database_host"] = given["target_address"]
    if given["load_balancer"] == "route":
        settings["rspm_address"] = given["address"]
    return settings


def defined_names(texts: Sequence[str]) -> list[str]:
    """Return the variables of the collection that files of variables set at their top."""
    return sorted({name for text in texts for name in re.findall(r"^(rspm_\w+)\s*:", text, re.MULTILINE)})


def pinned_names(names: Sequence[str], texts: Sequence[str]) -> dict[str, list[str]]:
    """Return which variables that no file sets have to be written (plain), and which must not be (secret).

    names: of all variables of the collection that hold now.
    """
    known = set(defined_names(texts))
    left = sorted(name for name in names if name not in known and not _OF_A_RUN.match(name))
    return {
        "plain": [name for name in left if not _SECRET.search(name)],
        "secret": [name for name in left if _SECRET.search(name)],
    }


def texts_of(slurped: Sequence[Mapping[str, Any]], folders: Sequence[str]) -> dict[str, str]:
    """Return the files that slurp read, text by path relative to whichever of the folders it is in."""
    return {
        posixpath.relpath(each["source"], folder): b64decode(each["content"]).decode("utf-8", "surrogateescape")
        for each in slurped
        for folder in folders
        if each["source"].startswith(folder.rstrip("/") + "/")
    }


def inventory_files(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the inventory as path -> text.

    given: what group_members and new_settings take; connections: variable -> host -> value, "" for none;
    memberships: of each host all its groups; files: text of each by its path relative to the old inventory; pinned:
    values of variables that no file sets; secret: names of secrets that no file sets.
    """
    members = group_members(given)
    hosts = sorted({host for each in members.values() for host in each})
    files = {"hosts.yml": _hosts(given, members, hosts)}
    for old, text in given["files"].items():
        path = _place(old, hosts)
        if path:
            files[path] = text
    lines = [f"{_HEAD} Read after the files before it, whose values these replace."]
    settings = {**given["pinned"], **new_settings(given)}
    lines += [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(settings.items())]
    if given["secret"]:
        lines.append(f"# Secrets are not written here. Give as before: {', '.join(given['secret'])}")
    if not settings:
        lines.append("{}")
    files["group_vars/all/zz_single_node.yml"] = "\n".join(["---", *lines]) + "\n"
    return files


def _place(path: str, hosts: Sequence[str]) -> str:
    """Return where a file of variables goes, "" for one of a host that is gone."""
    kind, _slash, rest = path.partition("/")
    name = rest.partition("/")[0]
    stem = re.sub(r"\.(ya?ml|json)$", "", name)
    if kind == "host_vars":
        return path if stem in hosts or name in hosts else ""
    if kind != "group_vars" or stem != "all":
        return path if kind == "group_vars" else ""
    if rest in (name, "") and name != "all":
        return f"group_vars/all/00_{name}"
    return f"group_vars/all/10_{rest.partition('/')[2]}" if "/" in rest else "group_vars/all/00_all"


def _hosts(given: Mapping[str, Any], members: Mapping[str, Sequence[str]], hosts: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {name: list(each) for name, each in members.items()}
    for host in hosts:
        for name in given["memberships"].get(host, []):
            if name not in (*_OURS, "all", "ungrouped"):
                groups.setdefault(name, []).append(host)
    lines = ["---", f"{_HEAD} The cluster's inventory is not needed any more.", "all:", "  hosts:"]
    for host in hosts:
        variables = {
            name: by_host[host] for name, by_host in given["connections"].items() if by_host.get(host) not in ("", None)
        }
        lines.append(f"    {host}:" if variables else f"    {host}: {{}}")
        lines += [f"      {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sorted(variables.items())]
    for name, each in groups.items():
        lines += [f"{name}:", "  hosts:", *(f"    {host}:" for host in each)]
    return "\n".join(lines) + "\n"
