# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team's world for what it types: two versions of ansible-core, machines that nobody reaches, and secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret

ROOT = Path(__file__).resolve().parents[3]
SPEC = yaml.safe_load((ROOT / "roles/rspm/meta/argument_specs.yml").read_text())["argument_specs"]["variables"][
    "options"
]
VERBS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.name != "rspm")
SECRETS = [
    name
    for name, option in SPEC.items()
    if any(each.get("no_log") for each in (option, *option.get("options", {}).values()))
]
CANARY = "canary-Zx9"
VAULT_PASSWORD = f"{CANARY}-vault"
# Of each type, what is none. Of a secret it holds the canary, as a slip of the hand would.
WRONG: dict[str, Any] = dict.fromkeys(("dict", "list", "bool", "int", "float"), CANARY) | {"str": {CANARY: CANARY}}
PLAIN_WRONG: dict[str, Any] = dict.fromkeys(WRONG, "abc") | {"str": {"a": "b"}, "path": ["x"]}

# With the collections of this environment, of which the newer core has none of its own.
COLLECTIONS = ":".join(
    [os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".cache" / "collections")), sysconfig.get_path("purelib")]
)
CORES = {
    "2.19": Path(sys.executable).parent / "ansible-playbook",
    "2.21": ROOT / ".cache" / "ansible-2.21" / "ansible-playbook",
}


@dataclass
class World:
    """An inventory of machines that nobody reaches, with a canary in each secret; the command that runs a playbook."""

    folder: Path
    command: Path

    def run(
        self, playbook: str, typed: dict[str, Any], *args: str, password: str = VAULT_PASSWORD, **environment: str
    ) -> str:
        """Run a playbook, which has to fail, and return everything that it prints."""
        extra = ["-e", json.dumps(typed)] if typed else []
        (self.folder / "password").write_text(password)
        vault = ["--vault-password-file", str(self.folder / "password")]
        done = subprocess.run(
            [self.command, "-i", self.folder / "inventory", "-vvv", *vault, *extra, *args, playbook],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            cwd=self.folder,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_TIMEOUT": "3",
                "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
                **environment,
            },
            check=False,
        )
        assert done.returncode != 0, done.stdout
        return done.stdout


def _key(name: str) -> str:
    """Return a key of a mapping that holds a secret."""
    inner = SPEC[name].get("options", {})
    return next((key for key, option in inner.items() if option.get("no_log")), "Any")


def make_world(core: str, folder: Path) -> World:
    """Return a world in a folder, for a version of ansible-core. Skips the test where that is not there."""
    command = CORES[core]
    if not command.exists():
        pytest.skip("make ansible-next has not run")
    everyone = folder / "inventory" / "group_vars" / "all"
    everyone.mkdir(parents=True)
    unreachable = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    groups = {
        "rspm_nodes": ["n1", "n2"],
        "rspm_database": ["infra"],
        "rspm_nfs_server": ["infra"],
        "rspm_load_balancer": ["lb"],
    }
    hosts = {group: {"hosts": dict.fromkeys(names, unreachable)} for group, names in groups.items()}
    (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    shapes: dict[str, Any] = {
        "dict": lambda name: {_key(name): f"{CANARY}-{name}"},
        "list": lambda name: ["/bin/false", f"{CANARY}-{name}"],
    }
    secrets = {name: shapes.get(SPEC[name]["type"], lambda name: f"{CANARY}-{name}")(name) for name in SECRETS}
    vault = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(VAULT_PASSWORD.encode()))])
    inside = yaml.safe_dump({f"vault_{name}": value for name, value in secrets.items()})
    (everyone / "vault.yml").write_bytes(vault.encrypt(inside))
    typed: dict[str, Any] = {name: f"{{{{ vault_{name} }}}}" for name in SECRETS}
    typed.update(
        rspm_package_source="repository",
        rspm_version="2026.04.0",
        rspm_address="https://pm.example.org",
        rspm_migration_target="n1",
    )
    (everyone / "main.yml").write_text(yaml.safe_dump(typed))
    return World(folder, command)


def told_first(output: str) -> set[str]:
    """Return what the rows of the table, which stands before the place in the file, begin with."""
    table = output.partition("with what was typed")[2].partition("Origin:")[0].splitlines()[2:]
    return {line.split()[0] for line in table if line.split()}


def told(output: str) -> set[str]:
    """Return the variables that the table names."""
    return {line.split()[0] for line in output.splitlines() if line.split()[:1] and line.split()[0] in SPEC}
