#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show a report as plain text, and keep it in a file
version_added: 1.0.0
description:
  - Shows lines on the screen of the controller as they are, once for all hosts of the play.
  - It runs on the controller, as the user who typed the command, and never as another.
  - A file that can't be written is a warning, and fails no run.
options:
  lines:
    description: What is shown, unless it is a run.
    type: list
    elements: str
  purpose:
    description:
      - The run that is shown in the place of O(lines), as the tasks of the role C(upgrade) (for V(upgrade) and
        V(rollback)) or C(migration) (for V(migrate) and V(abort)) have registered it for all hosts.
    type: str
    choices: [upgrade, rollback, migrate, abort]
  outcome:
    description: How far the run has come. V(planned) shows its plan, everything else its report.
    type: str
    choices: [planned, nothing to do, predicted, done, stopped]
  problems_of:
    description:
      - Names of variables that tasks have registered, with C(problems) and perhaps C(notes) in their results. Those of
        all hosts that are still in the play are shown as a table in the place of O(lines), and the task fails where
        there are problems.
    type: list
    elements: str
  path:
    description:
      - File on the controller that O(content), or the report of the run, is written to as JSON, for its owner alone.
        Empty for none.
      - One that is not absolute is in the folder where the command was typed.
      - In check mode it is not written.
    type: str
    default: ""
  content:
    description: What the file is to hold.
    type: dict
    default: {}
  ends:
    description:
      - How the task ends after all was shown. A task that failed makes the exit code of C(ansible-playbook) 2, one that
        could not reach its host makes it 4.
    type: str
    choices: [ok, failed, unreachable]
    default: ok
extends_documentation_fragment:
  - rspm.ha.attributes.looks
attributes:
  check_mode:
    description: Shows the same, and writes no file.
  idempotent:
    description: A file is written anew each time, which is no change to any host.
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Stop if there are problems
  rspm.ha.report:
    problems_of: [preflight_host, preflight_node]

- name: Show the report
  rspm.ha.report:
    purpose: upgrade
    outcome: done
    path: upgrade.json
"""

RETURN = r"""
says:
  description: How the run ended, and what to type next.
  returned: when a run is shown
  type: list
  elements: str
  sample: ["Nothing was to be done: every node has and runs 2026.08.0."]
path:
  description: The file that was written, empty where none was.
  returned: success
  type: str
  sample: /home/ops/cluster/upgrade.json
not_written:
  description: Why the file could not be written.
  returned: when it could not
  type: str
  sample: The report could not be written to /x.json (Permission denied); the rest is done as shown.
"""
