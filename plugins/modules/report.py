#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Shows a report as plain text, and keeps it in a file
version_added: 1.0.0
description:
  - Shows lines on the screen of the controller as they are, once for all hosts of the play.
  - It runs on the controller, as the user who typed the command, and never as another.
  - A file that can't be written is a warning, and fails no run.
options:
  lines:
    description: What is shown.
    type: list
    elements: str
    required: true
  path:
    description:
      - File on the controller that O(content) is written to as JSON, for its owner alone. Empty for none.
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
attributes:
  check_mode:
    description: Shows the same, and writes no file.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  idempotent:
    description: A file is written anew each time, which is no change to any host.
    support: full
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Show the report
  rspm.ha.report:
    lines: "{{ report.table }}"
    path: upgrade.json
    content: "{{ report }}"
"""

RETURN = r"""
path:
  description: The file that was written, empty where none was.
  returned: success
  type: str
  sample: /home/ops/cluster/upgrade.json
not_written:
  description: Why the file could not be written.
  returned: when it could not
  type: str
  sample: The report could not be written to /x.json (Permission denied); all else is as it says.
"""
