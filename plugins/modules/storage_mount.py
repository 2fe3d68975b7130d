#!/usr/bin/python

# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: storage_mount
short_description: Mount the shared storage of a Package Manager node, or check it
version_added: 1.0.0
description:
  - Compares the options of the live mount, as the kernel shows them, with the wanted ones, and makes the mount anew
    where they differ and nothing uses it. A remount is never tried, since NFS does not take most options from it.
  - Everything that touches the storage is done with the numeric ids of the service account in a child process under a
    time limit, so that neither a squashed root nor a dead server matters.
  - For O(kind=nfs) it keeps the mount's line in /etc/fstab, and no other one.
options:
  state:
    description:
      - V(ready) checks that the storage can be mounted and worked with, by a trial mount at a private folder where it
        is not mounted yet, and changes nothing that lasts.
      - V(mounted) writes the mount into /etc/fstab and mounts it, makes O(data_dir), and tries the access of the
        service account. Where that may not make its folders in O(path), and root is not squashed, root makes them.
      - V(absent) unmounts what is at O(path), takes it out of /etc/fstab, and removes the empty mount point. Where the
        server does not answer within O(timeout) the mount is taken away by force, which is a warning, RV(detached).
    type: str
    choices: [ready, mounted, absent]
    default: mounted
  data_dir:
    description: The data directory, a folder below O(path); made with mode 0701 for the service account.
    type: path
    required: true
  timeout:
    description: Seconds for a mount, and each look at the storage. A server just started lets clients wait up to 90.
    type: int
    default: 120
extends_documentation_fragment:
  - rspm.ha.attributes
  - rspm.ha.storage
  - rspm.ha.node
attributes:
  check_mode:
    description: Nothing is mounted, made or written to, also not for a trial; what a run would do is predicted.
  diff_mode:
    description: Shows the options in force before and after.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check that the storage can be mounted
  rspm.ha.storage_mount:
    state: ready
    kind: nfs
    path: /mnt/rstudio-pm
    data_dir: /mnt/rstudio-pm/data
    server: nfs.example.com
    export: /srv/rstudio-pm
    uid: 940
    gid: 940

- name: Mount the storage, now and at boot
  rspm.ha.storage_mount:
    kind: nfs
    path: /mnt/rstudio-pm
    data_dir: /mnt/rstudio-pm/data
    server: nfs.example.com
    export: /srv/rstudio-pm
    uid: 940
    gid: 940

- name: Check that the nodes can work with a mount that the team made
  rspm.ha.storage_mount:
    kind: existing
    path: /shared/rstudio-pm
    data_dir: /shared/rstudio-pm/data
    uid: 940
    gid: 940
"""

RETURN = r"""
source:
  description: What is mounted, or is to be; empty for a mount that is not ours and not there.
  returned: success, unless O(state=absent)
  type: str
  sample: nfs.example.com:/srv/rstudio-pm
options:
  description: Options for /etc/fstab; empty unless O(kind=nfs).
  returned: success, unless O(state=absent)
  type: list
  elements: str
  sample: [rw, hard, vers=4.2, lookupcache=pos, _netdev, nofail, x-systemd.mount-timeout=infinity, retry=10000]
live_options:
  description: Options that are in force; empty while nothing is mounted.
  returned: success, unless O(state=absent)
  type: list
  elements: str
  sample: [rw, relatime, vers=4.2, hard, lookupcache=pos]
differences:
  description: Options that were found to differ from the wanted ones.
  returned: success, unless O(state=absent)
  type: list
  elements: dict
  sample: [{"name": "lookupcache", "wanted": "pos", "live": "all"}]
detached:
  description: How a mount was taken away whose server did not answer in time; empty where that was not needed.
  returned: success, with O(state=absent)
  type: str
  sample: umount -f /mnt/rstudio-pm
