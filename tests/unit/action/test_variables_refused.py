# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can't be read, breaks the order of a verb or leaves it without nodes is refused before a machine is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.worlds.typed_world import CANARY, CORES, World, make_world, told_first


@pytest.fixture(scope="module", params=sorted(CORES))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(request.param, tmp_path_factory.mktemp("world"))


def test_a_vault_variable_that_is_not_defined_is_told_by_its_name(world: World) -> None:
    output = world.run("rspm.ha.site", {"rspm_database_password": CANARY + "{{ vault_of_another_team }}"})
    assert "needs vault_of_another_team, which is not defined" in output
    assert CANARY not in output


def test_a_password_for_sudo_that_is_not_defined_is_told_with_the_rest(world: World) -> None:
    sudo = {"ansible_become": True, "ansible_become_user": "root", "ansible_become_password": "{{ vault_sudo }}"}
    output = world.run("rspm.ha.site", {**sudo, "rspm_http_port": "abc"})
    # what is typed with -e stands above the check's own
    assert "vault_sudo" in output
    everyone = world.folder / "inventory" / "group_vars" / "all" / "sudo.yml"
    everyone.write_text(json.dumps(sudo))
    try:
        output = world.run("rspm.ha.site", {"rspm_http_port": "abc"})
    finally:
        everyone.unlink()
    assert told_first(output) == {"ansible_become_password", "rspm_http_port"}
    assert "needs vault_sudo, which is not defined" in output


def test_a_vault_that_is_not_opened_is_told(world: World) -> None:
    output = world.run("rspm.ha.site", {}, password="not-the-one")
    assert CANARY not in output
    assert "decrypt" in output.lower()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--limit", "n1"], "leaves out n2, infra, lb"),
        (["--start-at-task", "The package*"], "--start-at-task  would leave out tasks"),
        (["--tags", "x"], "--tags  would leave out tasks"),
        (["--skip-tags", "always"], "--skip-tags  would leave out tasks"),
        (["-e", "rspm_verison=2026.08.0"], "is no variable of the collection. Is it rspm_version?"),
    ],
)
def test_what_breaks_a_verb_is_refused_before_a_machine_is_asked(world: World, args: list[str], says: str) -> None:
    output = world.run("rspm.ha.site", {}, *args)
    assert says in output
    assert "UNREACHABLE" not in output


@pytest.mark.parametrize(
    "groups", [{}, {"rspm_nodes": []}, {"rspm_node": ["n1"]}, {"web": ["n1"], "rspm_database": ["n1"]}]
)
def test_without_nodes_nothing_begins(world: World, groups: dict[str, list[str]], tmp_path: Path) -> None:
    unreachable = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {group: {"hosts": dict.fromkeys(names, unreachable)} for group, names in groups.items()}
    (tmp_path / "inventory").write_text(json.dumps({"all": {"children": hosts}}))
    output = World(tmp_path, world.command).run("rspm.ha.site", {}, ANSIBLE_HOST_PATTERN_MISMATCH="error")
    nodes = "inventory" if not any(groups.values()) else "rspm_node" if "rspm_node" in groups else "rspm_nodes"
    assert nodes in told_first(output)
    assert "UNREACHABLE" not in output


def test_the_groups_that_a_team_may_leave_out_may_be_absent_where_a_mismatch_is_an_error(
    world: World, tmp_path: Path
) -> None:
    unreachable = {
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
        "rspm_database_host": "db",
        "rspm_storage_kind": "existing",
    }
    unreachable.update(rspm_version="2026.04.0", rspm_address="https://pm", rspm_database_password=CANARY)
    unreachable.update(rspm_package_source="repository")
    (tmp_path / "inventory").write_text(json.dumps({"rspm_nodes": {"hosts": {"n1": unreachable}}}))
    output = World(tmp_path, world.command).run("rspm.ha.site", {}, ANSIBLE_HOST_PATTERN_MISMATCH="error")
    assert "Connection refused" in output
    assert "with what was typed" not in output
    assert "Could not match" not in output
