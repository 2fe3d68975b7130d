#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_preflight
short_description: All that would keep a node from becoming part of the cluster
version_added: 1.0.0
description:
  - Looks at one node and at what it can reach, and returns every problem at once. Changes nothing, and needs nothing
    but Python on the node.
  - Checks the version asked for against every other node's and against what is installed, the ids of the service
    account, free space, the NFS server or the existing mount, a login to both databases, and the configuration.
  - Does not fail on a problem. The caller collects those of all nodes and then fails once.
  - On a mount that is there, a probe file of the service account is written and removed again.
options:
  versions:
    description: The version that each node of the cluster is asked to have, by its name.
    type: dict
    required: true
  node:
    description: Name of this node in O(versions).
    type: str
    required: true
  package:
    description: Where the package is to come from.
    type: dict
    default: {}
    suboptions:
      source:
        description: Kind of source.
        type: str
        choices: [repository, url, file]
        default: repository
      file:
        description: Path of the package on the controller, with V(file).
        type: str
        default: ""
      file_checksum:
        description: SHA-256 sum of that file in hexadecimal, empty where there is no such file.
        type: str
        default: ""
      url:
        description: Address of the package, with V(url).
        type: str
        default: ""
      checksum:
        description: What the sum should be, as V(sha256:...).
        type: str
        default: ""
  uid:
    description: Numeric id that the service user is to have.
    type: int
    required: true
  gid:
    description: Numeric id that the service group is to have.
    type: int
    required: true
  storage:
    description: The shared storage, as M(rspm.ha.storage_mount) takes it.
    type: dict
    required: true
    suboptions:
      kind:
        description: V(nfs), V(existing) or V(local).
        type: str
        choices: [nfs, existing, local]
        required: true
      path:
        description: Mount point.
        type: path
        required: true
      server:
        description: The NFS server.
        type: str
        default: ""
      export:
        description: Its export.
        type: str
        default: ""
      nfs_version:
        description: Version of NFS.
        type: str
        default: "4.2"
      cache:
        description: How the client is kept from overlooking new files.
        type: str
        default: lookupcache=pos
      options:
        description: All mount options, in place of the ones that follow from the above.
        type: list
        elements: str
        default: []
  storage_managed:
    description: Whether the NFS server is made by the same run, and so need not answer yet.
    type: bool
    default: false
  database_managed:
    description: Whether the databases are made by the same run, and so need not answer yet.
    type: bool
    default: false
  data_dir:
    description: Server.DataDir.
    type: path
    required: true
  address:
    description: Server.Address.
    type: str
    default: ""
  http_port:
    description: Port of the service.
    type: int
    default: 4242
  encryption_key:
    description: The encryption key, where it is not made by the first node.
    type: str
    default: ""
  database:
    description: The databases, as M(rspm.ha.server_config) takes them.
    type: dict
    default: {}
    suboptions:
      host:
        description: Name or address of the PostgreSQL server.
        type: str
        default: ""
      port:
        description: Its port.
        type: int
        default: 5432
      name:
        description: The main database.
        type: str
        default: rstudio_pm
      usage_name:
        description: The usage database.
        type: str
        default: rstudio_pm_usage
      user:
        description: Role that owns both.
        type: str
        default: rstudio_pm
      password:
        description: Its password.
        type: str
        default: ""
      sslmode:
        description: How the connection is secured.
        type: str
        default: require
      schema:
        description: Schema of the main data, where both live in one database.
        type: str
        default: ""
      usage_schema:
        description: Schema of the usage data, where both live in one database.
        type: str
        default: ""
  config:
    description: Sections and keys of the configuration beyond what has a variable.
    type: dict
    default: {}
  upgrade:
    description: Whether the version of a live cluster is about to be changed.
    type: bool
    default: false
  timeout:
    description: Seconds that each connection may take.
    type: int
    default: 10
