# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory of afterwards, as Ansible itself reads the old and the new one, and that no vault is opened in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.rspm.ha.plugins.plugin_utils._migration.inventory import (
    Choices,
    Cluster,
    Found,
    Group,
    Unsafe,
    Unwritable,
    Vaulted,
    group_members,
    is_secret,
    make_inventory,
)

MOVED = Choices("a", "10.0.0.1", "http://10.0.0.1:4242", "keep", "move", "/var/x/data", "move")
KEPT = Choices("a", "10.0.0.1", "http://10.0.0.1:4242", "route", "keep", "", "keep")
GROUPS = {
    "all": Group(("a", "b", "db", "lb")),
    "rspm_nodes": Group(("a", "b"), ("ring",)),
    "ring": Group(("a",), (), {"ring": 1}, 5),
    "gone": Group(("b",)),
    "rspm_database": Group(("db",)),
    "rspm_nfs_server": Group(("db",)),
    "rspm_load_balancer": Group(("lb",)),
}
VAULT = "$ANSIBLE_VAULT;1.1;AES256\n3132\n"
BIN = Path(sys.executable).parent
SECRETS = ("geheim-file", "geheim-inline", "geheim-typed", "geheim-plain", "geheim-extra")


class _Loader(yaml.SafeLoader):
    """Reads the tags that Ansible knows."""


_Loader.add_constructor("!vault", lambda loader, node: f"vaulted {node.value}")
_Loader.add_constructor("!unsafe", lambda loader, node: f"unsafe {node.value}")

# what a database that was moved to this address changes
MOVED_DATABASE = {"rspm_database_host": "10.0.0.1", "rspm_database_options": {}}


def read(content: bytes) -> Any:
    return yaml.load(content, Loader=_Loader)  # a safe one


def test_the_hosts_are_those_that_stay_in_their_groups() -> None:
    hosts: dict[str, dict[str, Any]] = {
        "a": {"ansible_host": "10.0.0.1", "note": None},
        "b": {"x": 1},
        "lb": {"pw_token": "x", "in": Vaulted(VAULT)},
    }
    made = make_inventory(MOVED, Cluster(GROUPS, hosts))
    tree = read(made.files["hosts.yml"])
    assert tree["all"] == {"hosts": {"a": hosts["a"], "lb": {"in": f"vaulted {VAULT}"}}}
    assert tree["rspm_nodes"] == {"hosts": {"a": None}, "children": {"ring": None}}
    assert tree["ring"] == {"hosts": {"a": None}, "vars": {"ring": 1, "ansible_group_priority": 5}}
    assert tree["rspm_database"] == {"hosts": {"a": None}} and not {"gone", "rspm_nfs_server"} & set(tree)
    assert made.missing == ["pw_token"]
    settings = read(made.files["host_vars/a/zz_single_node.yml"])
    assert settings == {
        "rspm_storage_kind": "local",
        "rspm_storage_path": "/var/x",
        "rspm_data_dir": "/var/x/data",
        "rspm_database_host": "10.0.0.1",
        "rspm_database_options": {},
    }
    assert made.files["host_vars/a/zz_single_node.yml"] == made.files["host_vars/lb/zz_single_node.yml"]


def test_what_is_kept_stays() -> None:
    made = make_inventory(KEPT, Cluster(GROUPS, {}))
    tree = read(made.files["hosts.yml"])
    assert (
        tree["rspm_database"] == tree["rspm_nfs_server"] == {"hosts": {"db": None}} and "lb" not in tree["all"]["hosts"]
    )
    assert read(made.files["host_vars/db/zz_single_node.yml"]) == {"rspm_address": "http://10.0.0.1:4242"}
    assert group_members(KEPT, {}) == {"rspm_nodes": ["a"]}


