"""How each fault is made and undone, and how a node is seen to be in the middle of something."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

from rspm_lab import lab as lab_module
from rspm_lab import machine
from rspm_lab.lab import Lab
from rspm_lab.shell import run as run_command

from tests.faults.cells import NEW, Act
from tests.faults.controller import Controller
from tests.scenarios.support import ask_database

# A package that is installed apart sees a /run of its own; a cell has one such place only.
# Once, dpkg is made to stand still in the middle of something, long enough for the worst to be done to it there.
_STANDSTILL = "rm /lab-slow; sync; touch /lab-place; sleep 6"
_SLOW = {
    # half of the files are there
    "unpacking": (
        "/usr/bin/dpkg-deb",
        f"""if [ -e /lab-slow ] && [ "$1" = --fsys-tarfile ]; then
  /usr/bin/dpkg-deb.lab "$@" > /lab-tar
  half=$(($(stat -c %s /lab-tar) / 2))
  head -c $half /lab-tar; {_STANDSTILL}; tail -c +$((half + 1)) /lab-tar; rm /lab-tar
  exit 0
fi""",
    ),
    # all files are there, and the package's script is at work
    "configuring": ("/usr/bin/deb-systemd-helper", f"if [ -e /lab-slow ]; then {_STANDSTILL}; fi"),
}
# Each ends as soon as the node is at the place.
PLACES = {
    "unpacking": "[ -e /lab-place ]",
    "configuring": "[ -e /lab-place ]",
    "stopping": "[ -e /etc/systemd/system/rstudio-pm.service.d/rspm-ha-block.conf ]",
    "migrating": "awk '/version " + NEW + " starts/ { s = 1 } s && /migrating the database/ { f = 1 } END { exit !f }' "
    "/var/log/rstudio/rstudio-pm/rstudio-pm.log",
}
PLACE_SECONDS = 240.0


def wait_for_place(lab: Lab, run: Controller, place: str, where: str) -> None:
    """Return when the run is at its hook, or a node in the middle of something; AssertionError where it never is."""
    if place == "hook":
        _wait(lambda: run.held, run, "its hook")
        return
    look = f"i=0; until {PLACES[place]}; do sleep 0.05; i=$((i+1)); [ $i -lt 6000 ] || exit 1; done; echo there"
    with subprocess.Popen(lab.ssh_argv(where, look), stdout=subprocess.PIPE, text=True) as watch:
        try:
            _wait(lambda: watch.poll() is not None, run, place)
            assert watch.stdout and watch.stdout.read().strip() == "there", f"{where} was never seen {place}"
        finally:
            watch.kill()


def _wait(reached: Callable[[], bool], run: Controller, place: str) -> None:
    end = time.monotonic() + PLACE_SECONDS
    while not reached():
        # The end of the run may be what reached() is about to see.
        if run.ended and not reached():
            raise AssertionError(f"the run ended before it came to {place}:\n{run.said()[-1500:]}")
        if time.monotonic() > end:
            raise AssertionError(f"the run did not come to {place}:\n{run.said()[-1500:]}")
        time.sleep(0.02)


def do(lab: Lab, act: Act, run: Controller | None = None) -> str:
    """Do it, and return what a person would have seen of it, if anything."""
    name, detail = act.machine, act.detail
    if act.what == "kill":
        assert run
        run.kill()
    elif act.what == "power_cut":
        lab_module.power_cut(lab, [name])
    elif act.what == "power_on":
        lab_module.power_on(lab, [name])
    elif act.what in ("hang", "resume"):
        machine.signal_machine(lab.files(name), signal.SIGSTOP if act.what == "hang" else signal.SIGCONT)
    elif act.what in ("partition", "heal"):
        lab.network.set_link(lab.spec(name).number, act.what == "heal")
    elif act.what in ("stop_service", "start_service"):
        lab.ssh(name, f"systemctl {act.what.partition('_')[0]} {detail}", timeout=120)
    elif act.what == "fill_disk":
        _fill(lab, name, int(detail))
    elif act.what == "free_disk":
        lab.ssh(name, "rm -f /lab-fill /lab-fill-rest; sync")
    elif act.what == "switch":
        folder = "/etc/rstudio-pm-standin"
        lab.ssh(name, f"umask 022; mkdir -p {folder}; echo '{detail}' > {folder}/switches; sync")
    elif act.what == "sql":
        ask_database(lab, f"{detail};", "rstudio_pm")
    elif act.what == "worker":
        folder = "/etc/systemd/system/rstudio-pm.service.d"
        unit = f"mkdir -p {folder}; printf '[Service]\\nKillMode=process\\n' > {folder}/team.conf"
        do(lab, Act("switch", name, "WORKER=yes"))
        lab.ssh(name, f"{unit}; systemctl daemon-reload; systemctl restart rstudio-pm; sync")
    elif act.what == "slow_stop":
        folder = "/etc/systemd/system/rstudio-pm.service.d"
        unit = f"mkdir -p {folder}; printf '[Service]\\nExecStop=/bin/sleep 8\\n' > {folder}/team.conf"
        lab.ssh(name, f"{unit}; systemctl daemon-reload; systemctl restart rstudio-pm; sync", timeout=120)
    elif act.what == "slow":
        program, piece = _SLOW[detail]
        wrapper = f'#!/bin/sh\n{piece}\nexec {program}.lab "$@"\n'
        command = f"cp -p {program} {program}.lab && cat > {program} && touch /lab-slow && sync"
        run_command(lab.ssh_argv(name, command), text_in=wrapper)
    elif act.what == "start":
        return lab.ssh(name, "systemctl start rstudio-pm 2>&1; sleep 3; systemctl is-active rstudio-pm", check=False)
    elif act.what == "unmask_and_start":
        block = "/etc/systemd/system/rstudio-pm.service.d/*block*"
        lab.ssh(
            name, f"rm -f {block}; systemctl daemon-reload; systemctl unmask rstudio-pm; systemctl start rstudio-pm"
        )
        time.sleep(5)
    elif act.what == "reboot":
        boot = lab.ssh(name, "cat /proc/sys/kernel/random/boot_id")
        lab.ssh(name, "systemctl reboot", check=False)
        end = time.monotonic() + 60
        while lab.ssh(name, "cat /proc/sys/kernel/random/boot_id", check=False) in ("", boot):
            assert time.monotonic() < end, f"{name} did not reboot"
            time.sleep(0.5)
        lab.ssh(name, "systemctl is-system-running --wait", check=False)
        return lab.ssh(name, "systemctl is-active rstudio-pm", check=False)
    else:
        raise AssertionError(f"nobody knows how to do {act.what}")
    return ""


def _fill(lab: Lab, name: str, leave_mib: int) -> None:
    """Fill the disk; with 0 MiB to leave, to the last block."""
    lab_module.fill_disk(lab, name, max(leave_mib, 1))
    if leave_mib == 0:
        lab.ssh(name, "dd if=/dev/zero of=/lab-fill-rest bs=4k 2>/dev/null; sync", check=False)
