# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make docs/variables.md of roles/rspm/meta/argument_specs.yml: `make docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "roles" / "rspm" / "meta" / "argument_specs.yml"
PAGE = ROOT / "docs" / "variables.md"

HEAD = """# Variables

What a team sets, in `group_vars/all.yml` for instance. Every role and every playbook of the collection takes them as
they are written here; `ansible-doc -t role rspm.ha.rspm` shows the same.

This page is made of `roles/rspm/meta/argument_specs.yml` by `make docs`.
"""
# How antsibull's marks look in Markdown.
MARKS = re.compile(r"\b[A-Z]\(((?:[^()\\]|\\.)*)\)")
SECTION = re.compile(r"      # (.+)")
OPTION = re.compile(r"      (\w+):")


def sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Return the sections of the spec's text, each with the names of its options."""
    title = ""
    names: list[str] = []
    for line in text.splitlines():
        begins, option = SECTION.fullmatch(line), OPTION.fullmatch(line)
        if begins:
            if names:
                yield title, names
            title, names = begins[1], []
        elif option:
            names.append(option[1])
    yield title, names


def plain(value: Any) -> str:
    """Return a default as a person types it."""
    written = yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]
    return f"`{written}`"


def meaning(option: dict[str, Any]) -> str:
    """Return the description as one cell of a table, with the choices and the keys of a mapping."""
    described = option["description"]
    parts = [described] if isinstance(described, str) else list(described)
    choices = [choice for choice in option.get("choices", []) if choice != ""]
    if choices:
        parts.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    for name, inner in option.get("options", {}).items():
        parts.append(f"`{name}`: {inner['description']}")
    return MARKS.sub(r"`\1`", " ".join(" ".join(parts).split())).replace("|", "\\|")


def page(text: str) -> str:
    """Return the page for a spec."""
    options = yaml.safe_load(text)["argument_specs"]["variables"]["options"]
    lines = [HEAD]
    for title, names in sections(text):
        lines += [f"## {title}", "", "| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name in names:
            option = options[name]
            default = plain(option["default"]) if option.get("default") not in (None, "") else ""
            lines.append(f"| `{name}` | {option['type']} | {default} | {meaning(option)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(SPEC.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is made.\n")
