# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the inventory, its files of variables and the command line as Ansible has found them; keeps vaults closed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible._internal._datatag._tags import Origin
from ansible.parsing.splitter import parse_kv
from ansible.parsing.vault import VaultHelper
from ansible.template import is_trusted_as_template
from ansible.utils.vars import load_extra_vars

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import native
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.inventory import (
    Cluster,
    Found,
    Group,
    Unsafe,
    Unwritable,
    Vaulted,
    is_of_a_run,
    is_secret,
)

_VAULT = b"$ANSIBLE_VAULT;"
# Whose values may come from a host that the new inventory has no more. An address is nothing that a vault is for.
_ADDRESSES = (
    *("rspm_address", "rspm_database_host", "rspm_nfs_server", "rspm_node_address"),
    *("rspm_ntp_servers", "rspm_package_url"),
)


def is_vault(path: str) -> bool:
    """Return whether a file is wholly in a vault."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_VAULT)) == _VAULT
    except OSError:
        return False


def plain(value: Any, *, unknown_is_vaulted: bool = False) -> Any:
    """Return a value as it may be written: a vaulted one as it is, and nothing out of a file that is a vault.

    unknown_is_vaulted: whether a value that does not say where it comes from counts as out of such a file.
    """
    ciphertext = VaultHelper.get_ciphertext(value, with_tags=False)
    if ciphertext:
        return Vaulted(native(ciphertext))
    origin = Origin.get_tag(value)
    if is_vault(str(origin.path)) if origin and origin.path else unknown_is_vaulted:
        return Unwritable()
    # of what says where it comes from, the parts come from there too
    inner = unknown_is_vaulted and origin is None
    if isinstance(value, Mapping):
        return {native(name): plain(each, unknown_is_vaulted=inner) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each, unknown_is_vaulted=inner) for each in value]
    if isinstance(value, str):
        template = any(mark in value for mark in ("{{", "{%", "{#"))
        return Unsafe(native(value)) if template and not is_trusted_as_template(value) else native(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    return Unwritable()


def _all_files(source: str) -> list[str]:
    if not os.path.isdir(source):
        return [source]
    return [os.path.join(folder, name) for folder, _folders, names in os.walk(source) for name in names]


def folders_of(sources: Sequence[Any], playbook_folder: str) -> list[str]:
    """Return the folders beside which Ansible looks for group_vars and host_vars, in its order."""
    found = []
    for source in sources:
        path = str(source)
        if "," in path and not os.path.exists(path):
            continue
        found.append(path if os.path.isdir(path) else os.path.dirname(path))
    return list(dict.fromkeys(os.path.realpath(path or ".") for path in [*found, playbook_folder]))


class Reader:
    """Reads through the loader of the run, which knows the vault's passwords."""

    def __init__(self, loader: Any, inventory: Any, sources: Sequence[Any]) -> None:
        self.loader = loader
        self.inventory = inventory
        self.folders = folders_of(sources, loader.get_basedir())
        self.in_a_vault = any(is_vault(path) for source in sources for path in _all_files(str(source)))

    def cluster(self, known: Mapping[str, Any], defaults: Mapping[str, Any], templar: Any) -> Cluster:
        """Return the old inventory.

        known: the variables of the task. defaults: those of the role rspm. templar: works out what they mean.
        """

        def own(of: Any) -> dict[str, Any]:
            return {native(key): plain(value, unknown_is_vaulted=self.in_a_vault) for key, value in of.vars.items()}

        groups = {
            native(name): Group(
                tuple(native(host.name) for host in group.get_hosts()),
                tuple(native(child.name) for child in group.child_groups),
                own(group),
                group.priority,
            )
            for name, group in self.inventory.groups.items()
        }
        hosts = {
            native(name): {
                native(key): plain(value, unknown_is_vaulted=self.in_a_vault) for key, value in host.vars.items()
            }
            for name, host in self.inventory.hosts.items()
        }
        files = [*self._files("group_vars", list(groups)), *self._files("host_vars", list(hosts))]
        extra_files, extra_vars = self._command_line()
        set_elsewhere = {name for group in groups.values() for name in group.variables}
        set_elsewhere |= {name for host in hosts.values() for name in host}
        set_elsewhere |= {name for found in files for name in self._names(found.path)}
        set_elsewhere |= set(load_extra_vars(self.loader))
        for name, value in known.items():
            # what a playbook sets: a value of its own has taken the place of the default
            if name.startswith("rspm_") and name not in set_elsewhere and value != defaults.get(name):
                extra_vars[native(name)] = plain(value)
        for name in _ADDRESSES:
            # of another host, which may be gone then
            if name in set_elsewhere and any(word in str(known.get(name)) for word in ("hostvars", "groups")):
                extra_vars.setdefault(name, plain(templar.template(known[name])))
        return Cluster(groups, hosts, files, extra_files, extra_vars)

    def _files(self, kind: str, names: Sequence[str]) -> Iterator[Found]:
        for name in names:
            for folder in self.folders:
                beside = os.path.join(folder, kind)
                if name.startswith("/") or not os.path.isdir(beside):
                    continue
                for path in self.loader.find_vars_files(beside, name):
                    yield Found(kind, name, native(path), Path(path).read_bytes())

    def _names(self, path: str) -> list[str]:
        found = self.loader.load_from_file(path, cache="all")
        return [str(name) for name in found] if isinstance(found, Mapping) else []

    def _command_line(self) -> tuple[list[tuple[str, bytes]], dict[str, Any]]:
        """Return the files that -e names, and the values that it gives itself."""
        files: list[tuple[str, bytes]] = []
        typed: set[str] = set()
        for option in map(str, context.CLIARGS.get("extra_vars") or ()):
            if option.startswith("@"):
                path = os.path.abspath(os.path.expanduser(option[1:]))
                if not all(is_of_a_run(name) for name in self._names(path)):
                    files.append((path, Path(path).read_bytes()))
            elif option:
                given = self.loader.load(option) if option[0] in "[{" else parse_kv(option)
                typed |= set(given)
        values = load_extra_vars(self.loader)
        extra_vars = {}
        for name in sorted(typed):
            value = plain(values[name])
            in_a_file = any(name in self._names(path) for path, _content in files)
            if not (in_a_file and (isinstance(value, Unwritable) or is_secret(name))):
                extra_vars[native(name)] = value
        return files, extra_vars
