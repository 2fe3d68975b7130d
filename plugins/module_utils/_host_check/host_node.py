# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observe what a node needs beside what any host needs. Writes nothing but a probe file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.rules import ClusterSettings, wanted_settings
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_space import free_bytes
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, unique
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._core.version import judge_installed, judge_versions, package_url
from ansible_collections.rspm.ha.plugins.module_utils._host_check.host import (
    load_account,
    load_answering,
    load_client_tools,
    load_taken_ports,
    load_unresolved,
)
from ansible_collections.rspm.ha.plugins.module_utils._host_check.node_rules import judge_free, judge_package
from ansible_collections.rspm.ha.plugins.module_utils._host_check.rules import (
    NODE,
    Port,
    hosts_of,
    judge_client_tools,
    judge_names,
    judge_root,
    judge_time_servers,
    listeners,
)
from ansible_collections.rspm.ha.plugins.module_utils._licence.host import load_licence
from ansible_collections.rspm.ha.plugins.module_utils._licence.rules import (
    decide,
    judge_node,
    no_licence_file,
    wanted_licence,
)
from ansible_collections.rspm.ha.plugins.module_utils._package.host import PackageTool, load_host
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import plan_install
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host import has_driver
from ansible_collections.rspm.ha.plugins.module_utils._postgres.host_login import try_logins, try_server
from ansible_collections.rspm.ha.plugins.module_utils._postgres.login import judge_login, judge_managed_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._postgres.rules import NO_DRIVER
from ansible_collections.rspm.ha.plugins.module_utils._service.host import load_unit
from ansible_collections.rspm.ha.plugins.module_utils._service.host_apply import Apply
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import judge_unit
from ansible_collections.rspm.ha.plugins.module_utils._storage import host as storage_host
from ansible_collections.rspm.ha.plugins.module_utils._storage.access import judge_places
from ansible_collections.rspm.ha.plugins.module_utils._storage.account import AccountRequest, judge_account
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_account import read_account
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_holders import list_holders
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import export_path, mount_of
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import (
    decide_mount,
    judge_delegations,
    judge_hidden,
    judge_holders,
    judge_server,
    storage_request,
)

# Of the service account.
HOME = "/var/lib/rstudio-pm"
# One of these is there once the NFS client is installed.
NFS_CLIENT = ("/sbin/mount.nfs", "/usr/sbin/mount.nfs")
# An NFS server that was just started keeps its clients waiting; so does one that has lent a folder to a node which was
# cut off, until that node's lease has ended.
TRIAL_SECONDS = 120


