# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about plays and tasks that ansible-lint does not have; that each has a name, its rule `name` sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.rules import tree

# Set by Ansible or by the inventory, not gathered from the host.
NOT_FACTS = re.compile(
    r"ansible_(?:facts|host|port|user|password|connection|check_mode|diff_mode|version|verbosity|forks|limit|local_tmp"
    r"|config_file|inventory_sources|run_tags|skip_tags|collection_name|role_name|dependent_role_names|index_var"
    r"|managed|failed_task|failed_result|search_path|python_interpreter|remote_tmp|async_dir|(?:play|ssh|become|parent|loop|shell)\w*)"
)
COMMANDS = {"command", "shell", "raw", "script", "expect"}
# What other hosts are or hold.
OTHER_HOSTS = {"hostvars", "groups", "play_hosts", "ansible_play_hosts", "ansible_play_hosts_all", "ansible_play_batch"}

# What is given to these modules in these options is never printed, since their specs say no_log of the secret in it, as
# tests/unit/action/test_secrets.py shows. So their failures can be.
HIDING = {
    "rspm.ha.database_copy": ("source", "target"),
    "rspm.ha.database_login": ("database",),
    "rspm.ha.database_sessions": ("password",),
    "rspm.ha.node_licence": ("key", "content"),
    "rspm.ha.node_migrate": ("source", "target", "configuration"),
    "rspm.ha.node_stop": ("database",),
    "rspm.ha.node_upgrade": ("database",),
    "rspm.ha.restore_point": ("database",),
    "rspm.ha.server_config": ("encryption_key", "database", "config"),
}


def nothing_ignores_errors(root: Path) -> list[str]:
    """Return every ignore_errors, whatever its value."""
    found = []
    for path in tree.matching(root, "**/*.yml", "**/*.yaml"):
        for number, line in enumerate(tree.read(path).splitlines(), 1):
            if re.match(r"\s*(?:- )?ignore_errors\s*:", line):
                found.append(f"{tree.where(root, path, number)}: ignore_errors: a failure stops the run")
    return found


def failed_when_false_says_why(root: Path) -> list[str]:
    """Return each `failed_when: false` without a comment of at least three words on the line above it."""
    found = []
    for task in tree.tasks(root):
        value = task.data.get("failed_when")
        if value is False or str(value).lower() == "false" or (isinstance(value, list) and False in value):
            line = task.data.key_lines["failed_when"]
            above = tree.read(task.path).splitlines()[line - 2].strip()
            if not (above.startswith("#") and len(above.lstrip("# ").split()) >= 3):
                found.append(
                    f"{tree.where(root, task.path, line)}: failed_when: false, and no comment above it says why"
                )
    return found


def every_play_stops_the_run(root: Path) -> list[str]:
    """Return the plays that do not set any_errors_fatal: true."""
    return [
        f"{tree.where(root, path, play.line)}: a play without any_errors_fatal: true"
        for path in tree.matching(root, "playbooks/**/*.yml", "extensions/**/*.yml")
        for play in tree.plays(root, path)
        if play.get("any_errors_fatal") is not True
    ]


def every_play_keeps_the_order(root: Path) -> list[str]:
    """Return the plays that do not pin strategy: linear, which an ansible.cfg could change otherwise."""
    return [
        f"{tree.where(root, path, play.line)}: a play without strategy: linear"
        for path in tree.matching(root, "playbooks/**/*.yml")
        for play in tree.plays(root, path)
        if play.get("strategy") != "linear"
    ]


def groups_may_be_absent(root: Path) -> list[str]:
    """Return the plays that name a group that a team may leave out, which host_pattern_mismatch=error would refuse."""
    optional = re.compile(r"rspm_(?:database|nfs_server|load_balancer)")
    return [
        f"{tree.where(root, path, play.line)}: write hosts as \"{{{{ ['rspm_...'] | select('in', groups) | list }}}}\""
        for path in tree.matching(root, "playbooks/**/*.yml")
        for play in tree.plays(root, path)
        if optional.search(str(play["hosts"])) and "select('in', groups)" not in str(play["hosts"])
    ]


