# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each rule finds what breaks it: a violation is planted in a tree that keeps all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules import clean_tree, module_rules, role_rules, room_rules, task_rules, text_rules, word_rules
from tests.rules.test_repository import RULES, Rule

ROLE = "roles/thing/tasks/main.yml"
SPEC = "roles/thing/meta/argument_specs.yml"
VARS = "roles/thing/vars/main.yml"
DEFAULTS = "roles/rspm/defaults/main.yml"
CLUSTER_SPEC = "roles/rspm/meta/argument_specs.yml"
MODULE = "plugins/modules/thing.py"
DECIDE = "plugins/module_utils/_disk/rules.py"
SITE = "playbooks/site.yml"
CHECKED = "playbooks/parts/check.yml"
SCENARIO = "extensions/molecule/default/converge.yml"
SECRET_TASK = "\n- name: x\n  ansible.builtin.debug:\n    msg: '{{ thing_password }}'\n"
HIDDEN_TASK = "\n- name: x\n  rspm.ha.node_stop:\n    database: '{{ thing_password }}'\n"
SECRET_BLOCK = "\n- name: x\n  no_log: false\n  block:\n    - name: y\n      x.y.z: {msg: '{{ thing_password }}'}\n"
SECRET_TEMPLATE = "\n- name: x\n  ansible.builtin.template: {src: s.j2, dest: /etc/s}\n"
DERIVED = "\n- name: x\n  ansible.builtin.debug: {msg: '{{ thing_line }}'}\n"
LIST = '\n- name: x\n  ansible.builtin.fail:\n    msg: "{{ x.problems }}"\n'
FAILED_WHEN = "\n- name: x\n  ansible.builtin.command: x\n  failed_when: false\n"

