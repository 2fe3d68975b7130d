# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make docs/variables.md and each role's README.md of the roles' meta/argument_specs.yml: `make docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
# The role that defines what a team may set, and its entry point with them.
CLUSTER = "rspm"
VARIABLES = "variables"
VARIABLES_PAGE = "docs/variables.md"

HEAD = """# Variables

What a team sets, in `group_vars/all.yml` for instance. Every role and every playbook of the collection takes them as
they are written here; `ansible-doc -t role rspm.ha.rspm` shows the same.

This page is made of `roles/rspm/meta/argument_specs.yml` by `make docs`.
"""
ROLE_FOOT = """This page is made of [meta/argument_specs.yml](meta/argument_specs.yml) by `make docs`;
`ansible-doc -t role rspm.ha.{name}` shows the same.
"""
# How antsibull's marks look in Markdown.
MARKS = re.compile(r"\b[A-Z]\(((?:[^()\\]|\\.)*)\)")
SECTION = re.compile(r"      # (.+)")
OPTION = re.compile(r"      (\w+):")
# A cluster's variable that a role's description names, since it matters there.
NAMED = re.compile(rf"\b[CO]\(({CLUSTER}_\w+)[)=]")


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


def marked(text: str) -> str:
    """Return a text with its marks as Markdown shows them."""
    return MARKS.sub(r"`\1`", " ".join(text.split()))


def meaning(option: dict[str, Any]) -> str:
    """Return the description as one cell of a table, with the choices and the keys of a mapping."""
    described = option["description"]
    parts = [described] if isinstance(described, str) else list(described)
    choices = [choice for choice in option.get("choices", []) if choice != ""]
    if choices:
        parts.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    for name, inner in option.get("options", {}).items():
        parts.append(f"`{name}`: {inner['description']}")
    return marked(" ".join(parts)).replace("|", "\\|")


def row(name: str, option: dict[str, Any]) -> str:
    """Return an option as a row of a table."""
    default = plain(option["default"]) if option.get("default") not in (None, "") else ""
    return f"| `{name}` | {option['type']} | {default} | {meaning(option)} |"


def table(options: dict[str, dict[str, Any]]) -> list[str]:
    """Return options as a table."""
    head = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
    return [*head, *(row(name, option) for name, option in options.items()), ""]


def variables_page(text: str) -> str:
    """Return the page of all variables for the spec of roles/rspm."""
    options = yaml.safe_load(text)["argument_specs"][VARIABLES]["options"]
    lines = [HEAD]
    for title, names in sections(text):
        lines += [f"## {title}", "", *table({name: options[name] for name in names})]
    return "\n".join(lines)


def role_page(name: str, spec: dict[str, Any], variables: dict[str, Any]) -> str:
    """Return the README of a role: what it does, the variables that its description names, its own, an example."""
    entries = spec["argument_specs"]
    first = next(iter(entries.values()))
    lines = [f"# rspm.ha.{name}", "", f"{first['short_description']}.", ""]
    for paragraph in first["description"]:
        lines += [marked(paragraph), ""]
    named = dict.fromkeys(NAMED.findall(" ".join(first["description"])))
    lines += [
        "## Variables that matter most",
        "",
        *table({each: variables[each] for each in named if each in variables}),
    ]
    lines += [f"All variables: [{VARIABLES_PAGE}](../../{VARIABLES_PAGE}).", ""]
    for entry, content in entries.items() if name != CLUSTER else ():
        if content.get("options"):
            lines += [f"## What it takes{'' if entry == 'main' else f' with `tasks_from: {entry}`'}", ""]
            lines += [] if content is first else [" ".join(map(marked, content["description"])), ""]
            lines += table(content["options"])
    lines += ["## Example", "", "```yaml", first["examples"].strip(), "```", "", ROLE_FOOT.format(name=name)]
    return "\n".join(lines)


def pages(root: Path) -> dict[str, str]:
    """Return what each made page has to be, by its path. A role that does not say what it is has none."""
    specs = {path.parts[-3]: path.read_text("utf-8") for path in sorted(root.glob("roles/*/meta/argument_specs.yml"))}
    loaded = {name: yaml.safe_load(text) for name, text in specs.items()}
    variables = loaded[CLUSTER]["argument_specs"][VARIABLES]["options"]
    made = {VARIABLES_PAGE: variables_page(specs[CLUSTER])}
    for name, spec in loaded.items():
        if "examples" in next(iter(spec["argument_specs"].values()), {}):
            made[f"roles/{name}/README.md"] = role_page(name, spec, variables)
    return made


if __name__ == "__main__":
    for path, content in pages(ROOT).items():
        (ROOT / path).write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path} is made.\n")