class NodeCheck:
    """One node's problems, gathered part by part."""

    def __init__(self, params: Mapping[str, Any], run: Runner, may_write: bool) -> None:
        """Take the module's parameters; nothing is looked at yet. may_write: whether a probe file may be tried."""
        self.params = params
        self.run = run
        self.may_write = may_write
        # Parts of the check that failed; what depends on them is not checked.
        self.unresolved: dict[str, list[str]] = {}
        self.installed = ""
        # What could not be looked at yet, for a person.
        self.notes: list[str] = []
        # What a no-op need not look at again.
        self.there = {"account": False, "storage": False, "licence": False}
        self.cluster = ClusterSettings(
            data_dir=params["data_dir"],
            address=params["address"],
            http_port=params["http_port"],
            node_count=len(params["versions"]),
            database=Database(**params["database"]),
            encryption_key=params["encryption_key"],
            storage_path="" if params["storage"]["kind"] == "local" else params["storage"]["path"],
            config=params["config"],
        )

    def problems(self) -> list[Problem]:
        """Return every problem of this node, each once. Without root nothing else can be known."""
        found = judge_root(os.geteuid(), load_account())
        if found:
            return found
        # The first part knows what is installed, the second which names lead nowhere.
        looks = (self.package, self.names, self.time, self.ports, self.account, self.unit)
        for part in (*looks, self.storage, self.configuration, self.licence, self.databases):
            try:
                found += part()
            except DomainError as error:
                found += error.problems
        return unique(found)

    def package(self) -> list[Problem]:
        """Return what is wrong with the versions and with the room for them."""
        wanted = str(self.params["versions"][self.params["node"]])
        host = load_host()
        state = PackageTool(self.run, host).state()
        self.installed = state.version if state.installed else ""
        given = self.params["package"]
        problems = judge_versions({name: str(version) for name, version in self.params["versions"].items()})
        if not problems and not self.params["upgrade"]:
            problems = judge_installed({self.params["node"]: self.installed}, wanted)
        if not self.installed or (self.params["upgrade"] and self.installed != wanted):
            problems += judge_package(
                *(given["source"], given["file"], given["file_checksum"] or None, given["url"], given["checksum"])
            )
            if given["source"] == "url" and not given["url"] and not problems:
                package_url(wanted, host.family, host.release, host.machine)
        if not problems and not self.params["upgrade"]:
            # What was cut off may be of another version
            plan_install(state, wanted)
        free = {path: free_bytes(path) for path in ("/opt", "/var")}
        return problems + judge_free(free, bool(self.installed))

    def names(self) -> list[Problem]:
        """Return the names that can't be resolved."""
        given = self.params["package"]
        names = dict(self.params["names"])
        if not self.installed and not any(name.lower().endswith("_proxy") for name in os.environ):
            names["rspm_package_url"] = hosts_of(given["url"] if given["source"] == "url" else "")
            names["rspm_package_repository"] = hosts_of(given["repository"] if given["source"] == "repository" else "")
        self.unresolved = load_unresolved(names)
        return judge_names(self.unresolved)

    def time(self) -> list[Problem]:
        """Return whether no time server answers."""
        servers = [server for server in self.params["time_servers"] if server not in self.unresolved]
        return judge_time_servers(servers, load_answering(servers))

    def ports(self) -> list[Problem]:
        """Return who listens where the server is to; a configuration that is wrong is told elsewhere."""
        try:
            ports = listeners(wanted_settings(self.cluster))
        except DomainError:
            return []
        return load_taken_ports([Port(number, NODE, variable) for number, variable in ports.items()])

    def account(self) -> list[Problem]:
        """Return why the service account can't have its ids."""
        request = AccountRequest(ACCOUNT, self.params["uid"], self.params["gid"])
        state = read_account(request)
        has_ids = (state.uid, state.gid, state.group_gid) == (request.uid, request.gid, request.gid)
        self.there["account"] = has_ids and os.path.exists(HOME)
        return judge_account(request, state)

    def storage(self) -> list[Problem]:
        """Return what is wrong with the shared storage, as far as it can be seen before it is mounted."""
        given = self.params["storage"]
        request = storage_request(
            *(given["kind"], given["path"], self.params["data_dir"], given["server"], given["export"]),
            *(given["nfs_version"], given["cache"], given["options"], self.params["uid"], self.params["gid"]),
            security=given["security"],
        )
        timeout = self.params["timeout"]
        mounts = storage_host.read_mounts(request.path, timeout)
        action, differences = decide_mount(request, mounts)
        if request.kind == "local" and not os.path.isdir(request.path):
            return []
        if action == "keep":
            entry = mount_of(mounts, request.path)
            if entry is None:
                return []
            tried = storage_host.try_places(request, entry, timeout, write=self.may_write)
            if any(result.step == "wait" for _place, result in tried) and storage_host.answers(entry, timeout):
                tried = storage_host.try_places(request, entry, TRIAL_SECONDS, write=self.may_write)
            found = judge_places(request, tried, export_path(entry))
            if entry.is_nfs:
                found += judge_delegations(entry.live_options, storage_host.read_delegations())
            self.there["storage"] = not found
            return found
        problems: list[Problem] = []
        # An upgrade mounts nothing.
        mounts_it = not self.params["upgrade"]
        if mounts_it and action == "change":
            problems += judge_holders(request.path, differences, list_holders(request.path, request.uid))
        elif mounts_it:
            problems += judge_hidden(request.path, storage_host.list_names(request.path))
        if self.params["storage_managed"] or given["server"] in self.unresolved:
            return problems
        problems += judge_server(storage_host.probe_nfs_server(given["server"], given["nfs_version"], timeout))
        if problems or not (mounts_it and self.may_write) or not any(map(os.path.exists, NFS_CLIENT)):
            return problems
        entry, tried = storage_host.try_unmounted(self.run, request, TRIAL_SECONDS)
        problems += judge_delegations(entry.live_options, storage_host.read_delegations())
        return problems + judge_places(request, tried, request.source)

    def configuration(self) -> list[Problem]:
        """Return what is wrong with the configuration."""
        return Apply(self.run, self.cluster).problems()

    def licence(self) -> list[Problem]:
        """Return why the node would be without a licence."""
        given = {name: str(self.params["licence"].get(name) or "") for name in ("key", "file", "content", "server")}
        if given["file"] and not given["content"]:
            return [no_licence_file(given["file"])]
        wanted, state = wanted_licence(given["key"], given["content"], given["server"]), load_licence(self.run)
        self.there["licence"] = wanted is not None and state is not None and not decide(wanted, state)
        # an upgrade applies none
        applied = wanted is not None and not self.params["upgrade"]
        return judge_node(applied, self.params["allow_unlicensed"], state, known=wanted is not None)

    def unit(self) -> list[Problem]:
        """Return what keeps the server from starting; an upgrade checks that itself."""
        return [] if self.params["upgrade"] else judge_unit(load_unit(self.run))

    def databases(self) -> list[Problem]:
        """Return why a login to the databases does not do, and whether PostgreSQL's tools fit the server."""
        database = self.cluster.database
        # Where the same run makes the databases, they may not be there yet.
        made = self.params["database_managed"] and not self.params["upgrade"]
        if wanted_settings(self.cluster)["Database"]["Provider"] != "postgres" or database.host in self.unresolved:
            return []
        if not has_driver():
            return self._without_driver(made)
        problems, version = try_logins(database, made, self.params["timeout"])
        if version:
            tools, installed = load_client_tools(self.run, load_host().family, database.host)
            problems += judge_client_tools(tools, version, installed)
        return problems

    def _without_driver(self, made: bool) -> list[Problem]:
        """Return what is known of the database server where nothing can log in yet."""
        result = try_server(self.cluster.database, self.params["timeout"])
        problems = judge_managed_login(result) if made else judge_login(result)
        if result.failure != NO_DRIVER or self.params["upgrade"]:
            return problems
        self.notes.append(
            f"{result.host}:{result.port} answers {self.params['node']}. The login of role {result.user} is tested as"
            " soon as psycopg2 is there, which the playbook site installs before anything else"
        )
        return []
