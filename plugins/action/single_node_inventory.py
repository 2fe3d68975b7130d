# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the inventory of what was a cluster and is one node now, on the controller, as the user there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import native
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ControllerAction
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.inventory import Choices, make_inventory
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.read import Reader

DEFAULTS = Path(__file__).resolve().parents[2] / "roles" / "rspm" / "defaults" / "main.yml"


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        _unused, given = self.validate_argument_spec(
            {
                "path": {"type": "str", "required": True},
                "target": {"type": "str", "required": True},
                "target_address": {"type": "str", "required": True},
                "address": {"type": "str", "default": ""},
                "load_balancer": {"type": "str", "choices": ["keep", "route"], "default": "keep"},
                "data": {"type": "str", "choices": ["keep", "move"], "default": "keep"},
                "data_dir": {"type": "str", "default": ""},
                "database": {"type": "str", "choices": ["keep", "move"], "default": "keep"},
            }
        )
        # Relative to where the command was typed, which is where this process still is.
        place = os.path.abspath(os.path.expanduser(given.pop("path")))
        reader = Reader(self._loader, known["hostvars"]._inventory, known.get("ansible_inventory_sources") or [])
        result.update(changed=False, path=place, files=[], missing=[], notes=[])
        if os.path.realpath(place) in reader.folders:
            result["msg"] = f"{place} is the inventory of this run, and is left as it is"
            return result
        defaults = self._loader.load_from_file(str(DEFAULTS), trusted_as_template=True)
        new = make_inventory(
            Choices(**{name: native(value) for name, value in given.items()}),
            reader.cluster(known, defaults, self._templar),
        )
        differing = [name for name in sorted(new.files) if not _is_there(place, name, new.files[name])]
        if not self._task.check_mode:
            _write(place, {name: new.files[name] for name in differing})
        result.update(
            changed=bool(differing), files=sorted(new.files), missing=list(new.missing), notes=list(new.notes)
        )
        if self._task.diff:
            # Names only: what is in the files may be secret.
            result["diff"] = {"before": "", "after": "".join(f"{place}/{name}\n" for name in differing)}
        return result


def _is_there(place: str, name: str, content: bytes) -> bool:
    path = Path(place, name)
    return path.is_file() and path.stat().st_mode & 0o777 == 0o600 and path.read_bytes() == content


def _write(place: str, files: Mapping[str, bytes]) -> None:
    """Write the files, each in one step, for the user alone."""
    for name, content in files.items():
        path = Path(place, name)
        for folder in (*reversed(Path(name).parents),):
            made = Path(place, folder)
            if not made.is_dir():
                made.mkdir(mode=0o700, parents=True)
                made.chmod(0o700)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        new.chmod(0o600)
        new.replace(path)
