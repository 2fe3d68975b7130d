# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock as real files, as real processes race for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._lock import host
from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import identify
from ansible_collections.rspm.ha.plugins.module_utils._lock.rules import ProcessId, Request, holder_pid, is_gone
from ansible_collections.rspm.ha.plugins.modules import cluster_lock
from ansible_collections.rspm.ha.plugins.plugin_utils._lock_keeper.rules import RENEW, answer_of
from tests.conftest import COLLECTIONS

NOW = "2026-11-24T04:00:00Z"
RACERS = 24


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path


def folder(storage: Path) -> host.LockFolder:
    return host.LockFolder(str(storage / ".rspm-ha" / "lock"), os.geteuid(), os.getegid())


def request(holder: str, **changes: str) -> Request:
    given = {"run_id": f"run-of-{holder}", "operator": "anna@ops1", "verb": "upgrade", "target": "2026.08.0"}
    return Request(holder=holder, node="node1", **{**given, **changes})


def held(storage: Path, holder: str, **changes: str) -> dict[str, Any]:
    return cluster_lock.hold(folder(storage), request(holder, **changes), NOW, True)


def test_taken_renewed_and_let_go_each_changes_once(storage: Path) -> None:
    assert [held(storage, "me")["changed"], held(storage, "me")["changed"]] == [True, False]
    assert held(storage, "me", phase="first")["changed"]
    assert held(storage, "me", phase="first")["changed"] is False
    stored = folder(storage).read()
    assert stored.number == 1
    assert stored.record is not None and stored.record.phase == "first"
    assert cluster_lock.free(folder(storage), "me", "", NOW, True)["changed"]
    assert cluster_lock.free(folder(storage), "me", "", NOW, True)["changed"] is False
    assert folder(storage).read().record is None
    assert held(storage, "you")["view"] == "free"
    assert folder(storage).read().number == 2
    assert not list(storage.rglob("*.tmp"))


def test_check_mode_predicts_and_writes_nothing(storage: Path) -> None:
    assert cluster_lock.hold(folder(storage), request("me"), NOW, False)["changed"]
    assert list(storage.iterdir()) == []
    held(storage, "me")
    assert cluster_lock.free(folder(storage), "me", "", NOW, False)["changed"]
    assert folder(storage).read().record is not None


def test_another_is_refused_and_can_not_let_it_go(storage: Path) -> None:
    held(storage, "me")
    with pytest.raises(DomainError, match=r"locked by anna@ops1 since 2026-11-24 04:00 UTC for upgrade to 2026.08.0"):
        held(storage, "you")
    with pytest.raises(DomainError, match="rspm_unlock_run_id=run-of-me"):
        cluster_lock.free(folder(storage), "you", "", NOW, True)
    with pytest.raises(DomainError):
        cluster_lock.free(folder(storage), "", "another", NOW, True)


def test_a_broken_lock_stops_the_run_that_held_it(storage: Path) -> None:
    mine = held(storage, "me")["lock"]["run_id"]
    assert cluster_lock.free(folder(storage), "", mine, NOW, True)["changed"]
    with pytest.raises(DomainError, match="no longer this run's"):
        held(storage, "me", keeps=mine)
    held(storage, "you")
    with pytest.raises(DomainError, match="no longer this run's"):
        held(storage, "me", keeps=mine)


def test_a_lock_taken_over_stops_the_run_that_held_it(storage: Path) -> None:
    mine = held(storage, "me")["lock"]["run_id"]
    assert held(storage, "you", gone="me")["view"] == "takeable"
    with pytest.raises(DomainError, match="no longer this run's"):
        held(storage, "me", keeps=mine)
    assert held(storage, "you")["lock"]["run_id"] == mine


def race(work: Callable[[int], bool], racers: int = RACERS) -> int:
    """Return how many of the processes that do work at the same moment say True."""
    start = os.pipe()
    children = []
    for number in range(racers):
        child = os.fork()
        if child == 0:
            os.close(start[1])
            os.read(start[0], 1)
            won = False
            try:
                won = work(number)
            finally:
                os._exit(0 if won else 1)
        children.append(child)
    os.close(start[0])
    os.close(start[1])
    return sum(os.waitpid(child, 0)[1] == 0 for child in children)


def _tries(storage: Path, **changes: str) -> Callable[[int], bool]:
    def work(number: int) -> bool:
        try:
            return bool(held(storage, f"racer{number}", **changes)["changed"])
        except DomainError:
            return False

    return work


def test_of_many_that_race_for_a_free_lock_exactly_one_gets_it(storage: Path) -> None:
    for number in range(1, 4):
        assert race(_tries(storage)) == 1
        stored = folder(storage).read()
        assert stored.number == number and stored.record is not None
        cluster_lock.free(folder(storage), stored.record.holder, "", NOW, True)


