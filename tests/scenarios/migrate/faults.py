"""What the tests of the migration have happen to a lab while it is at work."""

from __future__ import annotations

import time
from typing import Callable

from rspm_lab import lab as lab_module
from rspm_lab.shell import LabError

from tests.scenarios import support
from tests.scenarios.migrate.migration import LOCAL, TARGET
from tests.scenarios.support import Lab

Fault = Callable[[Lab], None]
# A file that corrupt_a_byte damages in the copy
CORRUPT = "awkward/d5/f5"


def cut(machine: str) -> Fault:
    """Return a power cut, after which the machine comes back."""

    def fault(lab: Lab) -> None:
        lab_module.power_cut(lab, [machine])
        lab_module.power_on(lab, [machine])

    return fault


def cable(machine: str, seconds: float) -> Fault:
    """Return a cable that is out for a while."""

    def fault(lab: Lab) -> None:
        lab.network.set_link(lab.spec(machine).number, False)
        time.sleep(seconds)
        lab.network.set_link(lab.spec(machine).number, True)

    return fault


def kill_call(lab: Lab) -> None:
    """Kill the one call on the target that moves everything, with all that only lives with it."""
    lab.ssh(TARGET, "sed -n 's/.*, pid //p' /run/rspm-ha.lock | xargs --no-run-if-empty kill -9")


# A catalog that pg_dump waits for then, and nothing that looks at the databases before.
_HOLD = "su postgres -c 'psql -d rstudio_pm -c \"BEGIN; LOCK TABLE pg_catalog.pg_ts_template; SELECT pg_sleep(900)\"'"
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted;"
_LET_GO = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE %';"


def while_copied(fault: Fault) -> Fault:
    """Return a fault that comes about when all nodes are stopped, and what they have is being copied.

    The databases wait for a catalog of theirs until the fault is over, so that the switch is not written before.
    """

    def held(lab: Lab) -> None:
        lab.ssh("infra", f"cd /; nohup {_HOLD} < /dev/null > /dev/null 2>&1 &")
        support.wait_for("the copy", lambda: support.ask_database(lab, _WAITING) != ["0"], 120)
        fault(lab)
        support.wait_for("the copy goes on", lambda: _let_go(lab), 120)

    return held


def _let_go(lab: Lab) -> bool:
    """Let the databases go on; a server that has lost its power holds nothing. Return whether that is done."""
    try:
        support.ask_database(lab, _LET_GO)
    except LabError:
        return False
    return True


def when_switched(fault: Fault) -> Fault:
    """Return a fault that comes about as soon as the target begins to start on its own data and databases."""

    def acting(lab: Lab) -> None:
        running = "systemctl show rstudio-pm --property MainPID --value"
        lab.ssh(TARGET, f"for i in $(seq 600); do [ $({running}) != 0 ] && break; sleep 0.1; done", timeout=120)
        fault(lab)

    return acting


def full_disk(lab: Lab) -> None:
    """Leave the target next to no room."""
    lab_module.fill_disk(lab, TARGET, 2)


def change_files(lab: Lab) -> None:
    """Change the shared data as another node's service does it."""
    lab.ssh(
        "node2",
        "runuser -u rstudio-pm -- sh -c 'cd /mnt/rstudio-pm/data/awkward && echo more >> d10/f10 && rm d6/f6"
        " && mv d7 d7.new && ln -s x link && chmod 600 d8/f8 && mkdir -p new/deep && truncate -s 100 d9/f9'",
    )


def corrupt_a_byte(lab: Lab) -> None:
    """Damage a file of the copy; size and time stay what they were."""
    lab.ssh(
        TARGET,
        f"f={LOCAL}/{CORRUPT}; touch -r $f /tmp/when; printf X | dd of=$f bs=1 seek=100 conv=notrunc; "
        "touch -r /tmp/when $f; sync",
    )
