#!/usr/bin/python
# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: variables_check
short_description: Check that inventory and variables are what the collection needs
version_added: 1.0.0
description:
  - Checks the inventory's groups and the C(rspm_*) variables of all hosts, and fails once with everything that is
    wrong.
  - It runs on the controller, once for all hosts of the play, and asks no machine.
  - The values of secrets are not shown.
options:
  verb:
    description:
      - The playbook that is about to run. What it needs has to be there, and C(--limit) has to leave it.
      - Without it only the variables are checked.
    type: str
    choices: [site, preflight, upgrade, rollback, migrate_to_single_node, status, unlock]
extends_documentation_fragment:
  - rspm.ha.attributes.looks
author:
  - rspm.ha authors (@rspm-ha)
"""

EXAMPLES = r"""
- name: Check the variables
  rspm.ha.variables_check:
    verb: upgrade
"""

RETURN = r"""
msg:
  description: What is wrong, as a table.
  returned: failure
  type: str
  sample: "rspm_http_port  all hosts  is 'abc', not a whole number. Write it as 42."
"""
