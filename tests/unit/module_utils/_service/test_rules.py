# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service: what systemd and the server say, and what makes the node run what is wanted."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import parse
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package.rules import PackageState
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import (
    BLOCK_PATH,
    ApiState,
    ConfigState,
    UnitState,
    block_text,
    blocked_for,
    decide_start,
    missing_for_health,
    parse_status,
    parse_unit,
    probe_target,
    reason_to_give_up,
    restart_reasons,
    start_failed,
)

RUNNING = """\
MainPID=812
NRestarts=0
ExecMainStartTimestampMonotonic=12500000
ControlGroup=/system.slice/rstudio-pm.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
ConditionResult=yes
NeedDaemonReload=no
Job=
"""
ABSENT = "MainPID=0\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n"
UNIT = parse_unit(RUNNING, "", 1000.0)
STOPPED = dataclasses.replace(UNIT, pid=0, active_state="inactive", sub_state="dead", started_at=0.0)
PACKAGE = PackageState("2026.04.0", "installed", True, "2026.04.0")
API = ApiState("http://127.0.0.1:4242", 200, "2026.04.0")
FILES = {"/etc/rstudio-pm/rstudio-pm.gcfg": "aa"}
CONFIG = ConfigState("h", "/data", "/data/k", "", FILES, FILES)


def test_parse_unit() -> None:
    assert UNIT.running and UNIT.enabled and not UNIT.blocked and not UNIT.masked
    assert UNIT.started_at == 1012.5
    assert not UNIT.job and parse_unit(RUNNING.replace("Job=", "Job=417"), "", 0).job
    absent = parse_unit(ABSENT, "", 0)
    assert not absent.running and absent.blocked and not absent.enabled
    masked = parse_unit(RUNNING.replace("LoadState=loaded", "LoadState=masked"), "", 0)
    assert masked.masked and masked.blocked
    assert parse_unit("", "", 0).load_state == "not-found"


def test_block_says_for_what() -> None:
    assert blocked_for(block_text("install")) == "install"
    assert blocked_for("") == ""
    assert blocked_for("[Unit]\n") == "unknown"
    assert parse_unit(RUNNING, block_text("upgrade"), 0).blocked
    # its own path: whoever removes it can start the unit, without a daemon-reload
    assert f"ConditionPathExists=!{BLOCK_PATH}\n" in block_text("x")


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("", "http://127.0.0.1:4242", "127.0.0.1"),
        (
            "[HTTP]\nListen = :80\n[Server]\nAddress = https://pm.example.com:8443/x",
            "http://127.0.0.1:80",
            "pm.example.com",
        ),
        ("[HTTP]\nListen = 10.0.0.1:4242", "http://10.0.0.1:4242", "10.0.0.1"),
        ("[HTTP]\nListen = [::]:4242", "http://[::1]:4242", "::1"),
        ("[HTTP]\nListen = 0.0.0.0:4242", "http://127.0.0.1:4242", "127.0.0.1"),
        (
            "[HTTPS]\nListen = :443\n[Server]\nAddress = https://pm.example.com",
            "https://127.0.0.1:443",
            "pm.example.com",
        ),
    ],
)
def test_probe_target(text: str, url: str, name: str) -> None:
    target = probe_target(parse(text))
    assert target.url == url
    assert target.server_name == name


def test_parse_status() -> None:
    assert parse_status('{"version": "2026.04.0", "bioc_versions": []}') == "2026.04.0"
    assert parse_status("<html>") == parse_status("[]") == parse_status('{"version": null}') == ""


def test_restart_reasons() -> None:
    assert restart_reasons(PACKAGE, UNIT, API, CONFIG) == []
    assert restart_reasons(PACKAGE, STOPPED, API, dataclasses.replace(CONFIG, started_with={})) == []
    assert restart_reasons(PACKAGE, UNIT, API, dataclasses.replace(CONFIG, started_with={})) == [
        "it was not started with the collection's configuration"
    ]
    assert restart_reasons(PACKAGE, UNIT, API, dataclasses.replace(CONFIG, files={**FILES, "/x": "b"})) == [
        "/x changed since it started"
    ]
    assert restart_reasons(PACKAGE, UNIT, dataclasses.replace(API, version="2025.12.0-14"), CONFIG) == [
        "it runs 2025.12.0-14, installed is 2026.04.0"
    ]


def decide(**changes: Any) -> Any:
    now: dict[str, Any] = {
        "package": PACKAGE,
        "unit": UNIT,
        "api": API,
        "config": CONFIG,
        "wanted": "2026.04.0",
        "planning": False,
    }
    now.update(changes)
    return decide_start(**now)


def test_nothing_to_do() -> None:
    decision = decide()
    assert (decision.action, decision.changes) == ("none", False)


