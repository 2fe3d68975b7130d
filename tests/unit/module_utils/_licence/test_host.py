# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The licence of a node: what license-manager says of it, what is done, and that nobody else gets to see it."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._licence import host
from ansible_collections.rspm.ha.plugins.module_utils._licence.rules import (
    Licence,
    LicenceState,
    decide,
    judge_node,
    parse_status,
    shown,
    wanted_licence,
)
from ansible_collections.rspm.ha.plugins.modules.node_licence import absent, present

KEY = "ABCD-EFGH-1234-5678-ABCD-EFGH-1234"
SERVER = "licences.example.org:8999"
HEAD = "Logging to '/var/log/rstudio/license-manager.log'.\nRStudio License Manager 2026.01.0+764.pro1\n\n"
BY_FILE = (
    f"{HEAD}-- License file status --\n\nStatus: Activated\nProduct-Key: {KEY}\nLicense-File: /x/team.lic\n\n"
    "-- Local license status --\n\nTrial-Type: Verified\nStatus: Expired\nHas-Key: No\n\n"
    "-- Floating license status --\n\nLicense server not in use.\n"
)
BY_KEY = f"Status: Activated\nProduct-Key: {KEY}\nHas-Key: Yes\nExpiration: 2027-06-09 00:00:00\n"
EVALUATION = (
    "-- Local license status --\n\nStatus: Evaluation\nDays-Left: 45\n\n-- Floating license status --\n\nNot in use.\n"
)
FLOATING = (
    "-- Local license status --\n\nStatus: Deactivated\n\n"
    f"-- Floating license status --\n\nLicense-Server: {SERVER}\nLease: Active\n"
)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (BY_FILE, LicenceState(file=True)),
        (BY_KEY, LicenceState(key=True)),
        (EVALUATION, LicenceState()),
        (FLOATING, LicenceState(server=SERVER)),
        ("Status: Deactivated\n", LicenceState()),
    ],
)
def test_what_license_manager_says(text: str, state: LicenceState) -> None:
    assert parse_status(0, text) == state
    assert parse_status(1, text) == state


@pytest.mark.parametrize("text", ["", "Segmentation fault", f"Status: Activated?\nProduct-Key: {KEY}", "Has-Key: Yes"])
def test_what_is_not_known_is_shown_and_not_guessed(text: str) -> None:
    with pytest.raises(DomainError) as error:
        parse_status(3, text)
    assert "status ended with 3" in error.value.problems[0].found and KEY not in str(error.value)
    assert text.splitlines()[0] in str(error.value) if text else "nothing" in str(error.value)


@given(st.text(alphabet=f"{KEY}:-\n aStu", max_size=200))
def test_any_output_is_judged_or_refused(text: str) -> None:
    try:
        parse_status(0, text)
    except DomainError as error:
        assert error.problems[0].check == "licence"
    assert KEY not in shown(f"{text} {KEY}")


def test_a_licence_is_one_of_three() -> None:
    assert wanted_licence("", "", "") is None
    assert wanted_licence(f" {KEY} ", "", "") == Licence("key", KEY)
    assert wanted_licence("", "text\n", "") == Licence("file", "text\n")
    assert wanted_licence("", "", SERVER) == Licence("server", SERVER)


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ((KEY, "text", ""), "names 2 licences"),
        (("--help", "", ""), "other characters"),
        (("", "", "licences.example.org"), "rspm_licence.server is 'licences.example.org'"),
        (("", "a\r\nb\r\n", ""), "line ends of Windows"),
        (("", "\n", ""), "is empty"),
    ],
)
def test_what_is_no_licence_is_refused(given_: tuple[str, str, str], found: str) -> None:
    with pytest.raises(DomainError) as error:
        wanted_licence(*given_)
    assert found in error.value.problems[0].found and KEY not in str(error.value)


def test_what_is_applied() -> None:
    key, file, server = Licence("key", KEY), Licence("file", "new"), Licence("server", SERVER)
    for wanted in (key, file, server):
        assert decide(wanted, LicenceState())
    # What somebody else has done is left alone.
    assert not decide(key, LicenceState(file=True)) and not decide(file, LicenceState(key=True))
    # A renewed file takes the place of the old one.
    assert decide(file, LicenceState(file=True, ours="old")) and not decide(file, LicenceState(ours="new"))
    assert decide(key, LicenceState(key=True, mark=Licence("key", "OLD").mark))
    assert not decide(key, LicenceState(key=True, mark=key.mark))
    assert decide(server, LicenceState(key=True, server="old:1")) and not decide(server, LicenceState(server=SERVER))