def every_verb_checks_first(root: Path) -> list[str]:
    """Return the playbooks that begin neither with the check of what was typed nor with another verb, and that check
    where it does not do just that.
    """
    found = []
    for path in tree.matching(root, "playbooks/*.yml"):
        first = (tree.load(path) or [{}])[0]
        imported = str(first.get("ansible.builtin.import_playbook"))
        checked = imported == "parts/check.yml" and (first.get("vars") or {}).get("check_verb") == path.stem
        if not checked and not ("/" not in imported and (path.parent / imported).is_file()):
            found.append(f"{tree.where(root, path)}: does not begin with parts/check.yml for this verb")
    path = root / "playbooks" / "parts" / "check.yml"
    plays = tree.load(path)
    given = [task.get("rspm.ha.variables_check") for play in plays for task in play["tasks"]]
    if given != [{"verb": "{{ check_verb }}"}] or "rspm.ha.check_hosts" not in str(plays[0]["hosts"]):
        found.append(f"{tree.where(root, path)}: does more or less than rspm.ha.variables_check for the verb")
    return found


def every_play_keeps_ssh_alive(root: Path) -> list[str]:
    """Return the plays, but that of the check before all, whose ssh would wait for hours for a host that is gone."""
    return [
        f"{tree.where(root, path, play.line)}: a play without ansible_ssh_args of rspm.ha.ssh_args"
        for path in tree.matching(root, "playbooks/**/*.yml")
        for play in tree.plays(root, path)
        if "ansible.builtin.import_playbook" not in play and "rspm.ha.check_hosts" not in str(play.get("hosts"))
        if "rspm.ha.ssh_args" not in str((play.get("vars") or {}).get("ansible_ssh_args"))
    ]


def becoming_is_a_variable(root: Path) -> list[str]:
    """Return each become as a keyword, which loses to the inventory's ansible_become, and tasks of the controller that
    do not set the variable.
    """
    found = []
    for path, data in ((task.path, task.data) for task in tree.tasks(root)):
        if path.relative_to(root).parts[0] not in ("roles", "playbooks"):
            continue
        for word in ("become", "become_user", "become_method"):
            if word in data:
                line = data.key_lines[word]
                found.append(f"{tree.where(root, path, line)}: {word} is a keyword; use vars: ansible_{word}")
        local = data.get("delegate_to") == "localhost" or data.get("connection") == "local"
        if local and (data.get("vars") or {}).get("ansible_become") is not False:
            found.append(f"{tree.where(root, path, data.line)}: runs on the controller without ansible_become: false")
    for path in tree.matching(root, "playbooks/**/*.yml"):
        found += [
            f"{tree.where(root, path, play.line)}: become is a keyword; use vars: ansible_become"
            for play in tree.plays(root, path)
            if "become" in play or "become_user" in play
        ]
    return found


def _derived_secrets(root: Path, folder: Path) -> set[str]:
    """Return the variables of a role that hold a secret by their name or because their value is made of one."""
    values: dict[str, Any] = {}
    for path in tree.matching(root, f"{folder.relative_to(root).as_posix()}/**/*.yml"):
        if {"defaults", "vars"} & set(path.relative_to(folder).parts):
            values.update(tree.load(path) or {})
    secret: set[str] = {name for name in values if tree.is_secret(name)}
    while True:
        more = {
            name
            for name, value in values.items()
            if name not in secret and not tree.NO_SECRET.search(name)
            if any(tree.is_secret(used) or used in secret for used in tree.names_in(value))
        }
        if not more:
            return secret
        secret |= more