def test_of_many_that_race_to_take_over_exactly_one_gets_it(storage: Path) -> None:
    held(storage, "dead")
    assert race(_tries(storage, gone="dead")) == 1
    assert folder(storage).read().number == 2


def test_the_race_can_fail(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(where: str, name: str, text: str) -> bool:
        path = Path(where) / name
        if path.exists():
            return False
        time.sleep(0.1)
        path.write_text(text, encoding="utf-8")
        return True

    Path(folder(storage).path).mkdir(parents=True)
    monkeypatch.setattr(host, "_create", careless)
    assert race(_tries(storage)) > 1


def test_the_answer_to_a_link_that_was_lost_is_found_again(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: str, target: str) -> None:
        real(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", link)
    assert held(storage, "me")["changed"]


def test_a_stale_listing_does_not_hide_a_newer_lock(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(storage, "me")
    cluster_lock.free(folder(storage), "me", "", NOW, True)
    held(storage, "you")
    monkeypatch.setattr(os, "listdir", lambda path: ["000001.json", "000001.released"])
    stored = folder(storage).read()
    assert stored.record is not None and stored.record.holder == "you"


def test_a_storage_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="See that the storage is mounted"):
        held(tmp_path / "absent", "me")


def test_a_storage_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_read", lambda path: time.sleep(30))
    slow = host.LockFolder(str(tmp_path), os.geteuid(), os.getegid(), timeout=0.2)
    with pytest.raises(DomainError, match=r"did not answer within 0.2 s"):
        slow.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_writes_as_the_service_account(storage: Path) -> None:
    for path in (storage, *storage.parents):
        if path != Path("/") and path.stat().st_uid == 0 and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)
    os.chown(storage, 940, 940)
    there = host.LockFolder(str(storage / ".rspm-ha" / "lock"), 940, 940)
    assert cluster_lock.hold(there, request("me"), NOW, True)["changed"]
    facts = os.stat(storage / ".rspm-ha" / "lock" / "000001.json")
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (940, 940, 0o640)
    os.chown(storage, 0, 0)
    with pytest.raises(DomainError, match="uid 941 may write there"):
        cluster_lock.hold(host.LockFolder(str(storage / "other" / "lock"), 941, 941), request("me"), NOW, True)


def renew(storage: Path, number: int, word: str) -> str:
    arguments = [folder(storage).path, str(number), str(os.geteuid()), str(os.getegid()), word]
    done = subprocess.run([sys.executable, "-I", "-c", RENEW, *arguments], capture_output=True, text=True, check=True)
    return answer_of(done.stdout)


def age(storage: Path, number: int, seconds: float) -> None:
    """Let the last renewal be as long ago."""
    then = time.time() - seconds
    os.utime(Path(folder(storage).path) / f"{number:06}.alive", (then, then))


def test_without_a_lease_a_lock_is_never_taken_over_from_elsewhere(storage: Path) -> None:
    held(storage, "me")
    with pytest.raises(DomainError, match=r"20 minutes after the last sign"):
        held(storage, "you")


def test_a_lease_that_is_over_is_taken_over_by_the_same_work_only(storage: Path) -> None:
    mine = held(storage, "me")["lock"]["run_id"]
    assert renew(storage, 1, "12") == "renewed"
    age(storage, 1, 14)
    with pytest.raises(DomainError):
        held(storage, "you")
    age(storage, 1, 17)
    with pytest.raises(DomainError):
        held(storage, "you", gone="lives")
    with pytest.raises(DomainError):
        held(storage, "you", verb="migrate_to_single_node")
    taken = held(storage, "you")
    assert (taken["view"], taken["lock"]["run_id"]) == ("takeable", mine)
    assert renew(storage, 1, "12") == "taken"
    with pytest.raises(DomainError, match="no longer this run's"):
        held(storage, "me", keeps=mine)
    assert renew(storage, 2, "12") == "renewed"


def test_a_sign_of_life_while_it_is_watched_keeps_the_lock(storage: Path) -> None:
    held(storage, "me")
    assert renew(storage, 1, "10") == "renewed"
    age(storage, 1, 60)
    timer = threading.Timer(0.3, renew, (storage, 1, "10"))
    timer.start()
    with pytest.raises(DomainError, match="locked by anna@ops1"):
        held(storage, "you")
    timer.join()
    assert folder(storage).read().number == 1


def test_a_clock_of_the_node_that_is_ahead_does_no_harm(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held(storage, "me")
    assert renew(storage, 1, "10") == "renewed"
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + 3600)
    with pytest.raises(DomainError, match="locked by anna@ops1"):
        held(storage, "you")
    assert folder(storage).read().number == 1


def test_of_many_that_race_for_a_lease_that_is_over_exactly_one_gets_it(storage: Path) -> None:
    held(storage, "dead")
    renew(storage, 1, "3")
    age(storage, 1, 10)
    assert race(_tries(storage)) == 1
    assert folder(storage).read().number == 2


def test_a_run_that_left_is_followed_at_once_and_renews_nothing_any_more(storage: Path) -> None:
    held(storage, "me")
    renew(storage, 1, "900")
    assert cluster_lock.leave(folder(storage), "you", True)["changed"] is False
    with pytest.raises(DomainError):
        held(storage, "you")
    assert cluster_lock.leave(folder(storage), "me", False)["changed"]
    assert cluster_lock.leave(folder(storage), "me", True)["changed"]
    assert cluster_lock.leave(folder(storage), "me", True)["changed"] is False
    assert renew(storage, 1, "900") == "over"
    assert held(storage, "you")["view"] == "takeable"


def test_a_released_lock_is_renewed_no_more(storage: Path) -> None:
    held(storage, "me")
    assert renew(storage, 1, "900") == "renewed"
    record = folder(storage).read().record
    assert record is not None and record.updated > NOW
    cluster_lock.free(folder(storage), "me", "", NOW, True)
    assert renew(storage, 1, "900") == "over"
    assert not list(storage.rglob("*.alive"))
    assert renew(storage, 7, "900") == "over"


def test_an_operator_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1000660000)
    assert host.this_operator().startswith("1000660000@")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