def test_files_are_copied_in_their_order_and_those_of_others_are_not() -> None:
    files = [
        Found("group_vars", "all", "/x/group_vars/all/z.yml", b"a: 1\n"),
        Found("group_vars", "all", "/y/group_vars/all.d", b"c: '{{ inventory_dir }}/x'\n"),
        Found("group_vars", "gone", "/x/group_vars/gone.yml", b""),
        Found("host_vars", "a", "/x/host_vars/a", VAULT.encode()),
        Found("host_vars", "b", "/x/host_vars/b", b""),
    ]
    made = make_inventory(KEPT, Cluster(GROUPS, {}, files, [("/e/secrets.vault", VAULT.encode())]))
    names = sorted(name for name in made.files if name.startswith(("group_vars/", "host_vars/a/")))
    assert names == [
        "group_vars/all/00_z.yml",
        "group_vars/all/01_all.d.yml",
        "host_vars/a/00_a",
        "host_vars/a/zy_00_secrets.vault.yml",
        "host_vars/a/zz_single_node.yml",
    ]
    assert made.files["host_vars/a/00_a"] == VAULT.encode()
    assert len(made.notes) == 1 and "/y/group_vars/all.d" in made.notes[0]


def test_no_secret_is_written_in_clear() -> None:
    extra_vars = {
        "rspm_version": "2026.08.0",
        "rspm_database_password": "geheim",
        "rspm_encryption_key": Vaulted(VAULT),
        "rspm_licence": {"key": "geheim"},
        "rspm_load_balancer_certificate": "geheim",
        "rspm_config": {"Git": {"x": Unwritable()}},
        "text": Unsafe("{{ x }}"),
        "rspm_migration_target": "a",
        "rspm_migration": "x",
        "rspm_report_file": "x",
    }
    made = make_inventory(KEPT, Cluster(GROUPS, {}, extra_vars=extra_vars))
    last = made.files["host_vars/a/zz_single_node.yml"]
    assert read(last) == {
        "rspm_version": "2026.08.0",
        "rspm_encryption_key": f"vaulted {VAULT}",
        "text": "unsafe {{ x }}",
        "rspm_address": "http://10.0.0.1:4242",
    }
    names = ["rspm_config", "rspm_database_password", "rspm_licence", "rspm_load_balancer_certificate"]
    assert made.missing == names and all(f"#   {name}\n".encode() in last for name in names)
    assert not any(b"geheim" in content for content in made.files.values())


@pytest.mark.parametrize(
    "name",
    ["ansible_ssh_private_key_file", "rspm_migration_deactivate_licence", "rspm_allow_unlicensed", "rspm_version"],
)
def test_what_is_no_secret(name: str) -> None:
    assert not is_secret(name)


@cache
def _encrypt(vault: Path, text: str, name: str = "") -> str:
    argv = [str(BIN / "ansible-vault"), "encrypt_string" if name else "encrypt", "--vault-password-file", str(vault)]
    argv += ["--stdin-name", name] if name else ["--output", "-"]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