problems:
  description: What is wrong, each with check, found, why and fix.
  returned: failure
  type: list
  elements: dict
  sample: [{"check": "storage-server", "found": "The NFS server nfs does not answer", "why": "...", "fix": "..."}]
"""

import os
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner, module_runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_module import problems_told
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._storage import host as storage_host
from ansible_collections.rspm.ha.plugins.module_utils._storage.access import (
    judge_access,
    judge_places,
)
from ansible_collections.rspm.ha.plugins.module_utils._storage.fstab import detached_text, with_mount
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_fstab import take_away
from ansible_collections.rspm.ha.plugins.module_utils._storage.host_holders import list_holders
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import MountEntry, export_path, mount_of
from ansible_collections.rspm.ha.plugins.module_utils._storage.rules import (
    DATA_DIR_MODE,
    STORAGE_OPTIONS,
    StorageRequest,
    decide_mount,
    judge_after_mount,
    judge_delegations,
    judge_hidden,
    judge_holders,
    judge_server,
    storage_request,
)

CONNECT_SECONDS = 10


class Storage:
    """The storage of this host during one call; before and after are what the diff shows."""

    def __init__(self, module: AnsibleModule, request: StorageRequest, run: Runner) -> None:
        self.module, self.request, self.run = module, request, run
        self.timeout: int = module.params["timeout"]
        self.action, self.differences = decide_mount(request, storage_host.read_mounts(request.path, self.timeout))
        self.before: dict[str, Any] = {"mounted": self.action != "mount"}
        self.before.update({difference.name: difference.live for difference in self.differences})
        self.after = dict(self.before)
        self.changed = False

    def check_ready(self) -> None:
        """Raise DomainError unless the storage can be mounted and worked with; nothing that lasts is changed."""
        if self.request.kind == "local" and not os.path.isdir(self.request.path):
            return
        if self.action == "keep":
            raise_any(self.server_problems())
            self.check_access()
            return
        if self.action == "mount":
            raise_any(judge_hidden(self.request.path, storage_host.list_names(self.request.path)))
        self.refuse_held()
        if self.module.check_mode:
            # on bare machines the real run would have made the server first; preflight tells of one that it would not
            return
        raise_any(self.server_problems())
        entry, tried = storage_host.try_unmounted(self.run, self.request, self.timeout)
        raise_any(judge_delegations(entry.live_options, storage_host.read_delegations()))
        raise_any(judge_places(self.request, tried, self.request.source))

    def server_problems(self) -> list[Problem]:
        """Return why our NFS server can't be reached; a mount that is not ours names no server."""
        params = self.module.params
        if self.request.kind != "nfs":
            return []
        return judge_server(storage_host.probe_nfs_server(params["server"], params["nfs_version"], CONNECT_SECONDS))

    def bring_up(self) -> None:
        """Mount what fstab has, where that is not what is mounted, and make the data directory."""
        if self.action != "keep":
            self.changed = True
            self.after.update({"mounted": True, **{item.name: item.wanted for item in self.differences}})
        fstab = self.fstab_line()
        if not self.module.check_mode:
            self.mount(fstab)
        elif self.action != "keep":
            return
        if self.request.kind == "local" and not self.make_folder():
            return
        for place, tried in self.check_access():
            mode, name = tried.folder_mode, "data_dir_mode"
            if place.folder != self.request.data_dir:
                # made by whoever takes the lock first, where that account may
                name = "own_folder_mode"
                if not tried.is_left_to_root:
                    continue
            elif mode == DATA_DIR_MODE:
                continue
            self.changed = True
            self.before[name], self.after[name] = mode_text(mode), mode_text(DATA_DIR_MODE)
            if not self.module.check_mode:
                made = storage_host.make_place(self.request, place, self.entry(), self.timeout)
                raise_any(judge_access(self.request, made, place.folder))

    def make_folder(self) -> bool:
        """Make the folder on the node's own disk, where it is absent; False where a check would."""
        if os.path.isdir(self.request.path):
            return True
        self.changed = True
        self.after["folder"] = "made"
        if not self.module.check_mode:
            storage_host.make_local(self.request)
        return not self.module.check_mode

    def fstab_line(self) -> str:
        """Return the text that fstab is to have, empty where it is right."""
        if self.request.kind != "nfs":
            return ""
        text = storage_host.read_fstab()
        wanted = with_mount(text, self.request.source, self.request.path, self.request.options)
        if wanted == text:
            return ""
        self.changed = True
        for side, one, other in ((self.before, text, wanted), (self.after, wanted, text)):
            side["fstab"] = [line for line in one.splitlines() if line not in other.splitlines()]
        return wanted

    def mount(self, fstab: str) -> None:
        """Make the live mount the wanted one. fstab: its new text, empty where it stays."""
        self.refuse_held()
        if fstab:
            storage_host.write_fstab(fstab)
        if self.request.kind == "nfs" and storage_host.unit_is_outdated(self.run, self.request.path):
            self.changed = True
            storage_host.reload_units(self.run)
        if self.action == "keep":
            return
        if self.action == "change":
            storage_host.unmount(self.run, self.request.path, self.timeout)
        storage_host.mount_from_fstab(self.run, self.request, self.timeout)
        raise_any(judge_after_mount(self.request, storage_host.read_mounts()))

    def refuse_held(self) -> None:
        """Raise DomainError when the mount can't be taken away for a moment."""
        if self.action == "change":
            holders = list_holders(self.request.path, self.request.uid)
            raise_any(judge_holders(self.request.path, self.differences, holders))

    def entry(self) -> MountEntry:
        """Return the live mount."""
        entry = mount_of(storage_host.read_mounts(), self.request.path)
        if entry is None:
            raise DomainError(
                Problem(
                    check="storage-mount",
                    found=f"The mount at {self.request.path} is gone while it is looked at",
                    why="Somebody else changes it at this moment",
                    fix="See who does, and run the playbook again",
                )
            )
        return entry

    def check_access(self) -> storage_host.Tried:
        """Let the service account try what is mounted; returns what it met in each folder that it needs."""
        entry = self.entry()
        if entry.is_nfs:
            raise_any(judge_delegations(entry.live_options, storage_host.read_delegations()))
        write = not self.module.check_mode
        tried = storage_host.try_places(self.request, entry, self.timeout, write=write)
        raise_any(judge_places(self.request, tried, export_path(entry)))
        return tried

    def result(self) -> dict[str, Any]:
        """Return what the module says."""
        entry = self.entry()
        live = entry if entry.is_nfs else None
        return {
            "changed": self.changed,
            "source": self.request.source or (live.source if live else ""),
            "options": list(self.request.options),
            "live_options": list(live.live_options) if live else [],
            "differences": [asdict(difference) for difference in self.differences],
            "diff": {"before": self.before, "after": self.after},
        }


def mode_text(mode: int) -> str:
    """Return mode for a person."""
    return "absent" if mode < 0 else f"{mode:04o}"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["ready", "mounted", "absent"], "default": "mounted"},
            **STORAGE_OPTIONS,
            "data_dir": {"type": "path", "required": True},
            "uid": {"type": "int", "required": True},
            "gid": {"type": "int", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    others = ("state", "timeout")
    with problems_told(module):
        if module.params["state"] == "absent":
            params = module.params
            result = take_away(module_runner(module), params["path"], params["timeout"], module.check_mode)
            if result["detached"]:
                module.warn(detached_text(params["path"], result["detached"]))
            module.exit_json(**result)
        request = storage_request(**{name: value for name, value in module.params.items() if name not in others})
        storage = Storage(module, request, module_runner(module))
        if module.params["state"] == "ready":
            storage.check_ready()
        else:
            storage.bring_up()
        module.exit_json(**storage.result())


if __name__ == "__main__":
    main()