# rule, file, what is replaced there ("" appends, None makes the file or empties it), by what, what the finding says
PLANTED: list[tuple[Rule, str, str | None, str, str | None]] = [
    (
        task_rules.nothing_ignores_errors,
        SITE,
        "any_errors_fatal",
        "ignore_errors: true\n  any_errors_fatal",
        "ignore_errors",
    ),
    (task_rules.nothing_ignores_errors, "tests/x.yml", None, "- ignore_errors: '{{ x }}'\n", "tests/x.yml:1"),
    (task_rules.failed_when_false_says_why, ROLE, "", FAILED_WHEN, "no comment above it"),
    (task_rules.failed_when_false_says_why, ROLE, "A thing that was never there has no name.", "why", "no comment"),
    (task_rules.failed_when_false_says_why, ROLE, "failed_when: false", "failed_when: [false]", None),
    (task_rules.failures_are_text, ROLE, "", LIST, "a list of problems as a message"),
    (task_rules.failures_are_text, ROLE, "", LIST.replace("x.problems", "x.problems | join"), "a list of problems"),
    (task_rules.failures_are_text, ROLE, "", LIST.replace("x.problems", "x.problems | join(', ')"), None),
    (task_rules.every_play_stops_the_run, SITE, "  any_errors_fatal: true\n", "", "playbooks/site.yml:7"),
    (
        task_rules.every_play_stops_the_run,
        SCENARIO,
        "any_errors_fatal: true",
        "any_errors_fatal: false",
        "converge.yml:2",
    ),
    (task_rules.every_play_keeps_the_order, SITE, "  strategy: linear\n", "", "playbooks/site.yml:7"),
    (task_rules.every_play_keeps_the_order, SITE, "strategy: linear", "strategy: free", "without strategy: linear"),
    (module_rules.folders_have_a_mode, MODULE, "", "\nos.makedirs(path, mode=0o755)\n", "obeys the umask"),
    (task_rules.every_play_keeps_ssh_alive, SITE, "rspm.ha.ssh_args", "x.y.ssh_args", "without ansible_ssh_args"),
    (task_rules.becoming_is_a_variable, ROLE, "", "\n- name: x\n  x.y.z: {}\n  become: false\n", "become is a keyword"),
    (
        task_rules.becoming_is_a_variable,
        ROLE,
        "",
        "\n- name: x\n  become_user: y\n  block:\n    - name: y\n      x.y.z: {}\n",
        "become_user is a keyword",
    ),
    (
        task_rules.becoming_is_a_variable,
        ROLE,
        "",
        "\n- name: x\n  x.y.z: {}\n  delegate_to: localhost\n",
        "runs on the controller",
    ),
    (
        task_rules.becoming_is_a_variable,
        ROLE,
        "",
        "\n- name: x\n  x.y.z: {}\n  delegate_to: localhost\n  vars: {ansible_become: false}\n",
        None,
    ),
    (task_rules.becoming_is_a_variable, SITE, "  strategy: linear", "  become: true\n  strategy: linear", "become is"),
    (task_rules.groups_may_be_absent, SITE, "rspm_nodes", "rspm_nodes:rspm_database", "select('in', groups)"),
    (task_rules.every_verb_checks_first, SITE, "verb: site", "verb: upgrade", "does not begin with"),
    (task_rules.every_verb_checks_first, SITE, "parts/check.yml", "parts/more.yml", "does not begin with"),
    (task_rules.every_verb_checks_first, CHECKED, "lookup('rspm.ha.check_hosts')", "'localhost'", "more or less"),
    (task_rules.every_verb_checks_first, CHECKED, "{{ check_verb }}", "site", "more or less"),
    (task_rules.every_verb_checks_first, "playbooks/more.yml", None, clean_tree.PLAY, "playbooks/more.yml"),
    (task_rules.secrets_are_not_logged, ROLE, "", SECRET_TASK, "thing_password is used"),
    (task_rules.secrets_are_not_logged, ROLE, "", HIDDEN_TASK, None),
    (task_rules.secrets_are_not_logged, ROLE, "", HIDDEN_TASK.replace("database", "purpose"), "thing_password is used"),
    (
        task_rules.secrets_are_not_logged,
        ROLE,
        "",
        HIDDEN_TASK.replace("node_stop", "lb_host"),
        "thing_password is used",
    ),
    (task_rules.secrets_are_not_logged, ROLE, "", SECRET_BLOCK, "thing_password is used"),
    (task_rules.secrets_are_not_logged, VARS, "", 'thing_line: "{{ thing_password }}"\n', None),
    (task_rules.facts_are_not_injected, ROLE, "ansible_facts['os_family']", "ansible_os_family", "ansible_os_family"),
    (
        task_rules.facts_are_not_injected,
        VARS,
        "",
        "thing_a: '{{ ansible_hostname }}'\n",
        "ansible_facts['hostname']",
    ),
    (task_rules.facts_are_not_injected, "roles/thing/templates/a.j2", None, "{{ ansible_fqdn }}", "ansible_fqdn"),
    (
        task_rules.playbooks_run_no_commands,
        SITE,
        "ansible.builtin.import_role",
        "ansible.builtin.shell",
        "shell in a playbook",
    ),
    (task_rules.playbooks_run_no_commands, SITE, "ansible.builtin.import_role", "command", "command in a playbook"),
    (task_rules.roles_know_one_host, ROLE, "", "\n- name: x\n  x.y.z: {a: '{{ hostvars.b }}'}\n", "hostvars in a role"),
    (task_rules.roles_know_one_host, ROLE, "", "\n- name: x\n  x.y.z: {}\n  when: x in groups.y\n", "groups in a role"),
    (task_rules.roles_know_one_host, "roles/thing/templates/a.j2", None, "{{ groups['x'] }}", "groups in a role"),
    (
        role_rules.every_role_is_whole,
        "roles/other/tasks/main.yml",
        None,
        "[]\n",
        "roles/other: no meta/argument_specs.yml",
    ),
    (role_rules.variables_are_in_one_place, "roles/thing/defaults/main.yml", None, "thing_x: 1\n", "internal in vars/"),
    (role_rules.variables_are_in_one_place, "roles/thing/meta/main.yml", None, "{}\n", "is no dependency"),
    (role_rules.specs_and_defaults_agree, DEFAULTS, "rspm_path: /srv", "rspm_path: /opt", "argument_specs says '/srv'"),
    (role_rules.specs_and_defaults_agree, DEFAULTS, "", "rspm_more: 1\n", "not in argument_specs"),
    (role_rules.specs_and_defaults_agree, DEFAULTS, "", "other: 1\n", "does not start with rspm_"),
    (role_rules.specs_and_defaults_agree, DEFAULTS, None, "{}\n", "has no default"),
    (role_rules.specs_and_defaults_agree, DEFAULTS, "path: /srv", "path: '{{ x }}'", "argument_specs can't say it"),
    (role_rules.specs_and_defaults_agree, CLUSTER_SPEC, "        default: /srv\n", "", "does not say"),
    (role_rules.parameters_are_whole, SPEC, None, "argument_specs: {main: {options: {}}}\n", "main has no options"),
    (role_rules.parameters_are_whole, SPEC, None, "argument_specs: {variables: {}}\n", None),
    (role_rules.parameters_are_whole, SPEC, "thing_path:", "path:", "path does not start with thing_"),
    (role_rules.parameters_are_whole, SPEC, "type: path", "type: path\n        default: /x", "which vars/ holds"),
    (role_rules.parameters_are_whole, VARS, None, "{}\n", "thing_path is either required"),
    (role_rules.parameters_are_whole, VARS, "", "thing_password: x\n", "thing_password is either required"),
    (
        role_rules.no_spec_has_jinja,
        CLUSTER_SPEC,
        "default: /srv",
        "default: '{{ a }}'",
        "default of rspm_path has Jinja",
    ),
    (
        role_rules.no_spec_has_jinja,
        SPEC,
        "type: path",
        "type: dict\n        options: {a: {default: ['{% b %}']}}",
        "default of thing_path.a has Jinja",
    ),
    (role_rules.options_are_described, SPEC, "description: Where.", "x: 1", "thing_path has no description"),
    (role_rules.options_are_described, SPEC, "type: path", "x: 1", "thing_path has no type"),
    (role_rules.options_are_described, SPEC, "        no_log: true\n", "", "is a secret without no_log"),
    (
        role_rules.used_variables_are_in_the_spec,
        ROLE,
        "",
        "\n- name: x\n  x.y.z: '{{ thing_q }}'\n",
        "thing_q is not in",
    ),
    (
        role_rules.used_variables_are_in_the_spec,
        ROLE,
        "",
        "\n- name: x\n  x.y.z: {}\n  when: thing_q\n",
        "thing_q is not in",
    ),
    (
        role_rules.used_variables_are_in_the_spec,
        "roles/thing/templates/a.j2",
        None,
        "{{ thing_q }}",
        "thing_q is not in",
    ),
    (
        role_rules.cluster_variables_are_defined,
        CHECKED,
        "any_errors",
        "vars: {a: '{{ rspm_q }}'}\n  any_errors",
        "rspm_q is not",
    ),
    (
        role_rules.cluster_variables_are_defined,
        ROLE,
        "",
        "\n- name: x\n  x.y.z: {}\n  when: rspm_q\n",
        "rspm_q is not in",
    ),
    (role_rules.cluster_variables_are_defined, "roles/thing/templates/a.j2", None, "{{ rspm_q }}", "rspm_q is not in"),
    (role_rules.roles_say_what_they_are, SPEC, "C(rspm_folder)", "a folder", "names no variable of roles/rspm"),
    (role_rules.roles_say_what_they_are, SPEC, ", Internal.", "", "does not say whether the role is internal"),
    (role_rules.roles_say_what_they_are, SPEC, 'examples: "', 'author: "', "has no examples"),
    (role_rules.roles_say_what_they_are, SPEC, None, "argument_specs: {}\n", "has no examples"),
    (role_rules.made_pages_are_fresh, "docs/variables.md", "/srv", "/opt", "docs/variables.md: not what"),
    (role_rules.made_pages_are_fresh, "roles/thing/README.md", "A folder", "The folder", "roles/thing/README.md: not"),
    (role_rules.made_pages_are_fresh, CLUSTER_SPEC, "Where.", "Where it is.", "docs/variables.md: not what"),
    (role_rules.made_pages_are_fresh, SPEC, "It is below", "Below", "type `make docs`"),
    (room_rules.every_file_has_a_room, "plugins/module_utils/_open.py", None, "\n", "belongs into a package"),
    (room_rules.every_file_has_a_room, "plugins/plugin_utils/open/rules.py", None, "\n", "belongs into a package"),
    (room_rules.every_file_has_a_room, "plugins/module_utils/_disk/__init__.py", None, "\n", "belongs into a package"),
    (room_rules.decisions_are_pure, DECIDE, "", "import subprocess\n", "imports subprocess"),
    (room_rules.decisions_are_pure, DECIDE, "", "def f():\n    from os import path\n", "imports os.path"),
    (room_rules.decisions_are_pure, DECIDE, "", "from ansible.module_utils import basic\n", "imports ansible"),
    (room_rules.decisions_are_pure, DECIDE, "", "from pathlib import Path\n", "imports pathlib.Path"),
    (room_rules.decisions_are_pure, DECIDE, "", "from plugins.module_utils._disk.host import x\n", "which acts"),
    (room_rules.decisions_are_pure, DECIDE, "", "from plugins.module_utils._disk import host\n", "which acts"),
    (room_rules.decisions_are_pure, "plugins/plugin_utils/_plan/rules.py", "", "import os\n", "imports os"),
    (room_rules.decisions_are_pure, "plugins/plugin_utils/_plan/read.py", None, "import os\n", None),
    (
        room_rules.what_travels_knows_nothing_that_stays,
        DECIDE,
        "",
        "from plugins.plugin_utils._plan import rules\n",
        "which does not",
    ),
    (
        room_rules.what_travels_knows_nothing_that_stays,
        "plugins/modules/thing.py",
        "",
        "from plugins.plugin_utils._plan.rules import x\n",
        "which does not",
    ),
    (
        room_rules.rooms_form_no_circle,
        DECIDE,
        "",
        "from plugins.plugin_utils._plan import rules\n",
        "need each other",
    ),
    (room_rules.decisions_are_pure, DECIDE, "", "x = open('/etc/passwd')\n", "calls open()"),
    (room_rules.decisions_are_pure, DECIDE, "", "x = datetime.now()\n", "asks the clock"),
    (
        module_rules.modules_are_documented,
        MODULE,
        "  idempotent: {support: full, description: x}\n",
        "",
        "attribute idempotent",
    ),
    (module_rules.modules_are_documented, MODULE, ", sample: 3", "", "size.used has no sample"),
    (module_rules.modules_are_documented, MODULE, ", type: int", "", "size.used has no type"),
    (module_rules.modules_are_documented, MODULE, "version_added: 1.0.0\n", "", "no version_added"),
    (module_rules.modules_are_documented, MODULE, ", supports_check_mode=True", "", "supports_check_mode"),
    (module_rules.modules_are_documented, MODULE, 'RETURN = r"""', 'OTHER = r"""', "no RETURN"),
    (module_rules.examples_fit_the_options, MODULE, "    path: /srv/thing\n", "", "lacks the required path"),
    (module_rules.examples_fit_the_options, MODULE, "    token:", "    tokenn:", "has no option tokenn"),
    (module_rules.examples_fit_the_options, MODULE, "- name: Make the thing", "- name: [", "not a list of tasks"),
    (module_rules.examples_fit_the_options, MODULE, "rspm.ha.thing:", "rspm.ha.other:", "no example uses"),
    (module_rules.secret_parameters_are_not_logged, MODULE, ', "no_log": True', "", "api_token needs no_log"),
    (module_rules.secret_parameters_are_not_logged, MODULE, "", "x = dict(key=dict(type='str'))\n", "key needs no_log"),
    (text_rules.files_are_short, "plugins/x.py", None, "x = 1\n" * 400, "400 lines"),
    (text_rules.files_are_short, "tests/run", None, "#!/bin/sh\n" * 401, "401 lines"),
    (text_rules.nothing_names_one_machine, "README.md", None, "see /wo" + "rk/shared\n", "README.md:1"),
    (text_rules.nothing_names_one_machine, "docs/a.md", None, "\nhttp://203.0." + "113.5/\n", "docs/a.md:2"),
    (text_rules.certificates_are_checked, ROLE, "", "  validate_certs: false\n", "validate_certs: false"),
    (text_rules.certificates_are_checked, "tests/get.sh", None, "curl -sk https://x\n", "tests/get.sh:1"),
    (text_rules.certificates_are_checked, DECIDE, "", "context.verify_mode = ssl.CERT_NONE\n", "CERT_NONE"),
    (text_rules.certificates_are_checked, DECIDE, "", "# what this sslmode means\nx = ssl.CERT_NONE\n", None),
    (text_rules.links_lead_somewhere, "docs/a.md", None, "see [b](../b.md#c)\n", "../b.md is not there"),
    (text_rules.links_lead_somewhere, "docs/a.md", None, "[b](../galaxy.yml) [c](https://x.y/z) [d](#e)\n", None),
    (text_rules.requirements_agree_with_galaxy, "galaxy.yml", ">=1", ">=2", "a.b: galaxy.yml says >=2"),
    (text_rules.nothing_is_skipped, ".ansible-lint", None, "skip_list: [x]\n", "skip_list"),
    (text_rules.nothing_is_skipped, "tests/sanity/ignore-2.19.txt", None, "x\n", "no list of what to ignore"),
    (word_rules.names_begin_with_a_verb, ROLE, "Make the thing", "The thing is there", "'The thing is there' does not"),
    (word_rules.names_begin_with_a_verb, SITE, "Check what was typed", "What was typed", "site.yml:2: 'What was"),
    (word_rules.names_begin_with_a_verb, SITE, "- name: Run more", "- name: More", "'More' does not"),
    (word_rules.names_begin_with_a_verb, MODULE, "Make the thing", "Thing", "thing.py: 'Thing' does not"),
    (word_rules.one_thing_has_one_word, DECIDE, "", "def unmask_node(): ...\n", "unmask_node: write block"),
    (word_rules.one_thing_has_one_word, DECIDE, "", "seen = 1\n", "seen: write observed"),
    (word_rules.one_thing_has_one_word, DECIDE, "", "umask = masked = create_home = 1\n", None),
    (word_rules.one_thing_has_one_word, DECIDE, "", "# the workshop of this run\n", "workshop: not one of our words"),
    (word_rules.one_thing_has_one_word, ROLE, "Make the thing", "Make the thing half-done", "half-done: not one of"),
    (word_rules.one_thing_has_one_word, VARS, "", "thing_home: here\n", "thing_home: write controller"),
    (text_rules.nothing_is_skipped, ROLE, "- name: Make the thing", "- name: x  # noqa name", "noqa"),
]