class Team:
    """A controller's folder with a cluster's inventory, in one of the forms that Ansible takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = folder / "vault-password"
        self.vault.write_text("pass\n")
        self.play = folder / "play.yml"
        self.play.write_text(
            "- {hosts: rspm_nodes, gather_facts: false, connection: local, tasks: [{rspm.ha.single_node_inventory: "
            "{path: out, target: a.x, target_address: 10.0.0.1, database: move}, run_once: true, register: r},"
            "{ansible.builtin.debug: {var: r.missing}, run_once: true}]}\n"
        )
        self.show = folder / "show.yml"

    def put(self, path: str, text: str, vaulted: bool = False) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_encrypt(self.vault, text) if vaulted else text)

    def ansible(self, program: str, *words: str) -> str:
        argv = [str(BIN / program), *words, "--vault-password-file", str(self.vault)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(self.folder / "none.cfg"), "ANSIBLE_NOCOLOR": "1"}
        (self.folder / "none.cfg").touch()
        done = subprocess.run(
            argv,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def variables(self, *words: str) -> dict[str, dict[str, Any]]:
        """Return the variables of the hosts that stay, of those that the tests use, with all vaults opened."""
        lookup = "q('ansible.builtin.varnames', '^(rspm_|team_|ansible_host)')"
        values = f"dict({lookup} | zip(q('ansible.builtin.vars', *{lookup})))"
        message = f"SEEN {{{{ {{inventory_hostname: {values}}} | to_json | b64encode }}}} SEEN"
        task = {"ansible.builtin.debug": {"msg": message}}
        self.show.write_text(json.dumps([{"hosts": "a.x:lb.x", "gather_facts": False, "tasks": [task]}]))
        said = self.ansible("ansible-playbook", *words, str(self.show))
        found: dict[str, dict[str, Any]] = {}
        for text in re.findall("SEEN (.*?) SEEN", said):
            found.update(json.loads(b64decode(text)))
        assert set(found) == {"a.x", "lb.x"}
        return found

    def migrate(self, *words: str) -> dict[str, bytes]:
        self.said = self.ansible("ansible-playbook", *words, str(self.play))
        out = self.folder / "out"
        for path in (out, *out.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def same(self, *old: str, new: tuple[str, ...] = ()) -> None:
        """Check that each host that stays has the same variables afterwards, except for the new home."""
        files = self.migrate(*old)
        before = self.variables(*old)
        for each in before.values():
            each.update(MOVED_DATABASE)
        assert self.variables("-i", "out", *new) == before
        for name, content in files.items():
            assert not [secret for secret in SECRETS if secret.encode() in content], name


INI = """[rspm_nodes]
a.x ansible_host=10.0.0.1
b.x
[rspm_database]
db.x
[rspm_load_balancer]
lb.x team_balancer=1
[prod:children]
rspm_nodes
rspm_load_balancer
[prod:vars]
team_prod=true
rspm_address=http://{{ team_name }}
[all:vars]
team_name=packages.example.org
"""
TREE = """all:
  vars: {team_name: packages.example.org}
  children:
    rspm_nodes: {hosts: {a.x: {ansible_host: 10.0.0.1}, b.x: {}}}
    rspm_database: {hosts: {db.x: }}
    rspm_load_balancer: {hosts: {lb.x: }}
    prod: {children: {rspm_nodes: , rspm_load_balancer: }, vars: {rspm_address: "http://{{ team_name }}"}}
