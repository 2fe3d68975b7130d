#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nfs_export
short_description: Export a folder to the nodes with this host's NFS server
version_added: 1.0.0
description:
  - Makes the folder with the ids of the service account, writes the file of exports, has the service enabled and
    running, brings the exports into force where what the server exports differs, and verifies that it answers.
  - Refuses a folder that is somebody else's before anything is changed. No other export is touched, and a service that
    runs is not restarted.
options:
  state:
    description:
      - V(exported) exports the folder.
      - V(checked) changes nothing, does not fail on a problem, and returns RV(problems).
      - V(absent) exports it to nobody any more. The folder stays, and so does every export of others.
    type: str
    choices: [exported, checked, absent]
    default: exported
  path:
    description: The folder to export.
    type: path
    required: true
  clients:
    description: Names or addresses of those that may mount it, and of nobody else. Needed unless O(state=absent).
    type: list
    elements: str
    default: []
  uid:
    description: Numeric owner of the folder. No such account is needed on this host.
    type: int
    required: true
  gid:
    description: Numeric group of the folder.
    type: int
    required: true
  nfs_version:
    description: Version of NFS that the nodes use. All but V(3) look from a root that another export may have set.
    type: str
    default: "4.2"
  security:
    description:
      - How the nodes have to prove and protect their requests (C(sec) in exports(5)). V(sys) is in clear, and believes
        the ids that a client names. V(krb5p) encrypts. What Kerberos needs on the machines has to be there.
      - It is not changed while the folder is exported with another one, since nodes may have it mounted.
    type: str
    choices: [sys, krb5, krb5i, krb5p]
    default: sys
  exports_path:
    description: Where the exports are written to.
    type: path
    default: /etc/exports.d/rspm.exports
  service:
    description: Name of the NFS server's systemd unit.
    type: str
    default: nfs-server
  timeout:
    description: For how many seconds to wait until the server answers.
    type: int
    default: 60
extends_documentation_fragment:
  - rspm.ha.attributes
attributes:
  diff_mode:
    description: Shows the file of exports, and the owner and mode of the folder, before and after.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Export the data to the nodes
  rspm.ha.nfs_export:
    path: /srv/rstudio-pm
    clients: [192.0.2.11, 192.0.2.12, 192.0.2.13]
    uid: 940
    gid: 940

- name: Check whether others use the folder
  rspm.ha.nfs_export:
    state: checked
    path: /srv/rstudio-pm
    clients: [192.0.2.11, 192.0.2.12, 192.0.2.13]
    uid: 940
    gid: 940
  register: export_folder
"""

RETURN = r"""
differences:
  description: In what the exports in force were not the wanted ones.
  returned: success
  type: list
  elements: str
  sample: ["192.0.2.13 is missing"]
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure, and with O(state=checked)
  type: list
  elements: dict
  sample: [{"check": "export", "found": "There is no client to export to", "why": "...", "fix": "..."}]
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner, module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import make_parents, read_text, write_file
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._storage import host_export
from ansible_collections.rspm.ha.plugins.module_utils._storage.export import (
    export_commands,
    export_differences,
    judge_folder,
    judge_root,
    judge_security,
    other_clients,
    parse_exports,
    render_exports,
)

NFS_PORT = 2049


def find_problems(params: dict[str, Any]) -> list[Problem]:
    """Return why the folder can't be exported."""
    path, own = params["path"], params["exports_path"]
    try:
        render_exports(path, params["clients"])
        names = host_export.list_names(path)
    except DomainError as error:
        return list(error.problems)
    except NotADirectoryError:
        return [
            Problem("export-folder", f"{path} is a file", "A folder is exported", "Set rspm_nfs_export to a folder")
        ]
    ours = parse_exports(read_text(own) or "").get(path, [])
    live = host_export.read_exports()
    others = other_clients(path, [*ours, *params["clients"]], live)
    owner = host_export.read_folder(path).uid
    problems = judge_folder(path, owner, names, params["uid"], host_export.read_exporting(path, own), others)
    problems += judge_security(path, params["clients"], params["security"], live)
    return problems + judge_root(path, params["nfs_version"], live)