attributes:
  check_mode:
    description: Not even a probe file is written.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  idempotent:
    description: Changes nothing.
    support: full
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: What is in the way is known
  rspm.ha.node_preflight:
    node: "{{ inventory_hostname }}"
    versions: {node1: 2026.08.0, node2: 2026.08.0}
    uid: 940
    gid: 940
    storage:
      kind: existing
      path: /mnt/rstudio-pm
    data_dir: /mnt/rstudio-pm/data
    database:
      host: db.example.com
      password: "{{ rspm_database_password }}"
  register: preflight
  no_log: true
"""

RETURN = r"""
problems:
  description: What is in the way; empty where nothing is.
  returned: success
  type: list
  elements: dict
  sample: [{"check": "one-version", "found": "different versions are asked for", "why": "...", "fix": "..."}]
installed_version:
  description: Version of the package that is installed, empty where none is.
  returned: success
  type: str
  sample: 2026.08.0
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils import _storage_loader
from ansible_collections.rspm.ha.plugins.module_utils._database import DATABASE_OPTIONS, Database
from ansible_collections.rspm.ha.plugins.module_utils._mount import mount_of
from ansible_collections.rspm.ha.plugins.module_utils._package_loader import PackageTool, free_bytes, load_host
from ansible_collections.rspm.ha.plugins.module_utils._postgres_login import judge_login
from ansible_collections.rspm.ha.plugins.module_utils._postgres_wire_loader import login
from ansible_collections.rspm.ha.plugins.module_utils._preflight import judge_free, judge_package, unique
from ansible_collections.rspm.ha.plugins.module_utils._problem import DomainError, Problem
from ansible_collections.rspm.ha.plugins.module_utils._runner_loader import Runner, module_runner
from ansible_collections.rspm.ha.plugins.module_utils._server_apply_loader import Apply, known_to_be_secret
from ansible_collections.rspm.ha.plugins.module_utils._server_config import ClusterSettings, wanted_settings
from ansible_collections.rspm.ha.plugins.module_utils._storage import (
    decide_mount,
    judge_delegations,
    judge_server,
    storage_request,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage_access import judge_access
from ansible_collections.rspm.ha.plugins.module_utils._storage_account import AccountRequest, judge_account
from ansible_collections.rspm.ha.plugins.module_utils._storage_account_loader import read_account
from ansible_collections.rspm.ha.plugins.module_utils._version import judge_installed, judge_versions

HOME = "/var/lib/rstudio-pm"


class Preflight:
    """One node's problems, gathered part by part."""

    def __init__(self, params: dict[str, Any], run: Runner, may_write: bool) -> None:
        """Take the module's parameters; nothing is looked at yet. may_write: whether a probe file may be tried."""
        self.params = params
        self.run = run
        self.may_write = may_write
        self.installed = ""
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
        """Return every problem of this node, each once."""
        found: list[Problem] = []
        for part in (self.package, self.account, self.storage, self.configuration, self.databases):
            try:
                found += part()
            except DomainError as error:
                found.append(error.problem)
        return unique(found)

    def package(self) -> list[Problem]:
        """Return what is wrong with the versions and with the room for them."""
        wanted = str(self.params["versions"][self.params["node"]])
        state = PackageTool(self.run, load_host()).state()
        self.installed = state.version if state.installed else ""
        given = self.params["package"]
        problems = judge_versions({name: str(version) for name, version in self.params["versions"].items()})
        if not problems and not self.params["upgrade"]:
            problems = judge_installed({self.params["node"]: self.installed}, wanted)
        if not self.installed or (self.params["upgrade"] and self.installed != wanted):
            problems += judge_package(
                *(given["source"], given["file"], given["file_checksum"] or None, given["url"], given["checksum"])
            )
        free = {path: free_bytes(path) for path in ("/opt", "/var")}
        return problems + judge_free(free, bool(self.installed))

    def account(self) -> list[Problem]:
        """Return why the service account can't have its ids."""
        request = AccountRequest("rstudio-pm", self.params["uid"], self.params["gid"], HOME, "/usr/sbin/nologin")
        return judge_account(request, read_account(request))

    def storage(self) -> list[Problem]:
        """Return what is wrong with the shared storage, as far as it can be seen before it is mounted."""
        given = self.params["storage"]
        request = storage_request(
            *(given["kind"], given["path"], self.params["data_dir"], given["server"], given["export"]),
            *(given["nfs_version"], given["cache"], given["options"], self.params["uid"], self.params["gid"]),
        )
        timeout = self.params["timeout"]
        mounts = _storage_loader.read_mounts(request.path, timeout)
        action, _differences = decide_mount(request, mounts)
        if request.kind == "local" and not os.path.isdir(request.path):
            return []
        if action == "keep":
            entry = mount_of(mounts, request.path)
            device = entry.device if entry else ""
            tried = _storage_loader.try_access(request, request.path, device, timeout, write=self.may_write)
            if entry is None or not entry.is_nfs:
                return judge_access(request, tried)
            delegated = judge_delegations(entry.live_options, _storage_loader.read_delegations())
            return judge_access(request, tried) + delegated
        if self.params["storage_managed"]:
            return []
        return judge_server(_storage_loader.probe_nfs_server(given["server"], given["nfs_version"], timeout))

    def configuration(self) -> list[Problem]:
        """Return what is wrong with the configuration."""
        return Apply(self.run, self.cluster).problems()

    def databases(self) -> list[Problem]:
        """Return why a login to the databases does not do; none where they are made by the same run."""
        if self.params["database_managed"] and not self.params["upgrade"]:
            return []
        if wanted_settings(self.cluster)["Database"]["Provider"] != "postgres":
            return []
        database = self.cluster.database
        server, account = (database.host, database.port), (database.user, database.password, database.sslmode)
        problems: list[Problem] = []
        for name, schema in ((database.name, database.schema), (database.usage_name, database.usage_schema)):
            problems += judge_login(login(*server, name, *account, timeout=self.params["timeout"], schema=schema))
        return problems


PACKAGE = {
    "source": {"type": "str", "choices": ["repository", "url", "file"], "default": "repository"},
    "file": {"type": "str", "default": ""},
    "file_checksum": {"type": "str", "default": ""},
    "url": {"type": "str", "default": ""},
    "checksum": {"type": "str", "default": ""},
}
STORAGE = {
    "kind": {"type": "str", "choices": ["nfs", "existing", "local"], "required": True},
    "path": {"type": "path", "required": True},
    "server": {"type": "str", "default": ""},
    "export": {"type": "str", "default": ""},
    "nfs_version": {"type": "str", "default": "4.2"},
    "cache": {"type": "str", "default": "lookupcache=pos"},
    "options": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "versions": {"type": "dict", "required": True},
            "node": {"type": "str", "required": True},
            "package": {"type": "dict", "default": {}, "options": PACKAGE, "apply_defaults": True},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
            "storage": {"type": "dict", "required": True, "options": STORAGE},
            "storage_managed": {"type": "bool", "default": False},
            "database_managed": {"type": "bool", "default": False},
            "data_dir": {"type": "path", "required": True},
            "address": {"type": "str", "default": ""},
            "http_port": {"type": "int", "default": 4242},
            "encryption_key": {"type": "str", "default": "", "no_log": True},
            "database": {"type": "dict", "default": {}, "options": DATABASE_OPTIONS, "apply_defaults": True},
            "config": {"type": "dict", "default": {}},
            "upgrade": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
        # The host's log would otherwise get what config holds.
        no_log=True,
    )
    preflight = Preflight(module.params, module_runner(module), not module.check_mode)
    module.no_log_values.update(known_to_be_secret(preflight.cluster))
    problems = [problem.to_dict() for problem in preflight.problems()]
    module.exit_json(changed=False, problems=problems, installed_version=preflight.installed)


if __name__ == "__main__":
    main()
