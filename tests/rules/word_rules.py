# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about words: plays and tasks are named by what they do, and one thing has one word."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.rules import module_rules, tree

# What a play or a task does. Add a verb only where none of these says it.
VERBS = frozenset(
    """
    Add Apply Ask Begin Block Break Bring Change Check Close Configure Copy Create Describe Destroy Drain Export
    Gather Give Hold Initialise Install Keep Let Load Log Make Mark Measure Migrate Mount Move Plan Prepare Put Read
    Record Release Reload Remove Report Restart Restore Roll Run Save Set Show Stage Start Stop Synchronise Take Tell
    Test Unmount Unpack Upgrade Verify Wait Write
    """.split()
)
NAMED = ("roles/**/*.yml", "playbooks/**/*.yml", "extensions/**/*.yml", "tests/**/*.yml", "bench/**/*.yml")


def _items(value: Any) -> Iterator[tree.Mapping]:
    """Return the plays, tasks, blocks and imports of a list, with those inside them."""
    for item in value if isinstance(value, list) else []:
        if isinstance(item, tree.Mapping):
            yield item
            for part in (*tree.PLAY_PARTS, *tree.BLOCK_PARTS):
                yield from _items(item.get(part))


def names_begin_with_a_verb(root: Path) -> list[str]:
    """Return the plays and tasks whose name is no order ("The package is installed"), examples of plugins included."""
    named = [
        (tree.where(root, path, item.line), item)
        for path in tree.matching(root, *NAMED)
        if "meta" not in path.parts
        for item in _items(tree.load(path))
    ]
    for path in tree.matching(root, "plugins/*/*.py"):
        for item in yaml.safe_load(module_rules.constants(path).get("EXAMPLES", "")) or []:
            named += [(tree.where(root, path), task) for task in [item, *item.get("tasks", [])]]
    return [
        f"{where}: {item['name']!r} does not begin with a verb of {Path(__file__).name}"
        for where, item in named
        if item.get("name") and str(item["name"]).split()[0] not in VERBS
    ]


# Not in a name, as a part between underscores, and what to write there.
NOT_IN_NAMES = {
    **dict.fromkeys(("mask", "unmask", "masks", "unmasked", "secured"), "block, unblock, blocked"),
    **dict.fromkeys(("half", "whole"), "installed or broken for a package, else complete"),
    **dict.fromkeys(("seen", "heard"), "observed"),
    **dict.fromkeys(("home", "speaker"), "controller, or the node"),
    **dict.fromkeys(("revive", "revived", "hopeless", "unmet"), "the plain verb"),
    **dict.fromkeys(("pins", "pinned", "lane", "lanes", "workshop"), "the plain noun"),
}
# The folder of an account.
HOMES = {"home", "HOME", "create_home"}
# Not in a comment, docstring or message either. `masked` alone is systemd's own mask.
NOT_IN_TEXT = re.compile(
    r"\b(?:can_start|half[- ]done|heard of|hopeless|lanes?|pinned|revived?|secured|speaker|stopped and masked|unmet"
    r"|workshop)\b",
    re.IGNORECASE,
)


def _names(path: Path) -> Iterator[tuple[int, str]]:
    """Return every name in a file of Python, every name of two parts or more in another one, with its line."""
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(tree.read(path)).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string
        return
    for number, line in enumerate(tree.read(path).splitlines(), 1):
        for name in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", line):
            yield number, name


def one_thing_has_one_word(root: Path) -> list[str]:
    """Return the names, comments and messages with a word for which the collection has another one."""
    found = []
    for path in tree.matching(root, "plugins/**/*.py", "roles/**/*.yml", "roles/**/*.j2", "playbooks/**/*.yml"):
        found += [
            f"{tree.where(root, path, line)}: {name}: write {NOT_IN_NAMES[part]}"
            for line, name in _names(path)
            for part in name.lower().split("_")
            if part in NOT_IN_NAMES and name not in HOMES
        ]
        found += [
            f"{tree.where(root, path, line)}: {word}: not one of our words"
            for line, text in enumerate(tree.read(path).splitlines(), 1)
            for word in NOT_IN_TEXT.findall(text)
        ]
    return found


RULES = [names_begin_with_a_verb, one_thing_has_one_word]
