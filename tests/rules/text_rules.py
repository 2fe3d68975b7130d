# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about any text in the repository."""

from __future__ import annotations

import re
from pathlib import Path

from tests.rules import tree

MAX_LINES = 400
CODE = (".py", ".yml", ".yaml", ".j2", ".sh", ".mk", ".toml", ".cfg")
NAMED_CODE = ("Makefile", "run")
# Pieces of the one machine that the project is built on. Put together here, so that this file passes its own rule.
FOREIGN = re.compile(r"(?<![\w.~$}-])/work" + r"/|\b203\.0\." + r"113\.")
UNCHECKED = re.compile(
    r"validate_certs\s*[:=]\s*['\"]?(?:false|no|off|0)\b"
    r"|ssl_?verify\s*[:=]\s*['\"]?(?:false|no|off|0|none)\b"
    r"|verify\s*=\s*False"
    r"|--no-check-certificate|--insecure\b|\bcurl\b[^\n|;]*\s-[a-zA-Z]*k\b"
    r"|_create_unverified_context|CERT_NONE|check_hostname\s*=\s*False|\bverify\s+none\b",
    re.IGNORECASE,
)
SKIPPED = {
    ".ansible-lint": re.compile(r"^\s*(?:skip_list|warn_list|mock_modules|mock_roles)\s*:", re.MULTILINE),
    ".yamllint": re.compile(r":\s*disable\b|\bignore:", re.MULTILINE),
}
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
IGNORE_FILES = ("**/.ansible-lint-ignore", ".config/ansible-lint-ignore.txt", "tests/sanity/ignore*.txt")


def _lines(root: Path, expression: re.Pattern[str], *patterns: str) -> list[tuple[Path, int, str]]:
    return [
        (path, number, match[0])
        for path in tree.matching(root, *patterns)
        if "rules" not in path.relative_to(root).parts[1:2] or path.relative_to(root).parts[0] != "tests"
        for number, line in enumerate(tree.read(path).splitlines(), 1)
        if (match := expression.search(line))
    ]


def files_are_short(root: Path) -> list[str]:
    """Return the files of code that have 400 lines or more."""
    return [
        f"{tree.where(root, path)}: {lines} lines, {MAX_LINES - 1} are allowed"
        for path in tree.files(root)
        if path.suffix in CODE or path.name in NAMED_CODE or tree.read(path).startswith("#!")
        if (lines := len(tree.read(path).splitlines())) >= MAX_LINES and path.parent.name != "changelogs"
    ]


def nothing_names_one_machine(root: Path) -> list[str]:
    """Return the lines that name a folder or an address of the machine that the project is built on."""
    return [f"{tree.where(root, path, line)}: names {text}" for path, line, text in _lines(root, FOREIGN, "**/*")]


def certificates_are_checked(root: Path) -> list[str]:
    """Return the lines that switch the checking of certificates off.

    The one case that may: PostgreSQL's sslmode, which a user sets and which means just that; a comment above says so.
    """
    found = []
    for path, line, text in _lines(root, UNCHECKED, "**/*"):
        above = tree.read(path).splitlines()[line - 2].strip() if line > 1 else ""
        if not (path.suffix == ".py" and above.startswith("#") and "sslmode" in above):
            found.append(f"{tree.where(root, path, line)}: {text}")
    return found


def nothing_is_skipped(root: Path) -> list[str]:
    """Return where a check is told to look away from a rule."""
    found = [f"{tree.where(root, path)}: no list of what to ignore" for path in tree.matching(root, *IGNORE_FILES)]
    for name, expression in SKIPPED.items():
        if (root / name).is_file() and (match := expression.search(tree.read(root / name))):
            found.append(f"{name}: {match[0].strip()}")
    noqa = re.compile(r"#\s*(?:noqa|yamllint disable)\b")
    found += [
        f"{tree.where(root, path, line)}: {text}" for path, line, text in _lines(root, noqa, "**/*.yml", "**/*.yaml")
    ]
    return found


def requirements_agree_with_galaxy(root: Path) -> list[str]:
    """Return the collections of which galaxy.yml and requirements.yml say different things."""
    wanted = (tree.load(root / "galaxy.yml") or {}).get("dependencies") or {}
    listed = {item["name"]: item["version"] for item in tree.load(root / "requirements.yml")["collections"]}
    return [
        f"{name}: galaxy.yml says {wanted.get(name)}, requirements.yml says {listed.get(name)}"
        for name in sorted(set(wanted) | set(listed))
        if wanted.get(name) != listed.get(name)
    ]


def links_lead_somewhere(root: Path) -> list[str]:
    """Return the links of a page to files that are not there."""
    return [
        f"{tree.where(root, path)}: {link} is not there"
        for path in tree.matching(root, "**/*.md")
        for link in LINK.findall(tree.read(path))
        if not (path.parent / link).exists()
    ]


RULES = [
    links_lead_somewhere,
    requirements_agree_with_galaxy,
    files_are_short,
    nothing_names_one_machine,
    certificates_are_checked,
    nothing_is_skipped,
]
