# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which addresses hosts meet each other: what a host tells of itself, and what is made of it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.lookup.addresses import LookupModule
from ansible_collections.rspm.ha.plugins.module_utils._address import host as address_host
from ansible_collections.rspm.ha.plugins.modules.node_address import tell
from ansible_collections.rspm.ha.plugins.plugin_utils._address.rules import (
    DATABASE,
    STORAGE,
    Host,
    names_to_resolve,
    node_addresses,
    server_address,
)

MANAGED = Host("pm-a.example.org", connection="10.1.0.1", own=("10.1.0.1",), primary="10.1.0.1")
FACTS = {"own": ["10.1.0.1"], "primary": "10.1.0.1"}


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (MANAGED, "10.1.0.1"),
        (Host("db", given="db.service", connection="10.1.0.9", own=("10.1.0.9",)), "db.service"),
        # behind a translation of addresses, the machine has another address than Ansible connects to
        (Host("db", connection="192.0.2.9", primary="10.2.0.9"), "10.2.0.9"),
        (Host("db.example.org", connection="db.example.org", primary="10.2.0.9"), "10.2.0.9"),
        (Host("db.example.org", connection="10.1.0.9"), "10.1.0.9"),
        (Host("db.example.org", connection="db.example.org"), "db.example.org"),
    ],
)
def test_where_a_server_is_met(host: Host, wanted: str) -> None:
    assert server_address(host) == wanted


@pytest.mark.parametrize(
    ("host", "towards", "wanted"),
    [
        (replace(MANAGED, sources={DATABASE: ("10.2.0.1",)}), DATABASE, ["10.2.0.1"]),
        (replace(MANAGED, sources={DATABASE: ("10.2.0.1",)}), STORAGE, ["10.2.0.1"]),
        (Host("a", sources={DATABASE: ("10.2.0.1",), STORAGE: ("10.3.0.1",)}), STORAGE, ["10.3.0.1"]),
        (Host("a", sources={DATABASE: ("10.2.0.1", "fd00::1")}), DATABASE, ["10.2.0.1", "fd00::1"]),
        (Host("a", sources={DATABASE: ("10.2.0.1", "fd00::1")}), "", ["10.2.0.1"]),
        (Host("a", given="10.9.0.1", sources={DATABASE: ("10.2.0.1",)}), DATABASE, ["10.9.0.1"]),
        (Host("a", given="pm-a", sources={DATABASE: ("10.2.0.1",)}), DATABASE, ["10.4.0.1", "fd00::4"]),
        (Host("a", given="pm-a"), "", ["10.4.0.1"]),
        (Host("a", given="unknown"), DATABASE, ["unknown"]),
        # the database on the node itself: its own connections come from its loopback, those of others don't go there
        (Host("a", primary="10.1.0.1", sources={DATABASE: ("127.0.0.1",)}), DATABASE, ["127.0.0.1"]),
        (Host("a", primary="10.1.0.1", sources={DATABASE: ("127.0.0.1",)}), "", ["10.1.0.1"]),
        (MANAGED, DATABASE, ["10.1.0.1"]),
        (Host("pm-a", connection="pm-a"), STORAGE, ["10.4.0.1", "fd00::4"]),
    ],
)
def test_where_a_node_comes_from(host: Host, towards: str, wanted: list[str]) -> None:
    assert node_addresses(host, towards, {"pm-a": ["10.4.0.1", "fd00::4"]}) == wanted


ADDRESSES = st.sampled_from(["10.1.0.1", "10.2.0.1", "fd00::1", "127.0.0.1"])
HOSTS = st.builds(
    Host,
    name=st.just("pm-a"),
    given=st.sampled_from(["", "10.9.0.1", "pm-a.service"]),
    connection=st.sampled_from(["10.1.0.1", "pm-a"]),
    own=st.lists(ADDRESSES.filter(lambda each: each != "127.0.0.1"), max_size=2).map(tuple),
    primary=st.sampled_from(["", "10.1.0.1"]),
    sources=st.dictionaries(st.sampled_from([DATABASE, STORAGE]), st.lists(ADDRESSES, min_size=1).map(tuple)),
)


@given(HOSTS)
def test_another_machine_meets_every_node_at_one_address_which_is_never_its_loopback(host: Host) -> None:
    (address,) = node_addresses(host, "", {"pm-a": ["10.4.0.1"], "pm-a.service": ["10.5.0.1"]})
    assert not ipaddress.ip_address(address).is_loopback
    assert not host.given or address in (host.given, "10.5.0.1")


def test_only_names_are_resolved() -> None:
    hosts = [Host("a", given="pm-a"), Host("b", given="10.0.0.1"), Host("c", given="fd00::1"), Host("d")]
    assert names_to_resolve(hosts) == ["pm-a"]


def test_a_host_tells_what_it_has_and_uses() -> None:
    told = tell("127.0.0.1", {"database": "127.0.0.1", "storage": ""}, ["localhost", "nowhere.invalid"])
    assert told["own"] == [] and told["sources"] == {"database": ["127.0.0.1"]}
    assert "127.0.0.1" in told["resolved"]["localhost"] and "nowhere.invalid" not in told["resolved"]
    if told["primary"]:
        assert address_host.is_own(told["primary"])
        assert tell(told["primary"], {}, [])["own"] == [told["primary"]]


def test_an_address_of_somebody_else_is_none_of_ours() -> None:
    assert not address_host.is_own("240.0.0.1") and not address_host.is_own("127.0.0.1")
    assert tell("nowhere.invalid", {"database": "nowhere.invalid"}, [])["sources"] == {}


def lookup(*names: str, hostvars: dict[str, Any], inventory_hostname: str = "db", **given: str) -> list[str]:
    variables = {"hostvars": hostvars, **hostvars[inventory_hostname]}
    with pytest.MonkeyPatch.context() as patch:
        # both need the plugin to be loaded by Ansible
        patch.setattr(LookupModule, "set_options", lambda *_given, **_more: None)
        patch.setattr(LookupModule, "get_option", lambda *_given: given.get("towards", "server"))
        return LookupModule().run(list(names), variables, **given)


def test_the_lookup_reads_the_inventory_and_what_hosts_told() -> None:
    knows = {"resolved": {"pm-c": ["10.2.0.3"]}}
    hostvars: dict[str, Any] = {
        "a": {"ansible_host": "10.1.0.1", "ansible_facts": {"cluster_addresses": {**FACTS, "sources": {}}}},
        "b": {"ansible_facts": {"cluster_addresses": {"primary": "", "sources": {"database": ["10.2.0.2"]}}}},
        "c": {"rspm_node_address": "pm-c"},
        "db": {
            "ansible_host": "10.1.0.9",
            "ansible_facts": {"cluster_addresses": knows},
        },
    }
    clients = lookup("a", "b", "c", hostvars=hostvars, towards="database")
    assert clients == ["10.1.0.1", "10.2.0.2", "10.2.0.3"]
    assert lookup("a", "a", hostvars=hostvars, towards="node") == ["10.1.0.1", "10.1.0.1"]
    assert lookup("a", "a", hostvars=hostvars, towards="storage") == ["10.1.0.1"]
    assert lookup("db", hostvars=hostvars) == ["10.1.0.9"] and lookup("c", hostvars=hostvars) == ["pm-c"]
    with pytest.raises(AnsibleError, match="no host x"):
        lookup("x", hostvars=hostvars)