def bring_up(module: AnsibleModule, run: Runner) -> dict[str, Any]:
    """Return the module's result, or raise DomainError."""
    params = module.params
    raise_any(find_problems(params))
    path, clients = params["path"], params["clients"]
    wanted = render_exports(path, clients, params["security"])
    folder = host_export.FolderState(params["uid"], params["gid"], 0o750)
    folder_before, text_before = host_export.read_folder(path), read_text(params["exports_path"]) or ""
    enabled, active = host_export.read_unit(run, params["service"])
    differences = export_differences(path, clients, host_export.read_exports())
    changed = folder_before != folder or text_before != wanted or not (enabled and active) or bool(differences)
    if changed and not module.check_mode:
        if folder_before != folder:
            host_export.make_folder(path, folder)
        if active:
            # Before the file, which tells the next run what was ours, should this one be cut off.
            ours, live = parse_exports(text_before), host_export.read_exports()
            for command in export_commands(path, clients, ours, live, params["security"]):
                run(command, check=True)
        if text_before != wanted:
            make_parents(params["exports_path"])
            write_file(params["exports_path"], wanted, 0o644)
        if not (enabled and active):
            host_export.enable_unit(run, params["service"])
        verify(params)
    return {
        "changed": changed,
        "differences": differences,
        "diff": [
            {"before": text_before, "after": wanted, "before_header": params["exports_path"]},
            {"before": describe(folder_before), "after": describe(folder), "before_header": path},
        ],
    }


def withdraw(module: AnsibleModule, run: Runner) -> dict[str, Any]:
    """Export the folder to nobody and return the module's result. Raises DomainError where the server refuses."""
    path, own = module.params["path"], module.params["exports_path"]
    text = read_text(own) or ""
    commands = export_commands(path, (), parse_exports(text), host_export.read_exports())
    if not module.check_mode:
        # Before the file, which tells the next run what was ours, should this one be cut off.
        for command in commands:
            run(command, check=True)
        if text:
            os.unlink(own)
    return {
        "changed": bool(text or commands),
        "differences": [],
        "diff": {"before": text, "after": "", "before_header": own},
    }


def describe(folder: host_export.FolderState) -> dict[str, str]:
    """Return owner and mode for the diff."""
    return {"owner": f"{folder.uid}:{folder.gid}", "mode": "absent" if folder.mode < 0 else f"{folder.mode:04o}"}


def verify(params: dict[str, Any]) -> None:
    """Raise DomainError unless the server exports what it should, and answers."""
    differences = export_differences(params["path"], params["clients"], host_export.read_exports())
    if differences:
        found, fix = "; ".join(differences), "See what else exports it: exportfs -v; cat /etc/exports /etc/exports.d/*"
    elif not host_export.wait_for_port(NFS_PORT, params["timeout"]):
        found, fix = f"Port {NFS_PORT} does not answer", f"See why: systemctl status {params['service']}"
    else:
        return
    raise DomainError(Problem("export", found, f"The nodes mount {params['path']} from this host", fix))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["exported", "checked", "absent"], "default": "exported"},
            "path": {"type": "path", "required": True},
            "clients": {"type": "list", "elements": "str", "default": []},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
            "nfs_version": {"type": "str", "default": "4.2"},
            "security": {"type": "str", "choices": ["sys", "krb5", "krb5i", "krb5p"], "default": "sys"},
            "exports_path": {"type": "path", "default": "/etc/exports.d/rspm.exports"},
            "service": {"type": "str", "default": "nfs-server"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if module.params["state"] == "checked":
        module.exit_json(changed=False, problems=[problem.to_dict() for problem in find_problems(module.params)])
    with problems_told(module):
        bring = withdraw if module.params["state"] == "absent" else bring_up
        module.exit_json(**bring(module, module_runner(module)))


if __name__ == "__main__":
    main()
