# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about roles: what they take, what they say of it, and where it is written down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rules import tree
from tests.tools import made_pages
from tests.tools.made_pages import CLUSTER, VARIABLES

NEEDED = ("meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml")
# What the description of each role says of who uses it.
USE = re.compile(r"(Internal|For (plays|roles) of your own)\b")


def roles(root: Path) -> list[Path]:
    """Return the folders of all roles."""
    return sorted({root / "roles" / path.relative_to(root).parts[1] for path in tree.matching(root, "roles/*/**/*")})


def _entries(role: Path) -> dict[str, dict[str, Any]]:
    path = role / "meta" / "argument_specs.yml"
    content = (tree.load(path) if path.is_file() else {}) or {}
    return {name: entry or {} for name, entry in (content.get("argument_specs") or {}).items()}


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of each of the role's entry points: `main`, and what tasks_from may name."""
    return {name: entry.get("options") or {} for name, entry in _entries(role).items()}


def _values(role: Path, folder: str) -> dict[str, Any]:
    path = role / folder / "main.yml"
    return (tree.load(path) if path.is_file() else {}) or {}


def every_role_is_whole(root: Path) -> list[str]:
    """Return the files that a role lacks."""
    return [f"roles/{role.name}: no {name}" for role in roles(root) for name in NEEDED if not (role / name).is_file()]


def variables_are_in_one_place(root: Path) -> list[str]:
    """Return the roles beside roles/rspm that have defaults of their own, or that do without its variables."""
    found = []
    for role in roles(root):
        if role.name == CLUSTER:
            continue
        found += [
            f"{tree.where(root, path)}: what a team sets is in roles/{CLUSTER}, what is internal in vars/"
            for path in tree.matching(root, f"roles/{role.name}/defaults/**/*")
        ]
        needed = (_values(role, "meta")).get("dependencies") or []
        if not any(isinstance(each, dict) and each.get("role") == f"rspm.ha.{CLUSTER}" for each in needed):
            found.append(f"roles/{role.name}/meta/main.yml: rspm.ha.{CLUSTER} is no dependency")
    return found


def specs_and_defaults_agree(root: Path) -> list[str]:
    """Return where roles/rspm says different things of a variable in argument_specs and defaults."""
    role, here = root / "roles" / CLUSTER, f"roles/{CLUSTER}"
    spec, values = entry_points(role).get(VARIABLES, {}), _values(role, "defaults")
    found = []
    for name in sorted(set(spec) | set(values)):
        said = (spec.get(name) or {}).get("default")
        if not name.startswith(f"{CLUSTER}_"):
            found.append(f"{here}: {name} does not start with {CLUSTER}_")
        if name not in spec:
            found.append(f"{here}: {name} has a default but is not in argument_specs")
        elif name not in values:
            found.append(f"{here}: {name} is in argument_specs and has no default")
        elif _has_jinja(values[name]):
            if "default" in spec[name]:
                found.append(f"{here}: {name} has a default that follows from others; argument_specs can't say it")
        elif "default" not in spec[name]:
            found.append(f"{here}: {name} has a default that argument_specs does not say")
        elif not _same(said, values[name]):
            found.append(f"{here}: {name}: argument_specs says {said!r}, defaults says {values[name]!r}")
    return found


def _has_jinja(value: Any) -> bool:
    return any("{{" in text or "{%" in text for text in tree.strings(value))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def parameters_are_whole(root: Path) -> list[str]:
    """Return what is wrong with the options of the other roles, which playbooks and roles pass to them."""
    found = []
    for role in roles(root):
        for entry, spec in entry_points(role).items() if role.name != CLUSTER else ():
            if not spec and (role / "tasks" / f"{entry}.yml").is_file():
                found.append(
                    f"roles/{role.name}: {entry} has no options, and Ansible would run a task on each host for it"
                )
            for name, option in spec.items():
                here = f"roles/{role.name}: {name}"
                if not name.startswith(f"{role.name}_"):
                    found.append(f"{here} does not start with {role.name}_")
                if "default" in option:
                    found.append(f"{here} has a default in argument_specs, which vars/ holds")
                if entry == "main" and bool(option.get("required")) == (name in _values(role, "vars")):
                    found.append(f"{here} is either required or has a value in vars/")
    return found


def no_spec_has_jinja(root: Path) -> list[str]:
    """Return the defaults in argument_specs with Jinja: Ansible prints what comes of it when any option is wrong."""
    return [
        f"roles/{role.name}: the default of {name} has Jinja, which would be printed with the secrets in it"
        for role in roles(root)
        for entry in entry_points(role).values()
        for name, option in _all_options(entry)
        if _has_jinja(option.get("default"))
    ]