@pytest.mark.parametrize("hidepid", ["0", "1", "2"])
def test_another_users_living_run_is_not_gone_where_proc_hides_it(hidepid: str) -> None:
    mount = ["mount", "-t", "proc", "-o", f"hidepid={hidepid}", "proc", "/proc"]
    with subprocess.Popen(["/bin/sleep", "60"], user=1001) as process:
        holder = ProcessId(host.this_kernel(), process.pid, host.start_time(process.pid) or 0)
        ask = f"""
import os, subprocess, sys
sys.path.insert(0, {str(COLLECTIONS)!r})
from ansible_collections.rspm.ha.plugins.module_utils._lock.host_lease import identify
identify("")  # whatever Python loads late, while it may read it
subprocess.run({mount!r}, check=True)
os.setgroups([]); os.setgid(1002); os.setuid(1002)
print(identify({str(holder)!r})["holder_gone"] or "unknown")
"""
        asked = ["unshare", "--mount", sys.executable, "-c", ask]
        try:
            said = [subprocess.run(asked, capture_output=True, text=True, check=False)]
        finally:
            process.kill()
            process.wait()
        said.append(subprocess.run(asked, capture_output=True, text=True, check=False))
    if any("mount" in each.stderr for each in said):
        pytest.skip("may not mount")
    assert [each.stdout.strip() for each in said] == ["lives" if hidepid == "0" else "unknown", str(holder)], said


PLAYBOOK = """
import os, subprocess, sys, time
if os.fork() == 0:  # a worker, as ansible-playbook has them
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
    os._exit(0)
os.wait()
time.sleep(60)
"""
MODULE = """
import sys
sys.path.insert(0, {path!r})
from ansible_collections.rspm.ha.plugins.module_utils._lock.host import this_run
print(this_run(), flush=True)
"""


@pytest.fixture(params=["ansible-playbook", "ansible/__main__.py"])
def playbook(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / request.param
    script.parent.mkdir(exist_ok=True)
    (script.parent / "__init__.py").touch()
    script.write_text(PLAYBOOK, encoding="utf-8")
    typed = [script.name] if script.parent == tmp_path else ["-m", "ansible"]
    argv = [sys.executable, *typed, MODULE.format(path=str(COLLECTIONS))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        yield process
        process.kill()


def test_the_controllers_run_is_found_from_a_module_and_known_to_be_gone_when_killed(
    playbook: subprocess.Popen[str],
) -> None:
    assert playbook.stdout is not None
    holder = playbook.stdout.readline().strip()
    assert holder_pid(holder) == playbook.pid
    assert identify(holder)["holder_gone"] == "lives"
    assert identify("another:kernel/1/1")["holder_gone"] == ""
    # a zombie has ended, although its number is still taken
    os.kill(playbook.pid, signal.SIGKILL)
    os.waitid(os.P_PID, playbook.pid, os.WEXITED | os.WNOWAIT)
    assert identify(holder)["holder_gone"] == holder
    playbook.wait()
    assert identify(holder)["holder_gone"] == holder
    assert not is_gone(holder, "another:kernel", None)


def test_what_is_kept_beside_a_released_lock_says_how_it_ended(storage: Path) -> None:
    mine = held(storage, "me")["lock"]["run_id"]
    cluster_lock.free(folder(storage), "", mine, NOW, True)
    how = json.loads((Path(folder(storage).path) / "000001.released").read_text(encoding="utf-8"))
    assert how == {"how": "broken", "at": NOW}
