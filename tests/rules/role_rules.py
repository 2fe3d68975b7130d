# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about roles: what they take, what they say of it, and where it is written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rules import tree

NEEDED = ("defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml")


def roles(root: Path) -> list[Path]:
    """Return the folders of all roles."""
    return sorted({root / "roles" / path.relative_to(root).parts[1] for path in tree.matching(root, "roles/*/**/*")})


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of each of the role's entry points: `main`, and what tasks_from may name."""
    path = role / "meta" / "argument_specs.yml"
    content = (tree.load(path) if path.is_file() else {}) or {}
    return {name: (entry or {}).get("options") or {} for name, entry in (content.get("argument_specs") or {}).items()}


def options(role: Path) -> dict[str, Any]:
    """Return the options of the main entry point, which are those that defaults/main.yml speaks of."""
    return entry_points(role).get("main", {})


def defaults(role: Path) -> dict[str, Any]:
    """Return the role's defaults."""
    path = role / "defaults" / "main.yml"
    return (tree.load(path) if path.is_file() else {}) or {}


def every_role_is_whole(root: Path) -> list[str]:
    """Return the files that a role lacks."""
    return [f"roles/{role.name}: no {name}" for role in roles(root) for name in NEEDED if not (role / name).is_file()]


def specs_and_defaults_agree(root: Path) -> list[str]:
    """Return where argument_specs and defaults say different things."""
    found = []
    for role in roles(root):
        spec, values = options(role), defaults(role)
        here = f"roles/{role.name}"
        for name in sorted(set(spec) | set(values)):
            required = bool((spec.get(name) or {}).get("required"))
            if not name.startswith(f"{role.name}_"):
                found.append(f"{here}: {name} does not start with {role.name}_")
            if name not in spec:
                found.append(f"{here}: {name} has a default but is not in argument_specs")
            elif required and (name in values or "default" in spec[name]):
                found.append(f"{here}: {name} is required and has a default")
            elif name not in values and not required:
                found.append(f"{here}: {name} is in argument_specs, not required, and has no default")
            elif not required and "default" not in spec[name]:
                found.append(f"{here}: {name} has a default that argument_specs does not say")
            elif not required and not _same(spec[name]["default"], values[name]):
                found.append(
                    f"{here}: {name}: argument_specs says {spec[name]['default']!r}, defaults says {values[name]!r}"
                )
    return found


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


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


def cluster_variables_are_documented(root: Path) -> list[str]:
    """Return the rspm_* variables that roles or playbooks read and docs/variables.md does not name."""
    page = root / "docs" / "variables.md"
    text = tree.read(page) if page.is_file() else ""
    made = _made_in(root, "roles/**/*.yml", "playbooks/**/*.yml")
    used: dict[str, str] = {}
    for path in tree.matching(root, "roles/*/defaults/*.yml", "roles/*/vars/*.yml", "playbooks/**/*.yml"):
        used.update(dict.fromkeys(tree.names_in(tree.load(path)), tree.where(root, path)))
    for task in tree.tasks(root, "roles/**/tasks/**/*.yml", "playbooks/**/*.yml"):
        used.update(dict.fromkeys(tree.task_names(task), tree.where(root, task.path, task.data.line)))
    return [
        f"{where}: {name} is not described in docs/variables.md"
        for name, where in sorted(used.items())
        if name.startswith("rspm_") and name not in made and f"`{name}`" not in text
    ]


RULES = [
    every_role_is_whole,
    specs_and_defaults_agree,
    options_are_described,
    used_variables_are_in_the_spec,
    cluster_variables_are_documented,
]
