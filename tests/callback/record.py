# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback for the tests: writes every task's result, one JSON line each, to the file named by RSPM_RECORD."""

from __future__ import annotations

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: notification
short_description: Write every task's result as one JSON line
description:
  - For the tests. Counts what a run cost each host, and keeps the messages for exact comparison.
requirements:
  - The environment variable RSPM_RECORD names the file.
"""


class CallbackModule(CallbackBase):
    """Writes one line a result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._play = ""
        self._sink = open(os.environ["RSPM_RECORD"], "a", encoding="utf-8")  # noqa: SIM115 open for the whole run

    def v2_playbook_on_play_start(self, play) -> None:
        self._play = play.get_name()

    def _write(self, outcome: str, result) -> None:
        got = result.result
        line = {
            "at": time.time(),
            "play": self._play,
            "task": result.task.get_name(),
            "host": result.host.get_name(),
            "outcome": outcome,
            "changed": bool(got.get("changed", False)),
            "msg": got.get("msg"),
            "result": None if got.get("_ansible_no_log") else got,
        }
        self._sink.write(json.dumps(line, default=str) + "\n")
        self._sink.flush()

    def v2_runner_on_ok(self, result) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False) -> None:
        self._write("failed", result)

    def v2_runner_on_skipped(self, result) -> None:
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result) -> None:
        self._write("unreachable", result)
