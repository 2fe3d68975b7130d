# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node as a whole: what /proc, ss and stat say, and what follows from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.unit import config_hash
from ansible_collections.rspm.ha.plugins.module_utils._core.process import is_server
from ansible_collections.rspm.ha.plugins.module_utils._node.rules import (
    Clock,
    Mount,
    NodeState,
    parse_listening,
)
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import PackageState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import ApiState, ConfigState, UnitState

FILES = {"/etc/rstudio-pm/rstudio-pm.gcfg": "aa"}
NODE = NodeState(
    host="node1",
    package=PackageState("2026.04.0", "installed", True, "2026.04.0"),
    unit=UnitState("loaded", "enabled", "active", "running", 812, 2000.0, 0, False, False, "/x", ""),
    api=ApiState("http://127.0.0.1:4242", 200, "2026.04.0"),
    config=ConfigState("h", "/mnt/rstudio-pm/data", "/mnt/rstudio-pm/data/rstudio-pm.key", "kk", FILES, FILES),
    processes=(812,),
    listening=("*:4242",),
    binary_changed_at=1000.0,
    mount=Mount("/mnt/rstudio-pm", "nfs4", "nfs1:/srv", ("rw",)),
    clock=Clock(True, 0.001, "nfs1"),
    free_bytes={"/": 1},
    staged=(),
    busy="",
)
QUIET = ApiState("http://127.0.0.1:4242", 0, "", "Connection refused")


def test_running_version() -> None:
    assert NODE.running_version == "2026.04.0"
    starting = dataclasses.replace(NODE, api=QUIET)
    assert starting.running_version == "2026.04.0"
    replaced = dataclasses.replace(starting, binary_changed_at=3000.0)
    assert replaced.running_version == ""
    stopped = dataclasses.replace(starting, processes=(), unit=dataclasses.replace(NODE.unit, pid=0))
    assert stopped.running_version == "" and not stopped.running


def test_a_process_outside_of_the_unit_is_seen() -> None:
    stray = dataclasses.replace(
        NODE, api=QUIET, unit=dataclasses.replace(NODE.unit, pid=0, active_state="inactive", started_at=0.0)
    )
    assert stray.running and stray.running_version == ""


@pytest.mark.parametrize(
    ("changes", "blocked"),
    [
        ({}, False),
        ({"blocked_for": "upgrade"}, True),
        ({"load_state": "masked"}, True),
        ({"file_state": "masked-runtime"}, True),
        ({"load_state": "not-found"}, True),
    ],
)
def test_blocked_by_any_means(changes: dict[str, Any], blocked: bool) -> None:
    assert dataclasses.replace(NODE, unit=dataclasses.replace(NODE.unit, **changes)).blocked is blocked


def test_a_start_is_needed_where_node_start_would_do_something_or_wait() -> None:
    assert not NODE.start_needed and not NODE.to_dict()["start_needed"]
    assert not dataclasses.replace(NODE, api=dataclasses.replace(NODE.api, health_code=402)).start_needed
    units: list[dict[str, Any]] = [
        {"pid": 0, "active_state": "failed"},
        {"file_state": "disabled"},
        {"blocked_for": "install"},
    ]
    others: list[dict[str, Any]] = [
        {"api": QUIET},
        {"api": dataclasses.replace(NODE.api, starting=True)},
        {"api": dataclasses.replace(NODE.api, version="2025.12.0")},
        {"config": dataclasses.replace(NODE.config, files={"/etc/rstudio-pm/rstudio-pm.gcfg": "bb"})},
    ]
    for changes in [*({"unit": dataclasses.replace(NODE.unit, **each)} for each in units), *others]:
        assert dataclasses.replace(NODE, **changes).start_needed, changes


def test_no_fast_sum_of_what_holds_a_password_is_shown() -> None:
    text = "[Database]\nPassword = spring\n"
    sums = {"/etc/rstudio-pm/rstudio-pm.gcfg": hashlib.sha256(text.encode()).hexdigest()}
    config = dataclasses.replace(NODE.config, config_hash=config_hash(text), files=sums, started_with=sums)
    shown = json.dumps(dataclasses.replace(NODE, config=config).to_dict())
    assert config_hash(text) in shown
    for name in sorted(hashlib.algorithms_guaranteed):
        if not name.startswith("shake"):
            assert hashlib.new(name, text.encode()).hexdigest() not in shown


def test_to_dict_is_json_and_has_what_follows() -> None:
    shown = json.loads(json.dumps(NODE.to_dict()))
    assert shown["restart_needed"] is False and shown["restart_reasons"] == []
    assert shown["running"] is True and shown["running_version"] == "2026.04.0"
    assert shown["mount"]["fstype"] == "nfs4" and shown["package"]["held"] is True
    assert json.loads(json.dumps(dataclasses.replace(NODE, mount=None, clock=None).to_dict()))["clock"] is None


@pytest.mark.parametrize(
    ("executable", "arguments", "expected"),
    [
        ("/opt/rstudio-pm/bin/rstudio-pm", ["/opt/rstudio-pm/bin/rstudio-pm", "--config", "x"], True),
        ("/opt/rstudio-pm/bin/rstudio-pm (deleted)", ["rstudio-pm"], True),
        ("/usr/bin/python3.11", ["/usr/bin/python3", "/opt/rstudio-pm/bin/rstudio-pm"], True),
        ("/usr/bin/vim", ["vim", "x", "/opt/rstudio-pm/bin/rstudio-pm"], False),
        ("/opt/rstudio-pm/bin/rspm", ["/opt/rstudio-pm/bin/rspm"], False),
        ("/usr/bin/bash", ["-bash"], False),
    ],
)
def test_is_server(executable: str, arguments: list[str], expected: bool) -> None:
    assert is_server(executable, arguments) is expected


def test_parse_listening() -> None:
    text = (
        'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=300,fd=3))\n'
        'LISTEN 0 4096 *:4242 *:* users:(("rstudio-pm",pid=812,fd=7),("rstudio-pm",pid=813,fd=7))\n'
        "LISTEN 0 5 [::]:2049 [::]:*\n"
    )
    assert parse_listening(text, [812]) == ("*:4242",)
    assert parse_listening(text, []) == ()
