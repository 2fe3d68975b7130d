# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules read: the files of a tree, its tasks and plays with their lines, and the names in its expressions."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CACHES = {".git", ".cache", ".venv", ".ansible", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__", "dist"}
BLOCK_PARTS = ("block", "rescue", "always")
PLAY_PARTS = ("pre_tasks", "tasks", "post_tasks", "handlers")
# Conditions are expressions without braces. Ansible prints their text, never their values.
CONDITIONS = ("when", "changed_when", "failed_when", "until")


class Mapping(dict[Any, Any]):
    """A YAML mapping that knows the line of itself and of each key (counted from 1)."""

    line: int
    key_lines: dict[Any, int]


class _Loader(yaml.SafeLoader):
    """Safe loading with line numbers; Ansible's own tags become their plain values."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping:
    loader.flatten_mapping(node)
    made = Mapping()
    made.line = node.start_mark.line + 1
    made.key_lines = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        made[key] = loader.construct_object(value_node, deep=True)
        made.key_lines[key] = key_node.start_mark.line + 1
    return made


def _plain(loader: _Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_multi_constructor("!", _plain)


@cache
def read(path: Path) -> str:
    """Return the text of a file; a file that is not text is empty."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def parse(path: Path) -> ast.Module:
    """Return a Python file's syntax tree."""
    return ast.parse(read(path), filename=str(path))


@cache
def load(path: Path) -> Any:
    """Return the YAML of a file. Raise AssertionError, naming the file, where it is none."""
    try:
        return yaml.load(read(path), Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise AssertionError(f"{path}: not valid YAML: {error}") from error


@cache
def files(root: Path) -> tuple[Path, ...]:
    """Return every file that git tracks or would track; outside a checkout, every file but caches."""
    if (root / ".git").exists():
        argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.check_output(argv, cwd=root, text=True).split("\0")
        found = {root / name for name in listed if name}
    else:
        found = set()
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name not in CACHES]
            found.update(Path(folder) / name for name in names)
    return tuple(sorted(path for path in found if path.is_file() and not path.is_symlink()))


def matching(root: Path, *patterns: str) -> list[Path]:
    """Return the files whose path, relative to the root, fits a pattern (`*` stops at a slash, `**/` does not)."""
    expressions = [re.compile(_pattern(pattern)) for pattern in patterns]
    return [path for path in files(root) if any(e.fullmatch(path.relative_to(root).as_posix()) for e in expressions)]


def _pattern(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*)", pattern)
    return "".join({"**/": "(?:.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)


def where(root: Path, path: Path, line: int | None = None) -> str:
    """Return how a finding names its place."""
    name = path.relative_to(root).as_posix()
    return f"{name}:{line}" if line else name


@dataclass(frozen=True)
class Task:
    """One task or block, with what surrounds it.

    path: the file. data: the task's own keys. no_log: set on it or on a block or play around it.
    """

    path: Path
    data: Mapping
    no_log: bool

    @property
    def is_block(self) -> bool:
        """Return whether it only groups other tasks."""
        return any(part in self.data for part in BLOCK_PARTS)

    @property
    def action(self) -> str:
        """Return the module as written, `` for a block."""
        if self.is_block:
            return ""
        written = self.data.get("action") or self.data.get("local_action")
        if written:
            return str(written).split()[0]
        dotted = [key for key in self.data if isinstance(key, str) and key.count(".") >= 2]
        bare = [key for key in self.data if key in SHORT_ACTIONS]
        return next(iter(dotted + bare), "")


# Short names that the rules have to know although ansible-lint refuses them.
SHORT_ACTIONS = {"command", "shell", "raw", "script", "expect", "template", "set_fact"}


def plays(root: Path, path: Path) -> list[Mapping]:
    """Return the plays of a file (items with hosts), none where it holds something else."""
    content = load(path)
    return (
        [item for item in content if isinstance(item, Mapping) and "hosts" in item] if isinstance(content, list) else []
    )


def _below(path: Path, items: Any, no_log: bool) -> Iterator[Task]:
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, Mapping):
            continue
        quiet = no_log or item.get("no_log") is True
        if "hosts" in item:
            for part in PLAY_PARTS:
                yield from _below(path, item.get(part), quiet)
        elif "import_playbook" not in item and "ansible.builtin.import_playbook" not in item:
            yield Task(path, item, quiet)
            for part in BLOCK_PARTS:
                yield from _below(path, item.get(part), quiet)


def tasks(root: Path, *patterns: str) -> Iterator[Task]:
    """Return every task and block of the files that fit, by default of all that hold tasks or plays."""
    chosen = patterns or (
        "roles/**/tasks/**/*.yml",
        "roles/**/handlers/**/*.yml",
        "playbooks/**/*.yml",
        "extensions/**/*.yml",
    )
    for path in matching(root, *chosen):
        yield from _below(path, load(path), False)


def strings(value: Any) -> Iterator[str]:
    """Return every string inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


_JINJA = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


def expressions(text: str) -> list[str]:
    """Return what stands between Jinja's braces."""
    return [first or second for first, second in _JINJA.findall(text)]


def names(texts: Iterable[str]) -> set[str]:
    """Return the bare names in Jinja expressions: no attributes, nothing inside quotes."""
    return {name for text in texts for name in _NAME.findall(_QUOTED.sub("''", text))}


def names_in(value: Any) -> set[str]:
    """Return the bare names in the Jinja parts of every string inside a value."""
    return names(expression for text in strings(value) for expression in expressions(text))


def task_names(task: Task) -> set[str]:
    """Return every bare name that a task's own keys use, its conditions included, not what its inner tasks use."""
    own = {key: value for key, value in task.data.items() if key not in BLOCK_PARTS}
    bare = [text for key in CONDITIONS for text in strings(own.get(key))]
    if task.action.rpartition(".")[2] == "assert":
        bare += strings((own.get(task.action) or {}).get("that"))
    return names_in(own) | names(bare)


SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|token|encryption_key|private_key|key_content|licen[cs]e_key)(?:_|$)"
)
# A path, or a fact about a secret, is none.
NO_SECRET = re.compile(
    r"_(?:file|path|dir|mode|owner|length|version|algorithm|encryption|changed|hash|id|ids|names?|set)$"
)


def is_secret(name: str) -> bool:
    """Return whether a variable or parameter of this name holds a secret."""
    return bool(SECRET.search(name)) and not NO_SECRET.search(name)
