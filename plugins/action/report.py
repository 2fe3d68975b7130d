# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows lines as they are on the controller's screen, and keeps what they say in a file, which fails no run."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no types
    """The action of the module of the same name."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "lines": {"type": "list", "elements": "str", "required": True},
                "path": {"type": "str", "default": ""},
                "content": {"type": "dict", "default": {}},
                "ends": {"type": "str", "default": "ok", "choices": ["ok", "failed", "unreachable"]},
            }
        )
        lines = "\n".join(given["lines"]).split("\n")
        self._display.display("\n".join(["", *lines, ""]))
        result.update(changed=False, path="")
        if given["path"] and not self._task.check_mode:
            # relative to where the command was typed, which is where this process is
            path = os.path.abspath(os.path.expanduser(given["path"]))
            try:
                _write(path, json.dumps(given["content"], indent=4, sort_keys=True, ensure_ascii=False) + "\n")
                result["path"] = path
            except OSError as error:
                said = f"The report could not be written to {path} ({error.strerror}); all else is as it says."
                self._display.warning(said)
                result["not_written"] = said
        if given["ends"] != "ok":
            result.update({given["ends"]: True, "msg": "Not all is as it should be; see above"})
        return result


def _write(path: str, text: str) -> None:
    descriptor, new = tempfile.mkstemp(prefix=".rspm-ha-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise
