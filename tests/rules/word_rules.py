# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about words: plays and tasks are named by what they do, and one thing has one word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.rules import module_rules, tree

# What a play or a task does. Add a verb only where none of these says it.
VERBS = frozenset(
    """
    Add Apply Ask Begin Block Break Bring Change Check Close Configure Copy Create Describe Destroy Drain Export
    Gather Give Hold Initialise Install Keep Let Load Log Make Mark Measure Migrate Mount Move Plan Put Read Record
    Release Reload Remove Report Restart Restore Roll Run Save Set Show Stage Start Stop Synchronise Take Tell Test
    Unmount Unpack Upgrade Verify Wait Write
    """.split()
)
NAMED = ("roles/**/*.yml", "playbooks/**/*.yml", "extensions/**/*.yml", "tests/**/*.yml", "bench/**/*.yml")
# Their tasks are named when the planners and the phases of both have one place.
LATER = ("roles/upgrade/", "roles/migration/")


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
        if not path.relative_to(root).as_posix().startswith(LATER) and "meta" not in path.parts
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


RULES = [names_begin_with_a_verb]