def plant(root: Path, changes: dict[str, str]) -> None:
    for name, text in {**clean_tree.CLEAN, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_finds_nothing_in_a_clean_tree(rule: Rule, tmp_path: Path) -> None:
    plant(tmp_path, {})
    assert rule(tmp_path) == []


@pytest.mark.parametrize(
    ("rule", "name", "old", "new", "says"),
    PLANTED,
    ids=[f"{row[0].__name__}-{number}" for number, row in enumerate(PLANTED)],
)
def test_finds_what_was_planted(
    rule: Rule, name: str, old: str | None, new: str, says: str | None, tmp_path: Path
) -> None:
    text = clean_tree.CLEAN.get(name, "")
    assert not old or old in text, "the row plants nothing"
    plant(tmp_path, {name: new if old is None else text + new if old == "" else text.replace(old, new, 1)})
    found = rule(tmp_path)
    if says is None:
        assert found == []
    else:
        assert any(says in line for line in found), found


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, *_rest, says in PLANTED if says} == set(RULES)


def test_secret_reaches_a_task_through_a_template_and_through_another_variable(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            ROLE: clean_tree.TASKS + SECRET_TEMPLATE + DERIVED,
            VARS: clean_tree.CLEAN[VARS] + 'thing_line: "x={{ thing_password }}"\n',
            "roles/thing/templates/s.j2": "{{ thing_password }}\n",
        },
    )
    found = " ".join(task_rules.secrets_are_not_logged(tmp_path))
    assert "thing_password is used" in found
    assert "thing_line is used" in found
