# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small tree that keeps every rule; the planted violations change one file of it each."""

from __future__ import annotations

import yaml

from tests.tools import made_pages

MODULE = '''
DOCUMENTATION = r"""
module: thing
version_added: 1.0.0
author: ["rspm.ha authors (@rspm-ha)"]
attributes:
  check_mode: {support: full, description: x}
  diff_mode: {support: full, description: x}
  idempotent: {support: full, description: x}
options:
  path: {type: path, required: true, description: x}
  api_token: {type: str, aliases: [token], description: x}
"""
EXAMPLES = r"""
- name: Make the thing
  rspm.ha.thing:
    path: /srv/thing
    token: "{{ vault }}"
"""
RETURN = r"""
size:
  description: Bytes.
  type: dict
  returned: always
  contains:
    used: {description: Bytes., type: int, sample: 3}
"""
SPEC = {"path": {"type": "path"}, "api_token": {"type": "str", "no_log": True}}
AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
'''

DECISION = """
from __future__ import annotations
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import subprocess
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import Problem
"""

CLUSTER_SPEC = """
argument_specs:
  variables:
    short_description: All
    description: [Where it is is O(rspm_path)., For roles of your own.]
    examples: "- name: x"
    options:
      # What has to be set
      rspm_path:
        description: Where.
        type: path
        default: /srv
      rspm_folder:
        description: A folder there.
        type: path
"""

CLUSTER_DEFAULTS = """
rspm_path: /srv
rspm_folder: "{{ rspm_path }}/x"
"""

SPECS = """
argument_specs:
  main:
    short_description: A thing
    description: [It is below C(rspm_folder)., Internal.]
    examples: "- name: x"
    options:
      thing_path:
        description: Where.
        type: path
      thing_password:
        description: What nobody may see.
        type: str
        required: true
        no_log: true
"""

TASKS = """
- name: Make the thing
  rspm.ha.thing:
    path: "{{ thing_path }}"
    token: "{{ thing_password }}"
  no_log: true
  when: ansible_facts['os_family'] == 'Debian'
  # A thing that was never there has no name.
  failed_when: false
- name: Check that the thing is big enough
  ansible.builtin.command: thing --size
  register: thing_size
  changed_when: false
  when: thing_password | length > 0
- name: Show the size
  ansible.builtin.debug:
    msg: "{{ thing_size.stdout }} 'thing_other' {{ x.thing_attribute }} {{ ansible_check_mode }}"
"""

CHECK = """
- name: Check the variables
  hosts: "{{ lookup('rspm.ha.check_hosts') }}"
  strategy: linear
  any_errors_fatal: true
  tasks:
    - name: Check what was typed
      rspm.ha.variables_check:
        verb: "{{ check_verb }}"
"""

BEGIN = """
- name: Check what was typed
  ansible.builtin.import_playbook: parts/check.yml
  vars:
    check_verb: site
"""

PLAY = """
- name: Make the things
  hosts: rspm_nodes
  strategy: linear
  any_errors_fatal: true
  vars:
    ansible_ssh_args: "{{ lookup('rspm.ha.ssh_args') }}"
  tasks:
    - name: Make the thing
      ansible.builtin.import_role:
        name: rspm.ha.thing
- name: Run more
  import_playbook: more.yml
"""

VARIABLES = yaml.safe_load(CLUSTER_SPEC)["argument_specs"]["variables"]["options"]

CLEAN = {
    "docs/variables.md": made_pages.variables_page(CLUSTER_SPEC),
    "extensions/molecule/default/converge.yml": PLAY,
    "galaxy.yml": "dependencies: {a.b: '>=1'}\n",
    "playbooks/parts/check.yml": CHECK,
    "playbooks/site.yml": BEGIN + PLAY,
    "plugins/module_utils/_disk/host.py": "import os\n",
    "plugins/module_utils/_disk/rules.py": DECISION,
    "plugins/modules/thing.py": MODULE,
    "plugins/plugin_utils/_plan/rules.py": "from plugins.module_utils._disk import rules\n",
    "requirements.yml": "collections: [{name: a.b, version: '>=1'}]\n",
    "roles/rspm/README.md": made_pages.role_page("rspm", yaml.safe_load(CLUSTER_SPEC), VARIABLES),
    "roles/rspm/defaults/main.yml": CLUSTER_DEFAULTS,
    "roles/rspm/meta/argument_specs.yml": CLUSTER_SPEC,
    "roles/rspm/meta/main.yml": "dependencies: []\n",
    "roles/rspm/tasks/main.yml": "[]\n",
    "roles/thing/README.md": made_pages.role_page("thing", yaml.safe_load(SPECS), VARIABLES),
    "roles/thing/meta/argument_specs.yml": SPECS,
    "roles/thing/meta/main.yml": "dependencies: [{role: rspm.ha.rspm}]\n",
    "roles/thing/tasks/main.yml": TASKS,
    "roles/thing/templates/thing.conf.j2": "{% for thing_a in b %}{{ thing_a }}{{ rspm_folder }}{% endfor %}\n",
    "roles/thing/vars/main.yml": 'thing_path: "{{ rspm_path }}"\n',
}