"""


def _ini(team: Team, place: str) -> list[str]:
    team.put(f"{place}hosts", INI)
    return ["-i", f"{place}hosts"]


def _tree(team: Team, place: str) -> list[str]:
    team.put(f"{place}site.yaml", TREE)
    return ["-i", f"{place}site.yaml"]


def _folder(team: Team, place: str) -> list[str]:
    team.put(f"{place}hosts", INI)
    return ["-i", place or "."]


FORMS: list[tuple[Callable[[Team, str], list[str]], str]] = [
    (_ini, "inv/"),
    (_ini, ""),
    (_ini, "team.v2/prod.d/"),
    (_tree, "inv/"),
    (_folder, "inv/"),
    (_folder, "team.v2/"),
]


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


@pytest.mark.parametrize(("form", "place"), FORMS)
def test_each_form_of_an_inventory_is_carried_with_its_vaults(
    team: Team, form: Callable[[Team, str], list[str]], place: str
) -> None:
    words = form(team, place)
    team.put(f"{place}group_vars/all/plain.yml", "rspm_version: 2026.08.0\nrspm_database_password: '{{ vault_pw }}'\n")
    team.put(f"{place}group_vars/all/vault", "vault_pw: geheim-file\nrspm_uid: 941\n", vaulted=True)
    team.put(f"{place}group_vars/rspm_nodes.yml", "rspm_database_host: old\nteam_x: nodes\n")
    team.put(
        f"{place}group_vars/rspm_load_balancer/tls.yml", "rspm_load_balancer_certificate: geheim-file\n", vaulted=True
    )
    inline = _encrypt(team.vault, "geheim-inline", "rspm_encryption_key")
    team.put(f"{place}host_vars/a.x.yml", f"team_x: host\n{inline}")
    team.put(f"{place}host_vars/b.x.yml", "team_gone: 1\n")
    team.same(*words)
    assert "'r.missing': []" in team.said or '"r.missing": []' in team.said
    copied = team.folder / "out/group_vars/rspm_load_balancer/00_tls.yml"
    assert copied.read_text().startswith("$ANSIBLE_VAULT")


def test_addresses_that_come_from_a_host_that_goes_are_kept(team: Team) -> None:
    words = _ini(team, "")
    team.put("hosts", INI.replace("\ndb.x\n", "\ndb.x team_address=10.0.0.9\n"))
    own = "{{ hostvars['db.x']['team_address'] }}"
    team.put("group_vars/all.yml", f'rspm_ntp_servers: ["{own}"]\nrspm_nfs_server: "{own}"\n')
    team.same(*words)
    settings = read((team.folder / "out/host_vars/a.x/zz_single_node.yml").read_bytes())
    assert (settings["rspm_ntp_servers"], settings["rspm_nfs_server"]) == (["10.0.0.9"], "10.0.0.9")


def test_several_inventories_and_the_playbooks_folder_are_read_in_their_order(team: Team) -> None:
    team.put("one/hosts", INI)
    team.put("one/group_vars/all.yml", "team_x: one\nteam_one: 1\n")
    team.put("two/more", "[rspm_nodes]\na.x team_more=1\n")
    team.put("two/group_vars/all", "team_x: two\n")
    team.put("group_vars/all.json", '{"team_play": 1}')
    team.same("-i", "one/hosts", "-i", "two/more", "-i", "a.x,")


def test_what_was_typed_is_carried_and_what_can_not_be_is_said(team: Team) -> None:
    words = _ini(team, "inv/")
    team.put("inv/group_vars/rspm_nodes.yml", "rspm_http_port: 1\n")
    team.put("inv/host_vars/a.x", "rspm_http_port: 2\n")
    team.put("extra.yml", "rspm_encryption_key: geheim-extra\nrspm_http_port: 3\n", vaulted=True)
    team.put("run.yml", "rspm_migration_target: a.x\n")
    typed = ["-e", "@extra.yml", "-e", "@run.yml", "-e", "rspm_gid=7 rspm_report_file=x"]
    typed += ["-e", '{"rspm_config": {"Git": {"A": 1}}}']
    secret = ["-e", "rspm_database_password=geheim-typed"]
    files = team.migrate(*words, *typed, *secret)
    assert '"rspm_database_password"' in team.said and "geheim" not in team.said
    assert not any(b"geheim" in content for content in files.values())
    assert not any("run.yml" in name for name in files)
    before = team.variables(*words, *typed, *secret)["a.x"]
    after = team.variables("-i", "out", *secret)["a.x"]
    for gone in ("rspm_report_file", "rspm_migration_target"):
        del before[gone]
    assert after == {**before, **MOVED_DATABASE} and after["rspm_http_port"] == 3
    team.migrate(*words, *typed, *secret)
    assert "changed=0" in team.said


def test_an_inventory_in_a_vault_and_secrets_in_clear_are_not_written(team: Team) -> None:
    team.put(
        "inv/hosts.yml",
        TREE.replace("{team_name:", "{rspm_gid: 9, rspm_allow_unlicensed: true, team_name:"),
        vaulted=True,
    )
    team.put("inv/plain", "[rspm_nodes]\na.x ansible_become_password=geheim-plain\n")
    files = team.migrate("-i", "inv/hosts.yml", "-i", "inv/plain")
    assert not any(b"geheim" in content or b"rspm_gid: 9" in content for content in files.values())
    for name in ("ansible_become_password", "rspm_allow_unlicensed", "rspm_gid", "team_name"):
        assert f'"{name}"' in team.said


def test_a_check_writes_nothing_and_a_run_on_its_own_inventory_leaves_it(team: Team) -> None:
    words = _ini(team, "inv/")
    said = team.ansible("ansible-playbook", *words, str(team.play), "--check")
    assert "changed=1" in said and not (team.folder / "out").exists()
    files = team.migrate(*words)
    assert team.migrate("-i", "out") == files and "changed=0" in team.said
