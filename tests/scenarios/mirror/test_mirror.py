"""From bare machines, with every package from the distribution's mirror, as a user's first run is."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from rspm_lab.shell import run

from tests.scenarios import support
from tests.scenarios.support import Lab

CANARY = "canary-Zx9"
PACKAGE = support.PACKAGES / "rstudio-pm_2026.04.0_amd64.deb"
# The pattern is in a file, so that grep's own command line is none that it finds.
_WATCH = f"""
echo {CANARY} > /run/canary
while [ -e /run/canary ]; do
  grep -ahsF -f /run/canary /proc/[0-9]*/cmdline | tr '\\0' ' '
  sleep 0.3
done
"""


@contextmanager
def command_lines_with_the_secret(lab: Lab) -> Iterator[dict[str, str]]:
    """Give, by machine, all command lines of processes that had the secret in them: filled in at the end."""
    found: dict[str, str] = {}
    watches = {
        name: subprocess.Popen(
            lab.ssh_argv(name, "bash -s"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace"
        )
        for name in lab.machines
    }
    for watch in watches.values():
        assert watch.stdin
        watch.stdin.write(_WATCH)
        watch.stdin.flush()
    try:
        yield found
    finally:
        for name, watch in watches.items():
            lab.ssh(name, "rm -f /run/canary")
            found[name] = watch.communicate(timeout=60)[0]


def test_a_check_on_bare_machines_does_not_fail_and_changes_nothing() -> None:
    before = support.fingerprint()
    checked = support.run_playbook("site", "--check", "--diff")
    assert checked.code == 0, checked.output[-4000:]
    assert checked.changed() != []
    assert support.differences(before, support.fingerprint()) == []


def test_the_watch_finds_a_secret_on_a_command_line(lab: Lab) -> None:
    with command_lines_with_the_secret(lab) as seen:
        run(lab.ssh_argv("node2", "bash -s"), text_in=f"sleep 1; bash -c 'sleep 2; :' {CANARY}\n")
    assert CANARY in seen.pop("node2")
    assert set(seen.values()) == {""}


def test_everything_is_installed_and_no_secret_is_shown(lab: Lab, web: str) -> None:
    with command_lines_with_the_secret(lab) as seen:
        made = support.run_playbook(
            "site",
            "-vvv",
            timeout=1500,
            rspm_package_source="url",
            rspm_package_url=f"{web}/{PACKAGE.name}",
            rspm_package_checksum=f"sha256:{hashlib.sha256(PACKAGE.read_bytes()).hexdigest()}",
        )
    assert made.code == 0, made.output[-4000:]
    assert CANARY not in made.output
    assert seen == dict.fromkeys(lab.machines, "")
    readable = f"find / -xdev -type f -perm -o=r -size -2M -not -path '/usr/*' -print0 | xargs -0 grep -lsF {CANARY}"
    for name in lab.machines:
        assert lab.ssh(name, f"{readable} || true", timeout=120) == "", name
    assert support.get(support.address(lab, "lb"))[0] == 200
