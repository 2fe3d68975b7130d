# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about the rooms of module_utils and plugin_utils: what a file may do is told by its folder and its name.

module_utils travels to the hosts, plugin_utils stays on the controller. A file named host or host_* touches the
machine, and one of plugin_utils named read or read_* the controller; every other file only decides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.rules import tree

# Whatever reaches outside of the process, or Ansible. What a decision needs of these is given to it as a value.
IMPURE = set(
    """
    ansible asyncio fcntl fileinput ftplib getpass glob grp http importlib io logging multiprocessing os
    pathlib platform pwd random requests resource secrets select selectors shutil signal smtplib socket
    sqlite3 ssl subprocess sys syslog tempfile threading time urllib uuid
    """.split()
)
# Only calculate, although their package can do more.
PURE_PARTS = {"pathlib.PurePath", "pathlib.PurePosixPath", "urllib.parse"}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
CLOCKS = {"now", "utcnow", "today"}

_SHARED = ("module_utils", "plugin_utils")
_TOUCHES = {"module_utils": re.compile(r"host(_\w+)?"), "plugin_utils": re.compile(r"read(_\w+)?")}
_IMPORTED = re.compile(r"(?:^|\.)(module_utils|plugin_utils)\.(_\w+)(?:\.(\w+))?")


def _files(root: Path) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """Return each file with where it goes (module_utils or plugin_utils) and its path below that."""
    for side in _SHARED:
        for path in tree.matching(root, f"plugins/{side}/**/*.py"):
            yield path, side, path.relative_to(root / "plugins" / side).parts


def _imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Return line and full name of each import that runs (not what only a type checker sees)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((child.lineno, f"{child.module or ''}.{alias.name}") for alias in child.names)
        else:
            yield from _imports(child)


def _touches(side: str, name: str) -> bool:
    return _TOUCHES[side].fullmatch(name) is not None


def every_file_has_a_room(root: Path) -> list[str]:
    """Return the files that are not in a package _<subject>, and those that would carry the package along."""
    return [
        f"{tree.where(root, path)}: belongs into a package plugins/{side}/_<subject>/, without an __init__.py"
        for path, side, parts in _files(root)
        if len(parts) != 2 or not parts[0].startswith("_") or parts[1] == "__init__.py"
    ]


def decisions_are_pure(root: Path) -> list[str]:
    """Return where a file that only decides does I/O, asks the time, or knows Ansible."""
    found = []
    for path, side, parts in _files(root):
        if _touches(side, Path(parts[-1]).stem):
            continue
        module = tree.parse(path)
        for line, name in _imports(module):
            ours = _IMPORTED.search(name)
            if ours:
                if _touches(ours[1], ours[3] or ""):
                    found.append(f"{tree.where(root, path, line)}: a decision imports {name}, which acts")
            elif name.split(".")[0] in IMPURE and not any(name == p or name.startswith(f"{p}.") for p in PURE_PARTS):
                found.append(f"{tree.where(root, path, line)}: imports {name}; I/O belongs into host.py")
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_CALLS:
                found.append(f"{tree.where(root, path, node.lineno)}: calls {called.id}()")
            elif isinstance(called, ast.Attribute) and called.attr in CLOCKS and "date" in ast.unparse(called.value):
                found.append(f"{tree.where(root, path, node.lineno)}: asks the clock; the time is given to it")
    return found


def _between(root: Path) -> Iterator[tuple[str, str, str]]:
    """Return from which package to which other one each import leads, and where it is."""
    for path, side, parts in _files(root):
        here = f"{side}/{parts[0]}"
        for line, name in _imports(tree.parse(path)):
            ours = _IMPORTED.search(name)
            if ours and f"{ours[1]}/{ours[2]}" != here:
                yield here, f"{ours[1]}/{ours[2]}", tree.where(root, path, line)


def what_travels_knows_nothing_that_stays(root: Path) -> list[str]:
    """Return the imports of the controller's code in what goes to the hosts."""
    found = [
        f"{where}: goes to the hosts, and imports {there}, which does not"
        for here, there, where in _between(root)
        if here.startswith("module_utils/") and there.startswith("plugin_utils/")
    ]
    for path in tree.matching(root, "plugins/modules/*.py"):
        found += [
            f"{tree.where(root, path, line)}: goes to the hosts, and imports {name}, which does not"
            for line, name in _imports(tree.parse(path))
            if ".plugin_utils." in name
        ]
    return found


def rooms_form_no_circle(root: Path) -> list[str]:
    """Return the imports by which packages need each other."""
    edges = list(_between(root))
    reach: dict[str, set[str]] = {}
    for here, there, _where in edges:
        reach.setdefault(here, set()).add(there)
    grown = True
    while grown:
        grown = False
        for here, known in reach.items():
            more = known.union(*(reach.get(there, set()) for there in known))
            grown, reach[here] = grown or more != known, more
    return [
        f"{where}: {here} and {there} need each other" for here, there, where in edges if here in reach.get(there, ())
    ]


RULES = [
    every_file_has_a_room,
    decisions_are_pure,
    what_travels_knows_nothing_that_stays,
    rooms_form_no_circle,
]
