# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory of the single node: what the cluster's said, less the nodes that are gone, and with the new home.

Files of variables are copied as they are, so that vaults stay vaults. What differs is in one more file of each host,
which is read last: ansible-core reads the files of a folder in host_vars in the order of their names, and after all
groups.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

HEAD = "# Written by rspm.ha.migrate_to_single_node."
_OURS = ("rspm_nodes", "rspm_database", "rspm_nfs_server", "rspm_load_balancer")
_SECRET = re.compile(
    r"passw(or)?d|passphrase|(^|_)pass($|_)|secret|token|key|certificate|licen[cs]e|vault", re.IGNORECASE
)
# A path, or a fact about a secret, is none.
_NO_SECRET = re.compile(r"_(file|path|dir|folder|checking|licen[cs]e|unlicensed)$", re.IGNORECASE)
# What one run was told, and the machines need not know.
_OF_A_RUN = re.compile(r"rspm_(migration(_\w+)?|report_file|status_file|unlock_\w+|upgrade_\w+)")
# What Ansible says of an inventory itself.
_MAGIC = ("inventory_file", "inventory_dir", "ansible_group_priority")
_OLD_PLACE = re.compile(rb"\b(inventory_dir|inventory_file)\b")


@dataclass(frozen=True)
class Vaulted:
    """A single value in a vault, which is written as it is."""

    ciphertext: str


@dataclass(frozen=True)
class Unsafe:
    """A text that looks like a template and is none."""

    text: str


@dataclass(frozen=True)
class Unwritable:
    """A value that must not be written: it came out of a file that is wholly in a vault, or has no form in YAML."""


@dataclass(frozen=True)
class Group:
    """A group as the inventory has it: its hosts with those of its children, its children, and its own variables."""

    hosts: tuple[str, ...]
    children: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 1


@dataclass(frozen=True)
class Found:
    """A file of variables. kind: group_vars or host_vars. of: whose. content: as it is on the disk."""

    kind: str
    of: str
    path: str
    content: bytes


@dataclass(frozen=True)
class Choices:
    """What was migrated to where, as the variables say."""

    target: str
    target_address: str
    address: str
    load_balancer: str
    data: str
    data_dir: str
    database: str


@dataclass(frozen=True)
class Cluster:
    """The old inventory.

    hosts: of each host its own variables. files: in the order in which Ansible reads them. extra_files: what -e @file
    read, in its order. extra_vars: what else was set, by -e or a playbook. Values may be Vaulted, Unsafe or Unwritable.
    """

    groups: Mapping[str, Group]
    hosts: Mapping[str, Mapping[str, Any]]
    files: Sequence[Found] = ()
    extra_files: Sequence[tuple[str, bytes]] = ()
    extra_vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """The new one. files: content by path. missing: secrets that it does not hold. notes: what else has to be done."""

    files: Mapping[str, bytes]
    missing: Sequence[str]
    notes: Sequence[str]


def is_secret(name: str) -> bool:
    """Return whether a variable holds a secret, by its name."""
    if name == "rspm_licence":
        return True
    return bool(_SECRET.search(name)) and not _NO_SECRET.search(name)


def is_of_a_run(name: str) -> bool:
    """Return whether a variable is only what one run was told."""
    return _OF_A_RUN.fullmatch(name) is not None


def group_members(choices: Choices, groups: Mapping[str, Group]) -> dict[str, list[str]]:
    """Return the hosts of each of the collection's groups afterwards; a group without hosts is left out."""

    def so_far(name: str) -> list[str]:
        return list(groups[name].hosts) if name in groups else []

    members = {
        "rspm_nodes": [choices.target],
        "rspm_database": [choices.target] if choices.database == "move" else so_far("rspm_database"),
        "rspm_nfs_server": [] if choices.data == "move" else so_far("rspm_nfs_server"),
        "rspm_load_balancer": [] if choices.load_balancer == "route" else so_far("rspm_load_balancer"),
    }
    return {name: hosts for name, hosts in members.items() if hosts}


def new_settings(choices: Choices) -> dict[str, Any]:
    """Return the variables that say something else afterwards."""
    settings: dict[str, Any] = {}
    if choices.data == "move":
        settings["rspm_storage_kind"] = "local"
        settings["rspm_storage_path"] = posixpath.dirname(choices.data_dir)
        settings["rspm_data_dir"] = choices.data_dir
    if choices.database == "move":
        settings["rspm_database_host"] = choices.target_address
        # They are for the old server: its addresses, its certificate's issuer
        settings["rspm_database_options"] = {}
    if choices.load_balancer == "route":
        settings["rspm_address"] = choices.address
    return settings


