"""From bare machines, with every package from the distribution's mirror, as a user's first run is."""

from __future__ import annotations

import hashlib
import threading

from tests.scenarios import support
from tests.scenarios.support import NODES, Lab

CANARY = "canary-Zx9"
PACKAGE = support.PACKAGES / "rstudio-pm_2026.04.0_amd64.deb"


def test_a_check_on_bare_machines_does_not_fail_and_changes_nothing() -> None:
    before = support.fingerprint()
    run = support.run_playbook("site", "--check", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert run.changed() != []
    assert support.differences(before, support.fingerprint()) == []


def test_everything_is_installed_and_no_secret_is_shown(lab: Lab, web: str) -> None:
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            for name in lab.machines:
                listing = lab.ssh(name, "ps -eo args ww", check=False)
                seen.extend(line for line in listing.splitlines() if CANARY in line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run = support.run_playbook(
            "site",
            "-vvv",
            timeout=1500,
            rspm_package_source="url",
            rspm_package_url=f"{web}/{PACKAGE.name}",
            rspm_package_checksum=f"sha256:{hashlib.sha256(PACKAGE.read_bytes()).hexdigest()}",
        )
    finally:
        done.set()
        watcher.join()
    assert run.code == 0, run.output[-4000:]
    assert CANARY not in run.output
    assert seen == []
    readable = f"find / -xdev -type f -perm -o=r -size -2M -not -path '/usr/*' -print0 | xargs -0 grep -lsF {CANARY}"
    for name in lab.machines:
        assert lab.ssh(name, f"{readable} || true", timeout=120) == "", name
    assert support.get(lab.spec("lb").address)[0] == 200


def test_a_second_run_changes_nothing_and_costs_little() -> None:
    run = support.run_playbook("site")
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []
    for node in NODES:
        assert 10 < run.tasks_of(node) <= 50, f"{node}: {run.tasks_of(node)} tasks"


def test_a_check_of_the_converged_cluster_predicts_no_change() -> None:
    run = support.run_playbook("site", "--check", "--diff")
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []
