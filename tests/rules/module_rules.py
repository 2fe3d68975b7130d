# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about modules: their documentation, examples and secrets."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.rules import tree

ATTRIBUTES = ("check_mode", "diff_mode", "idempotent")


def constants(path: Path) -> dict[str, str]:
    """Return the module-level string constants."""
    return {
        target.id: node.value.value
        for node in tree.parse(path).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _documentation(root: Path, path: Path) -> dict[str, Any]:
    """Return a module's documentation with the collection's own fragments merged in."""
    made = _yaml(constants(path).get("DOCUMENTATION", "")) or {}
    for fragment in made.get("extends_documentation_fragment") or []:
        file = root / "plugins" / "doc_fragments" / f"{fragment.split('.')[2]}.py" if fragment.count(".") >= 2 else None
        if file and fragment.startswith("rspm.ha.") and file.is_file():
            wanted = (fragment.split(".")[3:] or ["documentation"])[0].upper()
            shared = _yaml(getattr(runpy.run_path(str(file))["ModuleDocFragment"], wanted)) or {}
            for key in ("options", "attributes"):
                own = made.get(key) or {}
                both = {name: {**told, **own.get(name, {})} for name, told in (shared.get(key) or {}).items()}
                made[key] = {**own, **both}
    return made


def modules_are_documented(root: Path) -> list[str]:
    """Return what a module's DOCUMENTATION, EXAMPLES and RETURN lack."""
    found = []
    for path in tree.matching(root, "plugins/modules/*.py"):
        here, texts, documentation = tree.where(root, path), constants(path), _documentation(root, path)
        found += [f"{here}: no {name}" for name in ("DOCUMENTATION", "EXAMPLES", "RETURN") if not texts.get(name)]
        for name in ATTRIBUTES:
            attribute = (documentation.get("attributes") or {}).get(name) or {}
            if not (attribute.get("support") and attribute.get("description")):
                found.append(f"{here}: attribute {name} needs support and description")
        found += [
            f"{here}: no {key} in DOCUMENTATION" for key in ("version_added", "author") if not documentation.get(key)
        ]
        # a module of which only the action runs has no call
        action = root / "plugins" / "action" / path.name
        said = tree.read(path) + (tree.read(action) if action.is_file() else "")
        if "supports_check_mode=True" not in said.replace(" ", "") and "(ControllerAction)" not in said:
            found.append(f"{here}: no supports_check_mode=True")
        found += [f"{here}: {text}" for text in _return_gaps(_yaml(texts.get("RETURN", "")) or {})]
    return found


def _return_gaps(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        for key in ("description", "type") + (("returned",) if not prefix else ()):
            if not value.get(key):
                yield f"RETURN {prefix}{name} has no {key}"
        if value.get("contains"):
            yield from _return_gaps(value["contains"], f"{prefix}{name}.")
        elif "sample" not in value:
            yield f"RETURN {prefix}{name} has no sample"


def examples_fit_the_options(root: Path) -> list[str]:
    """Return the examples that are not tasks, or that give a module an option that it does not have or lack one."""
    documented = {path.stem: _documentation(root, path) for path in tree.matching(root, "plugins/modules/*.py")}
    found = []
    for path in tree.matching(root, "plugins/modules/*.py"):
        here = tree.where(root, path)
        examples = _yaml(constants(path).get("EXAMPLES", ""))
        if not isinstance(examples, list) or not all(isinstance(example, dict) for example in examples):
            found.append(f"{here}: EXAMPLES is not a list of tasks")
            continue
        flat = [task for example in examples for task in (example.get("tasks") or [example])]
        found += [f"{here}: an example without a name" for task in flat if not task.get("name")]
        if not any(f"rspm.ha.{path.stem}" in task for task in flat):
            found.append(f"{here}: no example uses rspm.ha.{path.stem}")
        for task in flat:
            for action in [key for key in task if key.startswith("rspm.ha.")]:
                name, given = action.rpartition(".")[2], task[action] or {}
                known = documented.get(name, {}).get("options") or {}
                aliases = {alias: key for key, option in known.items() for alias in option.get("aliases") or []}
                if name not in documented:
                    found.append(f"{here}: an example uses {action}, which there is not")
                    continue
                found += [f"{here}: {action} has no option {key}" for key in given if key not in {**known, **aliases}]
                lacking = {k for k, option in known.items() if option.get("required")} - {
                    aliases.get(k, k) for k in given
                }
                found += [f"{here}: an example of {action} lacks the required {key}" for key in sorted(lacking)]
    return found


def secret_parameters_are_not_logged(root: Path) -> list[str]:
    """Return the parameters of modules that look like a secret and do not say whether they are one."""
    found = []
    for path in tree.matching(root, "plugins/modules/*.py", "plugins/module_utils/**/*.py"):
        for node in ast.walk(tree.parse(path)):
            for line, name, keys in _specs(node):
                if (tree.is_secret(name) or name.endswith("key")) and "type" in keys and "no_log" not in keys:
                    found.append(
                        f"{tree.where(root, path, line)}: parameter {name} needs no_log, True or (with intent) False"
                    )
    return found


def _specs(node: ast.AST) -> Iterator[tuple[int, str, set[str]]]:
    """Return line, name and keys of each entry of a mapping of mappings: what an argument spec looks like."""
    pairs: list[tuple[str, ast.AST]] = []
    if isinstance(node, ast.Dict):
        pairs = [(str(key.value), value) for key, value in zip(node.keys, node.values) if isinstance(key, ast.Constant)]
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
    for name, value in pairs:
        if isinstance(value, ast.Dict):
            yield value.lineno, str(name), {str(key.value) for key in value.keys if isinstance(key, ast.Constant)}
        elif isinstance(value, ast.Call) and getattr(value.func, "id", "") == "dict":
            yield value.lineno, str(name), {keyword.arg for keyword in value.keywords if keyword.arg}


def folders_have_a_mode(root: Path) -> list[str]:
    """Return each os.makedirs, whose folders have the mode that the umask leaves."""
    return [
        f"{tree.where(root, path, number)}: os.makedirs obeys the umask; use make_folder of _core/host_files"
        for path in tree.matching(root, "plugins/**/*.py")
        for number, line in enumerate(tree.read(path).splitlines(), 1)
        if "makedirs(" in line
    ]


RULES = [
    folders_have_a_mode,
    modules_are_documented,
    examples_fit_the_options,
    secret_parameters_are_not_logged,
]