def test_a_mark_tells_no_licence_and_differs() -> None:
    marks = {Licence(kind, value).mark for kind in ("key", "file") for value in (KEY, KEY[::-1])}
    assert len(marks) == 4 and not any(KEY in mark for mark in marks)


@pytest.mark.parametrize(
    ("applied", "allowed", "state", "wrong"),
    [
        (False, False, None, True),
        (False, False, LicenceState(), True),
        (True, False, None, False),
        (False, True, None, False),
        (False, False, LicenceState(key=True), False),
        (False, False, LicenceState(server=SERVER), False),
        (False, False, LicenceState(ours="text"), False),
    ],
)
def test_a_node_without_a_licence_is_told_before(
    applied: bool, allowed: bool, state: LicenceState | None, wrong: bool
) -> None:
    problems = judge_node(applied, allowed, state)
    assert [problem.check for problem in problems] == (["licence"] if wrong else [])


def test_an_upgrade_of_a_node_that_was_never_licensed_is_refused() -> None:
    [problem] = judge_node(False, False, LicenceState(), known=True)
    assert "not applied" in problem.found and "rspm.ha.site" in problem.fix


_NOTHING = {"key": None, "content": None, "server": None, "timeout": 5}


class Machine:
    """A machine with a license-manager that keeps what it is told."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.ran = root, [list[str]()]
        self.key, self.server, self.late, self.deaf = "", "", False, False
        program = root / "license-manager"
        program.touch()
        account = pwd.getpwuid(os.getuid())
        home = pwd.struct_passwd((*account[:5], str(root), account[6]))
        patch.setattr(host, "PROGRAM", str(program))
        patch.setattr(host, "DROPIN_FOLDER", str(root / "unit.d"))
        patch.setattr(host, "MARK_PATH", str(root / "unit.d/licence.conf"))
        patch.setattr(pwd, "getpwnam", lambda _name: home)
        patch.setattr(host, "write_file", lambda path, text, _mode: Path(path).write_text(text))
        self.file = root / ".rstudio-pm/rspm-ha.lic"
        self.mark = root / "unit.d/licence.conf"

    def __call__(self, argv: Sequence[str], *, timeout: float | None = None, **_more: Any) -> CompletedCommand:
        self.ran.append(list(argv))
        assert timeout, "each command has a time limit"
        verb, value = [*argv, ""][1:3]
        if verb == "status":
            lines = f"Status: {'Activated' if self.key else 'Deactivated'}\n"
            counts = self.file.is_file() and self.file.lstat().st_mode == stat.S_IFREG | 0o600
            file = "-- License file status --\nStatus: Activated\nLicense-File: x.lic\n" if counts else ""
            server = f"-- Floating license status --\nLicense-Server: {self.server}\n" if self.server else ""
            return CompletedCommand(0, f"{file}-- Local license status --\n{lines}{server}", "")
        if self.late and verb in ("activate", "deactivate"):
            return CompletedCommand(124, "", "")
        if verb == "activate":
            if value.startswith("BAD"):
                return CompletedCommand(1, "", f"Error: {value} is not valid")
            self.key = "" if self.deaf else value
        elif verb == "deactivate":
            self.key = ""
        elif verb == "license-server":
            self.server = value
        return CompletedCommand(0, "", "")

    def apply(self, **wanted: str) -> dict[str, Any]:
        return present({**_NOTHING, **wanted}, self, False)

    def check(self, **wanted: str) -> dict[str, Any]:
        return present({**_NOTHING, **wanted}, self, True)

    def verbs(self) -> list[str]:
        found = [argv[1] for argv in self.ran if len(argv) > 1 and argv[1] not in ("status", "daemon-reload")]
        self.ran.clear()
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("wanted", "verb"),
    [({"key": KEY}, "activate"), ({"content": "text\n"}, ""), ({"server": SERVER}, "license-server")],
)
def test_each_kind_is_applied_once_and_a_check_predicts_it(machine: Machine, wanted: dict[str, str], verb: str) -> None:
    predicted = machine.check(**wanted)
    assert not machine.verbs() and not machine.mark.exists() and not machine.file.exists()
    done = machine.apply(**wanted)
    assert done == predicted and done["changed"] and machine.verbs() == [verb] * bool(verb)
    assert KEY not in str(done) and "text" not in str(done["diff"])
    assert machine.mark.exists() and KEY not in machine.mark.read_text()
    assert not machine.apply(**wanted)["changed"] and not machine.verbs()


def test_a_licence_file_is_the_accounts_alone_and_a_renewal_replaces_it(machine: Machine) -> None:
    machine.apply(content="old\n")
    first = machine.mark.read_text()
    assert machine.file.stat().st_mode & 0o7777 == 0o600 and machine.file.parent.stat().st_mode & 0o7777 == 0o700
    machine.apply(content="new\n")
    assert machine.file.read_text() == "new\n" and machine.mark.read_text() != first
    machine.file.chmod(0o644)
    assert machine.apply(content="new\n")["changed"] is True
    assert machine.file.stat().st_mode & 0o7777 == 0o600


def test_the_account_leads_root_nowhere(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (machine.root / ".rstudio-pm").symlink_to(elsewhere)
    with pytest.raises(OSError):
        machine.apply(content="text\n")
    assert not list(elsewhere.iterdir())
    (machine.root / ".rstudio-pm").unlink()
    (machine.root / ".rstudio-pm").mkdir()
    machine.file.symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("theirs")
    machine.apply(content="text\n")
    assert (tmp_path / "target").read_text() == "theirs" and machine.file.read_text() == "text\n"


def test_another_kind_gives_the_first_one_back(machine: Machine) -> None:
    machine.apply(key=KEY)
    machine.apply(content="text\n")
    assert machine.verbs() == ["activate", "deactivate"] and machine.file.exists() and not machine.key
    machine.apply(key=KEY)
    assert machine.key and not machine.file.exists()


def test_what_is_active_is_left_alone(machine: Machine) -> None:
    machine.key = "THEIRS"
    assert not machine.apply(key=KEY)["changed"] and not machine.apply(content="text\n")["changed"]
    assert machine.key == "THEIRS" and not machine.mark.exists()


@pytest.mark.parametrize(
    ("key", "late", "deaf", "found"),
    [
        (KEY, True, False, "gave no answer for 5 s"),
        ("BAD-KEY", False, False, "activate ended with 1: Error: *** is not valid"),
        (KEY, False, True, "does not show the licence"),
    ],
)
def test_a_failure_is_clear_and_keeps_the_key_to_itself(
    machine: Machine, key: str, late: bool, deaf: bool, found: str
) -> None:
    machine.late, machine.deaf = late, deaf
    with pytest.raises(DomainError) as error:
        machine.apply(key=key)
    assert found in str(error.value) and key not in str(error.value)
    assert machine.mark.exists(), "what was activated after all needs a restart in the next run"


def test_a_key_that_was_refused_is_refused_again_beside_the_one_that_is_active(machine: Machine) -> None:
    machine.apply(key=KEY)
    for _turn in range(2):
        with pytest.raises(DomainError):
            machine.apply(key="BAD-KEY")
    assert machine.key == KEY and machine.apply(key=KEY)["changed"] and not machine.apply(key=KEY)["changed"]


def test_without_the_product_a_check_predicts_and_a_run_refuses(machine: Machine) -> None:
    (machine.root / "license-manager").unlink()
    assert machine.check(key=KEY)["changed"] and not machine.apply()["changed"]
    with pytest.raises(DomainError, match="there is no"):
        machine.apply(key=KEY)


@pytest.mark.parametrize("wanted", [{"key": KEY}, {"content": "text\n"}])
def test_it_is_given_back_once(machine: Machine, wanted: dict[str, str]) -> None:
    machine.apply(**wanted)
    assert absent({"timeout": 5}, machine, True)["changed"] and machine.mark.exists()
    assert absent({"timeout": 5}, machine, False)["changed"]
    assert not machine.key and not machine.file.exists() and not machine.mark.exists()
    assert not absent({"timeout": 5}, machine, False)["changed"]
