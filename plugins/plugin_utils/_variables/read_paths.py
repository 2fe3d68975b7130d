# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the files on the controller that variables name are there, or can be written, before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade.model import PhaseName
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.check import Fault, Given

HOOKS = {f"{when}_{name.value}" for when in ("before", "after") for name in PhaseName}
_WRITTEN = {
    "rspm_status_file": ("status",),
    "rspm_report_file": ("upgrade", "rollback", "migrate_to_single_node"),
    "rspm_migration_inventory": ("migrate_to_single_node",),
}


def path_faults(verb: str, given: Mapping[str, Mapping[str, Given]]) -> Iterator[Fault]:
    """Return what is wrong with the files that a verb reads and writes on the controller.

    given: by host and name, the variables that start with rspm_. A relative path is one of the current folder.
    """
    for host, values in given.items():
        found = {name: each.value for name, each in values.items()}
        for name, verbs in _WRITTEN.items():
            path = found.get(name)
            if verb in verbs and isinstance(path, str) and path:
                problem = _unwritable(absolute(path), folder=name == "rspm_migration_inventory")
                if problem:
                    yield Fault(name, problem, "Name one that the user who runs ansible-playbook may write", (host,))
        package = found.get("rspm_package_file")
        needed = verb in ("site", "preflight", "upgrade") and found.get("rspm_package_source") == "file"
        if needed and isinstance(package, str) and package and not os.access(absolute(package), os.R_OK):
            fix = "Name a package file on the machine that runs ansible-playbook, or another rspm_package_source"
            yield Fault("rspm_package_file", f"{absolute(package)} can't be read", fix, (host,))
        hooks = found.get("rspm_upgrade_hooks")
        if verb in ("upgrade", "rollback") and isinstance(hooks, Mapping):
            for phase, files in hooks.items():
                if phase not in HOOKS:
                    fix = f"Use before_ or after_ and one of {', '.join(name.value for name in PhaseName)}"
                    yield Fault("rspm_upgrade_hooks", f"{phase} belongs to no phase, and would never run", fix, (host,))
                for path in [files] if isinstance(files, str) else files if isinstance(files, list) else []:
                    if isinstance(path, str) and not os.path.isfile(absolute(path)):
                        fix = "Name a file of tasks on the machine that runs ansible-playbook, or leave it out"
                        yield Fault("rspm_upgrade_hooks", f"{phase}: {absolute(path)} is no file", fix, (host,))


def absolute(path: str) -> str:
    """Return the path as whoever typed the command means it."""
    return os.path.abspath(os.path.expanduser(path))


def _unwritable(path: str, *, folder: bool) -> str:
    """Return why a file, or a folder with all that will be in it, can't be written; "" where it can."""
    if os.path.isdir(path) and not folder:
        return f"{path} is a folder"
    if folder and os.path.lexists(path) and not os.path.isdir(path):
        return f"{path} is no folder"
    place = path if folder and os.path.isdir(path) else os.path.dirname(path)
    if not os.path.isdir(place):
        return f"there is no folder {place}"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} can't be written"