def make_inventory(choices: Choices, cluster: Cluster) -> Inventory:
    """Return the inventory of afterwards."""
    ours = group_members(choices, cluster.groups)
    hosts = sorted({host for each in ours.values() for host in each})
    members = {
        name: [host for host in group.hosts if host in hosts]
        for name, group in cluster.groups.items()
        if name not in (*_OURS, "all", "ungrouped")
    }
    members = {**{name: each for name, each in members.items() if each}, **ours}
    missing: dict[str, None] = {}
    files = {"hosts.yml": _hosts_file(cluster, hosts, members, missing)}
    counts: dict[tuple[str, str], int] = {}
    notes = []
    for found in cluster.files:
        if found.of not in (hosts if found.kind == "host_vars" else ["all", *members]):
            continue
        number = counts[found.kind, found.of] = counts.get((found.kind, found.of), -1) + 1
        files[f"{found.kind}/{found.of}/{number:02d}_{_file_name(found.path)}"] = found.content
        if _OLD_PLACE.search(found.content):
            notes.append(f"{found.path} names files by where the inventory lies, and is copied as it is")
    settings, unwritten = _split(cluster.extra_vars)
    missing.update(dict.fromkeys(unwritten))
    settings.update(new_settings(choices))
    last = _settings_file(settings, [name for name in missing if name not in settings])
    for host in hosts:
        for number, (path, content) in enumerate(cluster.extra_files):
            files[f"host_vars/{host}/zy_{number:02d}_{_file_name(path)}"] = content
        files[f"host_vars/{host}/zz_single_node.yml"] = last
    return Inventory(files, [name for name in missing if name not in settings], notes)


def _file_name(path: str) -> str:
    """Return the name for a copy; in a folder Ansible reads files with no ending and with these only."""
    name = posixpath.basename(path).lstrip(".").rstrip("~")
    return name if posixpath.splitext(name)[1] in ("", ".yml", ".yaml", ".json") else f"{name}.yml"


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what may be written, and the names of what may not."""
    kept: dict[str, Any] = {}
    missing = []
    for name, value in sorted(values.items()):
        if name in _MAGIC or is_of_a_run(name):
            continue
        if _holds(value, Unwritable) or (is_secret(name) and not isinstance(value, Vaulted)):
            missing.append(name)
        else:
            kept[name] = value
    return kept, missing


def _holds(value: Any, kind: type) -> bool:
    if isinstance(value, Mapping):
        return any(_holds(each, kind) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds(each, kind) for each in value)
    return isinstance(value, kind)


def _hosts_file(
    cluster: Cluster, hosts: Sequence[str], members: Mapping[str, Sequence[str]], missing: dict[str, None]
) -> bytes:
    def variables(given: Mapping[str, Any]) -> dict[str, Any]:
        kept, unwritten = _split(given)
        missing.update(dict.fromkeys(unwritten))
        return kept

    everything = cluster.groups.get("all", Group(()))
    tree: dict[str, Any] = {"all": {"hosts": {host: variables(cluster.hosts.get(host, {})) for host in hosts}}}
    of_all = variables(everything.variables)
    if of_all:
        tree["all"]["vars"] = of_all
    for name, each in members.items():
        group = cluster.groups.get(name, Group(()))
        tree[name] = {"hosts": dict.fromkeys(each)}
        children = [child for child in group.children if child in members and set(members[child]) <= set(each)]
        if children:
            tree[name]["children"] = dict.fromkeys(children)
        own = variables(group.variables)
        if group.priority != 1:
            own["ansible_group_priority"] = group.priority
        if own:
            tree[name]["vars"] = own
    return _yaml(tree, [f"{HEAD} The cluster's inventory is not needed any more."])


def _settings_file(settings: Mapping[str, Any], missing: Sequence[str]) -> bytes:
    lines = [f"{HEAD} Read after all other files, whose values these replace."]
    if missing:
        lines += [
            "# These are secret, and in no file that could be copied, so that they are not written. Give them as",
            "# before, or put them into a file here: ansible-vault encrypt_string --name <name>",
            *(f"#   {name}" for name in missing),
        ]
    return _yaml(dict(settings), lines)


class _Dumper(yaml.SafeDumper):
    """Writes single values in vaults, and texts that are no templates, by their tags."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write each value where it is used."""
        return True


def _vaulted(dumper: yaml.SafeDumper, value: Vaulted) -> yaml.Node:
    return dumper.represent_scalar("!vault", value.ciphertext.rstrip("\n") + "\n", style="|")


def _unsafe(dumper: yaml.SafeDumper, value: Unsafe) -> yaml.Node:
    return dumper.represent_scalar("!unsafe", value.text, style='"')


def _nothing(dumper: yaml.SafeDumper, _value: None) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:null", "")


_Dumper.add_representer(Vaulted, _vaulted)
_Dumper.add_representer(Unsafe, _unsafe)
_Dumper.add_representer(type(None), _nothing)


def _yaml(data: Mapping[str, Any], comments: Sequence[str]) -> bytes:
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
    return "\n".join(["---", *comments, text]).encode("utf-8", "surrogateescape")