def secrets_are_not_logged(root: Path) -> list[str]:
    """Return the tasks that use a secret, or a template that does, that neither no_log nor the module's spec hides."""
    found = []
    for task in tree.tasks(root):
        action = task.action.rpartition(".")[2]
        # What these are given is not printed; the tasks inside are looked at by themselves.
        if task.no_log or task.is_block or action.startswith(("include_", "import_")):
            continue
        derived: set[str] = set()
        role = next((parent for parent in task.path.parents if parent.parent.name == "roles"), None)
        if role:
            derived = _derived_secrets(root, role)
        shown = {key: value for key, value in task.data.items() if key not in tree.CONDITIONS}
        if task.action in HIDING:
            given = task.data[task.action]
            shown[task.action] = {key: value for key, value in given.items() if key not in HIDING[task.action]}
        used = tree.names_in(shown)
        source = str((task.data.get(task.action) or {}).get("src", "")) if action == "template" else ""
        if role and source and (role / "templates" / source).is_file():
            used |= tree.names(tree.expressions(tree.read(role / "templates" / source)))
        for name in sorted(name for name in used if tree.is_secret(name) or name in derived):
            found.append(f"{tree.where(root, task.path, task.data.line)}: {name} is used without no_log: true")
    return found


def facts_are_not_injected(root: Path) -> list[str]:
    """Return the facts that are read as variables (ansible_hostname) in place of ansible_facts['hostname']."""
    used = [(task.path, task.data.line, tree.task_names(task)) for task in tree.tasks(root)]
    for path in tree.matching(root, "roles/**/*.j2", "playbooks/**/*.j2", "extensions/**/*.j2"):
        used.append((path, 1, tree.names(tree.expressions(tree.read(path)))))
    for path in tree.matching(
        root, "roles/*/defaults/*.yml", "roles/*/vars/*.yml", "playbooks/**/*.yml", "extensions/**/*.yml"
    ):
        used.append((path, 1, tree.names_in(tree.load(path))))
    return sorted(
        {
            f"{tree.where(root, path, line)}: {name}: write ansible_facts['{name[len('ansible_') :]}']"
            for path, line, all_names in used
            for name in all_names
            if name.startswith("ansible_") and not NOT_FACTS.fullmatch(name)
        }
    )


def playbooks_run_no_commands(root: Path) -> list[str]:
    """Return the tasks of playbooks that run a command: that is a role's or a module's work."""
    return [
        f"{tree.where(root, task.path, task.data.line)}: {task.action} in a playbook"
        for task in tree.tasks(root, "playbooks/**/*.yml")
        if task.action.rpartition(".")[2] in COMMANDS
    ]


def roles_know_one_host(root: Path) -> list[str]:
    """Return where a role's tasks or templates look at other hosts; only its vars may."""
    found = []
    for task in tree.tasks(root, "roles/**/tasks/**/*.yml", "roles/**/handlers/**/*.yml"):
        for name in sorted(tree.task_names(task) & OTHER_HOSTS):
            found.append(f"{tree.where(root, task.path, task.data.line)}: {name} in a role: it takes that from vars/")
    for path in tree.matching(root, "roles/*/templates/**/*"):
        for name in sorted(tree.names(tree.expressions(tree.read(path))) & OTHER_HOSTS):
            found.append(f"{tree.where(root, path)}: {name} in a role: it takes that from vars/")
    return found


def failures_are_text(root: Path) -> list[str]:
    """Return the tasks that fail with a list, which Ansible prints as JSON below the error."""
    found = []
    for task in tree.tasks(root, "roles/**/*.yml", "playbooks/**/*.yml"):
        given = task.data.get(task.action)
        message = str(given.get("msg", given.get("fail_msg", ""))) if isinstance(given, dict) else ""
        expressions = re.findall(r"{{(.*?)}}", message, re.S)
        if any(re.search(r"problems\b", each) and "join(" not in each for each in expressions):
            found.append(f"{tree.where(root, task.path, task.data.line)}: a list of problems as a message: join it")
    return found


RULES = [
    nothing_ignores_errors,
    failed_when_false_says_why,
    failures_are_text,
    every_play_stops_the_run,
    every_play_keeps_the_order,
    every_play_keeps_ssh_alive,
    becoming_is_a_variable,
    groups_may_be_absent,
    every_verb_checks_first,
    secrets_are_not_logged,
    facts_are_not_injected,
    playbooks_run_no_commands,
    roles_know_one_host,
]
