"""The README's commands as a reader types them: in an empty folder, with nothing but what the README says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.scenarios import support
from tests.scenarios.support import Lab, Run
from tests.scenarios.workplace import REPOSITORY, USER

# What a reader's editor does: the vault gets its text, and then the inventory the lines that the table names.
_EDITOR = """#!/bin/sh
set -e
cat {folder}/vault.yml > "$1"
cp {folder}/machines.json inventory/
cp {folder}/main.yml inventory/group_vars/all/main.yml
"""
# ansible-vault opens no editor where there is none.
_TERMINAL = 'ansible-vault() { script -qec "ansible-vault $*" /dev/null; }'


def section() -> str:
    """Return what the README says of the use."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    return text[text.index("\n## Use it\n") : text.index("\n## The verbs\n")]


def commands() -> list[str]:
    """Return the lines that are to be typed, in their order."""
    return [line[4:] for line in section().splitlines() if line.startswith("    ")]


def lines_to_change() -> set[str]:
    """Return the variables whose lines in group_vars the table has a reader change."""
    rows = re.findall(r"^\| `group_vars/all/main.yml` \| (.*?) \|", section(), re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def changed(example: str, values: Mapping[str, object]) -> str:
    """Return the example's variables with the values of a reader's own; lines that are only offered are taken up."""
    for name, value in values.items():
        example, count = re.subn(rf"^(?:# )?{name}:.*$", f"{name}: {json.dumps(value)}", example, flags=re.M)
        assert count == 1, f"examples/inventory has {count} lines of {name}"
    return example


def follow(lab: Lab) -> Run:
    """Type the README's commands and return what came of them; the machines are the lab's."""
    place = support.person()
    home, folder = place.new_folder("home-"), place.new_folder("readme-")
    values = yaml.safe_load((place.folder / "inventory/group_vars/all/cluster.yml").read_text("utf-8"))
    access = json.loads((place.folder / "inventory/group_vars/all/access.json").read_text("utf-8"))
    infra = support.address(lab, "infra")
    own = {
        "rspm_version": "2026.04.0",
        "rspm_package_file": str(support.PACKAGES / "rstudio-pm_{{ rspm_version }}_amd64.deb"),
        "rspm_address": f"http://{support.address(lab, 'lb')}",
        "rspm_ntp_servers": [infra],
    }
    assert set(own) <= lines_to_change()
    example = (REPOSITORY / "examples/inventory/group_vars/all/main.yml").read_text("utf-8")
    vault = {
        "vault_become_password": access["ansible_become_password"],
        "vault_rspm_database_password": "canary-Zx9/7:@%-database",
        "vault_rspm_licence": values["rspm_licence"],
    }
    files = {
        "main.yml": changed(example, {**own, "rspm_database_host": infra, "rspm_nfs_server": infra}),
        "vault.yml": yaml.safe_dump(vault),
        "machines.json": (place.folder / "inventory/machines.json").read_text("utf-8"),
        "editor": _EDITOR.format(folder=home),
    }
    for name, text in files.items():
        (home / name).write_text(text, "utf-8")
        (home / name).chmod(0o700)
        shutil.chown(home / name, USER, USER)
    typed = folder / "typed"
    typed.mkdir()
    shutil.chown(typed, USER, USER)
    shutil.copy(next(place.folder.glob("*.tar.gz")), typed)
    record = folder / "results.jsonl"
    environment = {
        # of the machine, as for everybody on it: where pip finds packages
        **{name: value for name, value in os.environ.items() if re.match(r"PIP_|.*_proxy$", name, re.I)},
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "EDITOR": str(home / "editor"),
        "RSPM_RECORD": str(record),
    }
    begin = ["set -eu", f"cd {typed}", "unset ANSIBLE_COLLECTIONS_PATH ANSIBLE_PIPELINING", _TERMINAL]
    script = "\n".join([*begin, *commands()])
    with place.start(["bash", "-c", script], environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        output, _none = process.communicate(timeout=1800)
    return Run.of(process.returncode, output, Path(record))