def _all_options(spec: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in spec.items():
        option = option or {}
        yield f"{prefix}{name}", option
        yield from _all_options(option.get("options") or {}, f"{prefix}{name}.")


def options_are_described(root: Path) -> list[str]:
    """Return the options without description or type, and secrets that a report of bad arguments would print."""
    found = []
    for role in roles(root):
        every = (pair for entry in entry_points(role).values() for pair in _all_options(entry))
        for name, option in every:
            for key in ("description", "type"):
                if not option.get(key):
                    found.append(f"roles/{role.name}: option {name} has no {key}")
            if tree.is_secret(name.rpartition(".")[2]) and option.get("no_log") is not True:
                found.append(f"roles/{role.name}: option {name} is a secret without no_log: true")
    return found


def _made_in(root: Path, *patterns: str) -> set[str]:
    """Return the names that tasks register, set or loop with."""
    made: set[str] = set()
    for task in tree.tasks(root, *patterns):
        made.add(task.data.get("register", ""))
        made.update(task.data.get("vars") or {})
        made.add((task.data.get("loop_control") or {}).get("loop_var", ""))
        made.add((task.data.get("loop_control") or {}).get("index_var", ""))
        if task.action.rpartition(".")[2] == "set_fact":
            made.update(task.data.get(task.action) or {})
    return made


def used_variables_are_in_the_spec(root: Path) -> list[str]:
    """Return the variables with a role's prefix that it uses and that its argument_specs does not know."""
    found = []
    for role in roles(root):
        place = f"roles/{role.name}"
        known = {name for entry in entry_points(role).values() for name in entry} | _made_in(root, f"{place}/**/*.yml")
        used: dict[str, str] = {}
        for path in tree.matching(root, f"{place}/vars/**/*.yml"):
            known.update(tree.load(path) or {})
            used.update(dict.fromkeys(tree.names_in(tree.load(path)), tree.where(root, path)))
        for task in tree.tasks(root, f"{place}/tasks/**/*.yml", f"{place}/handlers/**/*.yml"):
            used.update(dict.fromkeys(tree.task_names(task), tree.where(root, task.path, task.data.line)))
        for path in tree.matching(root, f"{place}/templates/**/*"):
            text = tree.read(path)
            known.update(_set_in_template(text))
            used.update(dict.fromkeys(tree.names(tree.expressions(text)), tree.where(root, path)))
        found += [
            f"{where}: {name} is not in {place}/meta/argument_specs.yml"
            for name, where in sorted(used.items())
            if name.startswith(f"{role.name}_") and name not in known
        ]
    return found


def _set_in_template(text: str) -> set[str]:
    made: set[str] = set()
    for expression in tree.expressions(text):
        words = expression.strip(" -+").replace(",", " ").split()
        if words[:1] == ["set"]:
            made.add(words[1])
        elif words[:1] == ["for"]:
            made.update(words[1 : words.index("in")] if "in" in words else [])
        elif words[:1] == ["macro"]:
            made.update(word.strip("()") for word in words[1:])
    return made


def cluster_variables_are_defined(root: Path) -> list[str]:
    """Return the rspm_* variables that roles or playbooks read and roles/rspm does not define."""
    known = set(entry_points(root / "roles" / CLUSTER).get(VARIABLES, {}))
    made = _made_in(root, "roles/**/*.yml", "playbooks/**/*.yml")
    used: dict[str, str] = {}
    for path in tree.matching(root, "roles/*/defaults/*.yml", "roles/*/vars/*.yml", "playbooks/**/*.yml"):
        used.update(dict.fromkeys(tree.names_in(tree.load(path)), tree.where(root, path)))
    for path in tree.matching(root, "roles/*/templates/**/*"):
        used.update(dict.fromkeys(tree.names(tree.expressions(tree.read(path))), tree.where(root, path)))
    for task in tree.tasks(root, "roles/**/tasks/**/*.yml", "playbooks/**/*.yml"):
        used.update(dict.fromkeys(tree.task_names(task), tree.where(root, task.path, task.data.line)))
    return [
        f"{where}: {name} is not in roles/{CLUSTER}/meta/argument_specs.yml"
        for name, where in sorted(used.items())
        if name.startswith(f"{CLUSTER}_") and name not in made | known
    ]


def roles_say_what_they_are(root: Path) -> list[str]:
    """Return what the README of a role would lack: variables that matter, who uses the role, an example."""
    found = []
    for role in roles(root):
        entry = next(iter(_entries(role).values()), {})
        here, described = f"roles/{role.name}/meta/argument_specs.yml", entry.get("description") or []
        if not made_pages.NAMED.search(" ".join(described)):
            found.append(f"{here}: the first description names no variable of roles/{CLUSTER} that matters")
        if not any(USE.match(paragraph) for paragraph in described):
            found.append(f"{here}: the first description does not say whether the role is internal")
        if not entry.get("examples"):
            found.append(f"{here}: the first entry point has no examples")
    return found


def made_pages_are_fresh(root: Path) -> list[str]:
    """Return the pages that are not what the argument specs say."""
    return [
        f"{path}: not what the argument specs say: type `make docs`"
        for path, content in made_pages.pages(root).items()
        if not (root / path).is_file() or tree.read(root / path) != content
    ]


RULES = [
    every_role_is_whole,
    variables_are_in_one_place,
    specs_and_defaults_agree,
    parameters_are_whole,
    no_spec_has_jinja,
    options_are_described,
    used_variables_are_in_the_spec,
    cluster_variables_are_defined,
    roles_say_what_they_are,
    made_pages_are_fresh,
]
