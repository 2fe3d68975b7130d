# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever variable has a wrong type: each verb says so by its name, and no secret is in what it prints."""

from __future__ import annotations

import json

import pytest

from tests.unit.worlds.typed_world import (
    CANARY,
    CORES,
    PLAIN_WRONG,
    ROLES,
    SECRETS,
    SPEC,
    VERBS,
    WRONG,
    World,
    make_world,
    told,
)


@pytest.fixture(scope="module", params=sorted(CORES))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(request.param, tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_variable_of_a_wrong_type_is_told_and_no_secret_with_it(world: World, verb: str) -> None:
    wrong = {name: PLAIN_WRONG[option["type"]] for name, option in SPEC.items() if name not in SECRETS}
    output = world.run(f"rspm.ha.{verb}", wrong)
    assert CANARY not in output
    assert told(output) == set(wrong)
    assert "UNREACHABLE" not in output


@pytest.mark.parametrize("verb", VERBS)
def test_a_secret_of_a_wrong_type_is_told_without_its_value(world: World, verb: str) -> None:
    wrong = {name: WRONG[SPEC[name]["type"]] for name in SECRETS}
    output = world.run(f"rspm.ha.{verb}", wrong)
    assert CANARY not in output
    assert told(output) == set(wrong)


@pytest.mark.parametrize("verb", ["site", "upgrade", "migrate_to_single_node"])
def test_no_secret_is_told_where_machines_are_not_reached(world: World, verb: str) -> None:
    output = world.run(f"rspm.ha.{verb}", {})
    assert CANARY not in output
    assert "with what was typed" not in output


def test_roles_alone_tell_what_is_wrong_without_a_secret(world: World) -> None:
    wrong = {name: PLAIN_WRONG[option["type"]] for name, option in SPEC.items() if name not in SECRETS}
    wrong.update({name: WRONG[SPEC[name]["type"]] for name in SECRETS if name != "rspm_database_password"})
    plays = [
        {
            "name": role,
            "hosts": "rspm_nodes",
            "gather_facts": False,
            "tasks": [
                {
                    "name": role,
                    "block": [{"name": role, "ansible.builtin.import_role": {"name": f"rspm.ha.{role}"}}],
                    "rescue": [{"name": "Go on", "ansible.builtin.debug": {"msg": "refused"}}],
                }
            ],
        }
        for role in ROLES
    ]
    end = {
        "name": "End",
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"name": "End", "ansible.builtin.fail": {}}],
    }
    (world.folder / "roles.yml").write_text(json.dumps([*plays, end]))
    output = world.run("roles.yml", wrong)
    assert CANARY not in output
    assert output.count('"msg": "refused"') >= len(ROLES)
    assert "UNREACHABLE" not in output
    assert told(output) >= set(wrong)
