# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows a plan, a report or other lines on the controller's screen, and keeps them in a file, which fails no run."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read import Variables
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.read_action import ControllerAction
from ansible_collections.rspm.ha.plugins.plugin_utils._migration import read_run as migration_run
from ansible_collections.rspm.ha.plugins.plugin_utils._migration import report as migration_report
from ansible_collections.rspm.ha.plugins.plugin_utils._preflight import rules as preflight
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade import read as upgrade_run
from ansible_collections.rspm.ha.plugins.plugin_utils._upgrade import report as upgrade_report

_SHOWN = ("lines", "problems_of", "purpose")
_UPGRADES = ("upgrade", "rollback")
_PURPOSES = (*_UPGRADES, "migrate", "abort")
_PLANNED = "planned"
_OUTCOMES = (_PLANNED, "nothing to do", "predicted", "done", "stopped")


class ActionModule(ControllerAction):
    """The action of the module of the same name."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "lines": {"type": "list", "elements": "str"},
                "problems_of": {"type": "list", "elements": "str"},
                "purpose": {"type": "str", "choices": list(_PURPOSES)},
                "outcome": {"type": "str", "choices": list(_OUTCOMES)},
                "path": {"type": "str", "default": ""},
                "content": {"type": "dict", "default": {}},
                "ends": {"type": "str", "default": "ok", "choices": ["ok", "failed", "unreachable"]},
            },
            required_together=[("purpose", "outcome")],
            required_one_of=[_SHOWN],
            mutually_exclusive=[_SHOWN],
        )
        known = Variables(task_vars or {}, self._templar)
        lines, content = given["lines"], given["content"]
        if given["problems_of"]:
            lines, problems = _problems(known, given["problems_of"])
            if problems:
                result.update(failed=True, msg="\n".join(problems))
        if given["purpose"]:
            content = _of_run(known, given["purpose"], given["outcome"])
            lines = content.pop("table")
            result["says"] = content.get("says", [])
        if lines or not given["problems_of"]:
            self._display.display("\n".join(["", *"\n".join(lines).split("\n"), ""]))
        result.update(changed=False, path="")
        if given["path"] and not self._task.check_mode:
            # relative to where the command was typed, which is where this process is
            path = os.path.abspath(os.path.expanduser(given["path"]))
            try:
                _write(path, json.dumps(content, indent=4, sort_keys=True, ensure_ascii=False) + "\n")
                result["path"] = path
            except OSError as error:
                said = f"The report could not be written to {path} ({error.strerror}); the rest is done as shown."
                self._display.warning(said)
                result["not_written"] = said
        if given["ends"] != "ok":
            result.update({given["ends"]: True, "msg": "Something is not as it should be; see above"})
        return result


def _problems(known: Variables, names: list[str]) -> tuple[list[str], list[str]]:
    """Return notes and problems of all hosts as lines of a table, and one line for each problem."""
    results = {host: [known.of(host, name, {}) for name in names] for host in known.present_hosts}
    notes = [note for each in results.values() for result in each for note in result.get("notes", [])]
    problems = {
        host: [problem for result in each for problem in result.get("problems", [])] for host, each in results.items()
    }
    return [*notes, *preflight.problem_table(problems)], preflight.report(problems)


def _of_run(known: Variables, purpose: str, outcome: str) -> dict[str, Any]:
    """Return the plan or the report of a run, with its lines as table."""
    if purpose in _UPGRADES:
        if outcome == _PLANNED:
            return {"table": upgrade_report.outline(known.own("upgrade_planned"))}
        return upgrade_report.report(upgrade_run.read_run(known, purpose, outcome))
    if outcome == _PLANNED:
        plan, choices = known.own("migration_planned"), known.own("migration_choices")
        return {"table": migration_report.outline(plan, choices, migration_run.read_amounts(known))}
    return migration_report.report(migration_run.read_run(known, purpose, outcome))


def _write(path: str, text: str) -> None:
    descriptor, new = tempfile.mkstemp(prefix=".rspm-ha-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise
