# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every mistake in what a team types is told by the name that was typed, alone, and a secret is never told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.plugin_utils._variables import check
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.check import Fault, Given
from ansible_collections.rspm.ha.plugins.plugin_utils._variables.spec import faults, read_options

ROLE = Path(__file__).parents[3] / "roles" / "rspm"
SPEC = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["variables"]["options"]
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
OPTIONS = read_options(SPEC)
GROUPS = {
    "all": ["n1", "n2", "infra", "lb"],
    "ungrouped": [],
    "rspm_nodes": ["n1", "n2"],
    "rspm_database": ["infra"],
    "rspm_nfs_server": ["infra"],
    "rspm_load_balancer": ["lb"],
}
TYPED = {
    "rspm_version": "2026.04.0",
    "rspm_address": "https://pm",
    "rspm_database_password": "canary",
    "rspm_package_source": "repository",
}


def values(**typed: Any) -> dict[str, dict[str, Given]]:
    """Return what all hosts have: derived values, defaults, and what was typed."""
    derived = {
        name: Given("infra", unset=True) for name in OPTIONS if name not in DEFAULTS or "{{" in str(DEFAULTS[name])
    }
    defaults = {name: Given(value, unset=True) for name, value in DEFAULTS.items()}
    own = {name: value if isinstance(value, Given) else Given(value) for name, value in {**TYPED, **typed}.items()}
    return {host: {**defaults, **derived, **own} for host in GROUPS["all"]}


def told(verb: str = "site", **typed: Any) -> list[tuple[str, str, str]]:
    return check.merged(list(check.value_faults(OPTIONS, values(**typed), GROUPS, verb)), GROUPS["all"])


def test_what_is_right_is_not_told() -> None:
    assert told() == []
    assert list(check.group_faults(GROUPS)) == []
    assert told(rspm_nfs_version=4.2, rspm_http_port="4242", rspm_config={"Git": {"PollInterval": "5m"}}) == []
    assert told(ansible_become_password="canary", ansible_port=22) == []
    assert told("status", rspm_version="", rspm_address="", rspm_database_password="") == []


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_every_literal_default_is_right(name: str, default: object) -> None:
    if "{{" not in str(default):
        assert list(faults(OPTIONS[name], default)) == []


# Each is planted alone: variable, value, where it is told, what is said.
PLANTED: list[tuple[str, Any, str, str]] = [
    ("rspm_http_port", "abc", "all hosts", "is 'abc', not a whole number"),
    ("rspm_http_port", True, "all hosts", "is True, not a whole number"),
    ("rspm_http_port", 70000, "all hosts", "is 70000. Use a port from 1 to 65535"),
    ("rspm_uid", 0, "all hosts", "Use an id that is not root's"),
    ("rspm_clock_limit", "soon", "all hosts", "not a number"),
    ("rspm_allow_unlicensed", "false", "all hosts", "-e '{\"rspm_allow_unlicensed\": ...}'"),
    ("rspm_ntp_servers", "infra", "all hosts", "is 'infra', not a list"),
    ("rspm_ntp_servers", ["infra", {}], "all hosts", "item 2 of rspm_ntp_servers is a mapping, not a text"),
    ("rspm_config", [], "all hosts", "is a list, not a mapping"),
    ("rspm_package_repository", {"url": "x"}, "all hosts", "has the key url. Use uri, suites, components, signed_by"),
    ("rspm_package_repository", {"suites": "x"}, "all hosts", "rspm_package_repository.suites is 'x', not a list"),
    ("rspm_storage_kind", "cifs", "all hosts", "Use nfs, existing, local"),
    ("rspm_storage_path", "srv", "all hosts", "Write the path from / on"),
    ("rspm_address", "packages.example.org", "all hosts", "Write the whole URL"),
    ("rspm_version", "latest", "all hosts", "Write it as the vendor does"),
    ("rspm_version", 2026.08, "all hosts", "is 2026.08. Write it as the vendor does"),
    ("rspm_version", "", "n1, n2", "is empty. Set it to the version"),
    ("rspm_version", None, "n1, n2", "is empty"),
    ("rspm_address", "", "n1, n2", "is empty. Set it to the URL"),
    ("rspm_database_password", "", "n1, n2, infra", "is empty. Set it in a vault"),
    ("rspm_database_password", {"a": "canary"}, "all hosts", "is a mapping, not a text"),
    ("rspm_database_password", Given(missing="vault_pw"), "all hosts", "needs vault_pw, which is not defined"),
    (
        "rspm_database_password",
        Given(unreadable="is in a vault"),
        "all hosts",
        "is in a vault. See what ansible-inventory",
    ),
    ("rspm_database_host", "", "n1, n2", "Put a host into the group rspm_database, or set it"),
    ("rspm_nfs_server", "", "n1, n2", "Put a host into the group rspm_nfs_server"),
    ("rspm_load_balancer_certificate", 7 * [1], "all hosts", "is a list, not a text"),
    ("rspm_package_checksum", "md5:1", "all hosts", "Write sha256: and the 64 digits"),
    ("rspm_nfs_cache", "none", "all hosts", "Use lookupcache=pos"),
    ("rspm_http_port", None, "all hosts", "has no value. Give it one, or remove the line rspm_http_port:"),
    ("ansible_become_password", Given(missing="vault_sudo"), "all hosts", "needs vault_sudo, which is not defined"),
    ("rspm_verison", "2026.04.0", "all hosts", "is no variable of the collection. Is it rspm_version?"),
    ("rspm_xyzzy", 1, "all hosts", "is no variable of the collection. See docs/variables.md"),
]


@pytest.mark.parametrize(("name", "value", "where", "says"), PLANTED)
def test_one_mistake_is_told_alone(name: str, value: object, where: str, says: str) -> None:
    rows = told("site", **{name: value})
    assert [row[:2] for row in rows if row[0] == name] == [(name, where)] or "n1" in where
    assert {row[0] for row in rows} == {name}
    assert any(says in row[2] and row[1] == where for row in rows), rows
    assert "canary" not in str(rows)


@pytest.mark.parametrize("verb", ["site", "preflight", "upgrade"])
def test_what_comes_from_an_address_needs_its_sum(verb: str) -> None:
    rows = told(verb, rspm_package_source="url")
    assert [row[:2] for row in rows] == [("rspm_package_checksum", "n1, n2")]
    assert "is empty. Set it to sha256:" in rows[0][2]
    assert told(verb, rspm_package_source="url", rspm_package_checksum="sha256:" + "0" * 64) == []
    for verb_without in ("rollback", "status"):
        assert told(verb_without, rspm_package_source="url") == []


def test_the_nfs_server_is_needed_by_nfs_alone() -> None:
    assert told(rspm_nfs_server="", rspm_storage_kind="existing") == []


@pytest.mark.parametrize(("name", "group"), [("rspm_database_host", "rspm_database"), ("rspm_nfs_server",) * 2])
def test_the_address_of_a_host_of_ours_need_not_be_known_yet(name: str, group: str) -> None:
    all_values = values(**{name: Given("", unset=True)})
    assert list(check.value_faults(OPTIONS, all_values, GROUPS, "site")) == []
    without = {key: hosts for key, hosts in GROUPS.items() if key != group}
    assert {fault.subject for fault in check.value_faults(OPTIONS, all_values, without, "site")} == {name}


def test_a_migration_needs_its_target() -> None:
    assert [row[0] for row in told("migrate_to_single_node")] == ["rspm_migration_target"]
    assert told("migrate_to_single_node", rspm_migration_target="n1") == []
    assert told("migrate_to_single_node", rspm_migration="abort") == []


def test_what_follows_from_a_fault_is_not_told_again() -> None:
    follows = Given(missing="vault_licence", unset=True)
    rows = told(rspm_licence=Given(missing="vault_licence"), rspm_migration_deactivate_licence=follows)
    assert [row[0] for row in rows] == ["rspm_licence"]


def test_a_value_on_one_host_is_told_of_that_host() -> None:
    all_values = values()
    all_values["n2"]["rspm_http_port"] = Given("abc")
    rows = check.merged(list(check.value_faults(OPTIONS, all_values, GROUPS, "site")), GROUPS["all"])
    assert rows == [("rspm_http_port", "n2", "is 'abc', not a whole number. Write it as 42.")]


SECRETS = [name for name, option in OPTIONS.items() if option.secret]
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just("canary"), st.just("canary\n-----BEGIN")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.just("canary"), inner, max_size=2)),
)


@given(st.sampled_from(SECRETS), ANYTHING)
def test_no_secret_is_ever_told(name: str, value: object) -> None:
    found = [Fault(name, text, fix) for text, fix in faults(OPTIONS[name], value)]
    assert not found or "canary" not in check.table(found, [])


def test_a_mapping_with_a_secret_tells_of_its_other_keys() -> None:
    spec = {"rspm_x": {"type": "dict", "options": {"key": {"type": "str", "no_log": True}, "file": {"type": "str"}}}}
    option = read_options(spec)["rspm_x"]
    assert [found for found, _fix in faults(option, "canary")] == ["rspm_x is a text, not a mapping"]
    assert [found for found, _fix in faults(option, {"fiel": "x"})] == ["rspm_x has the key fiel"]
    assert [found for found, _fix in faults(option, {"canary": "x"})] == ["rspm_x has a key of another name"]
    assert [found for found, _fix in faults(option, {"file": True})] == ["rspm_x.file is True, not a text"]
    assert [found for found, _fix in faults(option, {"key": True})] == ["rspm_x.key is a truth value, not a text"]