def test_start_and_restart() -> None:
    fresh = dataclasses.replace(STOPPED, file_state="disabled", blocked_for="install")
    decision = decide(unit=fresh, config=dataclasses.replace(CONFIG, started_with={}))
    assert (decision.action, decision.enable, decision.unblock) == ("start", True, True)
    changed = dataclasses.replace(CONFIG, started_with={**FILES, "/etc/rstudio-pm/rstudio-pm.gcfg": "old"})
    decision = decide(config=changed)
    assert decision.action == "restart"
    assert decision.reasons == ("/etc/rstudio-pm/rstudio-pm.gcfg changed since it started",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"package": PackageState("", "absent", False)}, "rstudio-pm is not installed"),
        ({"package": PackageState("2026.04.0", "broken", False)}, "rstudio-pm is broken"),
        ({"wanted": "2026.08.0"}, "installed is 2026.04.0, rspm_version is 2026.08.0"),
        ({"unit": dataclasses.replace(STOPPED, load_state="masked", file_state="masked")}, "rstudio-pm is masked"),
        ({"unit": dataclasses.replace(STOPPED, blocked_for="upgrade")}, "blocked for: upgrade"),
    ],
)
def test_refused_starts(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DomainError) as caught:
        decide(**changes)
    assert said in caught.value.problems[0].found


def test_the_blocks_fix_names_the_command() -> None:
    with pytest.raises(DomainError, match=r"rspm\.ha\.upgrade"):
        decide(unit=dataclasses.replace(STOPPED, blocked_for="upgrade"))


def test_a_check_on_a_bare_host_predicts_a_start() -> None:
    decision = decide(package=PackageState("", "absent", False), unit=parse_unit(ABSENT, "", 0), planning=True)
    assert (decision.action, decision.enable) == ("start", True)


def test_a_check_predicts_the_restart_that_a_changed_configuration_brings() -> None:
    assert decide(planning=True, predicted=True).action == "restart"
    assert decide(planning=False, predicted=True).action == "none"


def test_after_the_decision_nothing_is_left_to_do() -> None:
    """Whatever can be started: once it was carried out, the next decision is to do nothing."""
    for active, enabled, block, started in itertools.product(
        ("active", "inactive", "failed"), ("enabled", "disabled"), ("", "install"), ({}, FILES, {"/x": "b"})
    ):
        running = active == "active"
        unit = dataclasses.replace(
            UNIT, active_state=active, file_state=enabled, blocked_for=block, pid=812 if running else 0
        )
        config = dataclasses.replace(CONFIG, started_with=started)
        decision = decide(unit=unit, config=config)
        assert decision.action == ("start" if not running else "none" if started == FILES else "restart")
        after = dataclasses.replace(UNIT, file_state="enabled" if decision.enable else enabled, blocked_for="")
        if decision.unblock or not block:
            assert not decide(unit=after, config=CONFIG).changes


def test_what_is_missing_until_the_node_is_healthy() -> None:
    def of(api: ApiState, allow: bool = False) -> str | None:
        return missing_for_health(UNIT, api, "2026.04.0", allow_unlicensed=allow)

    assert of(API) is None
    assert of(dataclasses.replace(API, version="")) is None
    assert "says version 2025.12.0-14, not 2026.04.0" in (of(dataclasses.replace(API, version="2025.12.0-14")) or "")
    assert "answers 402, which means that it has no licence" in (of(dataclasses.replace(API, health_code=402)) or "")
    assert of(dataclasses.replace(API, health_code=402), allow=True) is None
    assert "answers 503, which means that it is offline" in (of(dataclasses.replace(API, health_code=503)) or "")
    nothing = of(ApiState("http://127.0.0.1:4242", 0, "", "Connection refused"))
    assert nothing == "nothing answers at http://127.0.0.1:4242 (Connection refused), the unit is active (running)"


def test_when_waiting_ends_early() -> None:
    def unit(**changes: Any) -> UnitState:
        return dataclasses.replace(STOPPED, **changes)

    assert reason_to_give_up(unit(active_state="activating", sub_state="auto-restart", restarts=9), 30) is None
    assert "9 times" in (reason_to_give_up(unit(active_state="activating", restarts=9), 70) or "")
    assert reason_to_give_up(unit(active_state="failed"), 1) == "the unit failed"
    assert "condition" in (reason_to_give_up(unit(condition_failed=True), 1) or "")
    # while systemd has not begun with a start, it shows what came of the one before
    assert reason_to_give_up(unit(active_state="failed", job=True), 1) is None
    assert reason_to_give_up(unit(condition_failed=True, job=True), 1) is None
    assert reason_to_give_up(unit(active_state="activating", restarts=9, job=True), 70) is not None


def test_failure_names_all_that_is_needed() -> None:
    problem = start_failed("node2", "nothing answers", 300.4, ["one", "two"]).problems[0]
    assert problem.found.startswith("node2 is not healthy after 300 s: nothing answers.")
    assert "    one\n    two" in problem.found
    assert "journalctl -u rstudio-pm.service -n 100 on node2" in problem.fix
