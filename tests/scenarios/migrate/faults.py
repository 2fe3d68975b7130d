"""What the tests of the migration have happen to a lab while it is at work."""

from __future__ import annotations

import time
from typing import Callable

from rspm_lab import lab as lab_module

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