def test_the_secrets_are_known_as_such() -> None:
    assert {"rspm_database_password", "rspm_encryption_key", "rspm_load_balancer_certificate", "rspm_config"} <= set(
        SECRETS
    )


# Each inventory: its groups beside `all`, what is told, and about what.
INVENTORIES: list[tuple[dict[str, list[str]], str, str]] = [
    ({}, "rspm_nodes", "is no group of the inventory. Put the nodes into it"),
    ({"rspm_nodes": []}, "rspm_nodes", "has no host"),
    ({"rspm_node": ["n1"]}, "rspm_node", "Name it rspm_nodes"),
    ({"rspm-nodes": ["n1"]}, "rspm-nodes", "Name it rspm_nodes"),
    ({"rpsm_nodes": ["n1"]}, "rpsm_nodes", "Name it rspm_nodes"),
    ({"rspm_servers": ["n1"]}, "rspm_nodes", "Is it rspm_servers?"),
    ({"rspm_nodes": ["n1"], "rspm_databse": ["n1"]}, "rspm_databse", "Name it rspm_database"),
    ({"rspm_nodes": ["n1"], "rspm_nfs_servers": ["n1"]}, "rspm_nfs_servers", "Name it rspm_nfs_server"),
    ({"rspm_nodes": ["n1"], "rspm_loadbalancer": ["n1"]}, "rspm_loadbalancer", "Name it rspm_load_balancer"),
    ({"rspm_nodes": ["n1"], "rspm_node": ["n2"]}, "rspm_node", "Name it rspm_nodes"),
]


@pytest.mark.parametrize(("groups", "subject", "says"), INVENTORIES)
def test_a_wrong_group_is_told_alone(groups: dict[str, list[str]], subject: str, says: str) -> None:
    found = list(check.group_faults({"all": ["n1", "n2"], "ungrouped": [], **groups}))
    assert [fault.subject for fault in found] == [subject]
    assert says in f"{found[0].found}. {found[0].fix}"


def test_an_inventory_without_hosts_is_told_as_such() -> None:
    assert [fault.subject for fault in check.group_faults({"all": [], "ungrouped": []})] == ["inventory"]


@pytest.mark.parametrize("name", ["rspm", "rspm_nodes_eu", "web", "rspm_nodez"])
def test_a_group_of_the_team_s_own_is_none_of_ours(name: str) -> None:
    hosts = ["n1"] if name == "rspm_nodez" else ["n1", "n9"]
    assert list(check.group_faults({**GROUPS, name: hosts})) == []


@pytest.mark.parametrize("verb", sorted(check.VERBS))
def test_limit_has_to_leave_what_a_verb_needs(verb: str) -> None:
    assert list(check.limit_faults(verb, GROUPS, GROUPS["all"])) == []
    found = list(check.limit_faults(verb, GROUPS, ["n1", "infra", "lb"]))
    assert bool(found) == (verb != "unlock")
    assert all("n2" in fault.found for fault in found)
    without_balancer = list(check.limit_faults(verb, GROUPS, ["n1", "n2", "infra"]))
    assert bool(without_balancer) == (verb in ("site", "preflight", "migrate_to_single_node"))


def test_options_that_leave_out_tasks_are_told() -> None:
    usual = {"start_at_task": None, "step": False, "tags": ["all"], "skip_tags": [], "subset": "n1"}
    assert list(check.option_faults(usual)) == []
    for name, value in {"start_at_task": "x", "step": True, "tags": ["x"], "skip_tags": ["x"]}.items():
        found = list(check.option_faults({**usual, name: value}))
        assert [fault.subject for fault in found] == [f"--{name.replace('_', '-')}"]


WORDS = st.text("abc", max_size=5)


@given(WORDS, WORDS)
def test_distance_counts_letters(left: str, right: str) -> None:
    assert check.distance(left, right) == check.distance(right, left)
    assert (check.distance(left, right) == 0) == (left == right)
    assert check.distance(left, left + right) == len(right)
    assert abs(len(left) - len(right)) <= check.distance(left, right) <= max(len(left), len(right))


def test_the_table_is_plain() -> None:
    found = [
        Fault("a", "is b", "Do c", ("n1",)),
        Fault("long_name", "is d", "Is it e?", ("n1", "n2")),
        Fault("f", "g", "H"),
    ]
    assert check.table(found, ["n1", "n2"]).splitlines() == [
        "3 problems with what was typed. No machine was asked or changed.",
        "",
        "a          n1         is b. Do c.",
        "long_name  all hosts  is d. Is it e?",
        "f                     g. H.",
    ]
