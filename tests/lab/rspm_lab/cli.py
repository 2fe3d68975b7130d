"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys

from . import images, lab, machine
from .shell import LabError, check_host, say


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Real Linux machines on this one, for the tests.")
    parser.add_argument("--name", default=os.environ.get("RSPM_LAB", "lab"), help="which lab (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    verb = verbs.add_parser("up", help="start new machines")
    verb.add_argument("machines", nargs="*", help=f"their names (default: {' '.join(lab.DEFAULT_MACHINES)})")
    verb.add_argument("--image", default="full", choices=sorted(images.FLAVOURS))
    verb.add_argument("--memory", type=int, default=640, metavar="MIB")
    verb.add_argument("--off", action="store_true", help="leave them off, to be renewed or powered on")
    verbs.add_parser("down", help="remove the lab and all that it left")
    verb = verbs.add_parser("status", help="say what every machine does")
    verb.add_argument("--json", action="store_true")
    verbs.add_parser("inventory", help="print how Ansible reaches the machines, as an inventory script does")
    verb = verbs.add_parser("build", help="make kernel and images, where they are not there yet")
    verb.add_argument("--image", default="full", choices=sorted(images.FLAVOURS))
    verb = verbs.add_parser("ssh", help="a shell, or a command, on a machine")
    verb.add_argument("machine")
    verb.add_argument("command", nargs=argparse.REMAINDER)
    verb = verbs.add_parser("renew", help="make machines new on the same addresses")
    verb.add_argument("machines", nargs="*")
    verb.add_argument("--image", choices=sorted(images.FLAVOURS))
    for name, text in {"snapshot": "keep all disks under a label", "restore": "go back to a label"}.items():
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("label")
    for name, text in {
        "power-cut": "take the power away",
        "power-off": "shut down in order",
        "power-on": "start a machine that is off",
        "hang": "stop a machine in its tracks",
        "resume": "let a hung machine go on",
        "partition": "take the network cables out",
        "heal": "put the network cables back",
        "free-disk": "undo fill-disk",
    }.items():
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("machines", nargs="+")
        if name in ("partition", "heal"):
            verb.add_argument("--only", choices=["management", "service"], help="of one network (default: of both)")
    verb = verbs.add_parser("names", help="have all machines know these ones by name, and no others")
    verb.add_argument("machines", nargs="*")
    verb = verbs.add_parser("clock", help="move a machine's clock")
    verb.add_argument("machine")
    verb.add_argument("seconds", type=float)
    verb = verbs.add_parser("fill-disk", help="leave only so many MiB free")
    verb.add_argument("machine")
    verb.add_argument("leave", type=int, metavar="MIB")
    return parser


def _faults(current: lab.Lab, verb: str, names: list[str], only: str | None) -> None:
    for name in names:
        current.spec(name)
    if verb == "power-cut":
        lab.power_cut(current, names)
    elif verb == "power-off":
        lab.power_off(current, names)
    elif verb == "power-on":
        lab.power_on(current, names)
    wires = tuple(wire for wire in current.network.wires if wire.name == only)
    for name in names:
        if verb == "hang":
            machine.signal_machine(current.files(name), signal.SIGSTOP)
        elif verb == "resume":
            machine.signal_machine(current.files(name), signal.SIGCONT)
        elif verb in ("partition", "heal"):
            current.network.set_link(current.spec(name).number, verb == "heal", wires)
        elif verb == "free-disk":
            current.ssh(name, "rm -f /lab-fill")


def _act(given: argparse.Namespace) -> int:
    if given.verb == "up":
        machines = given.machines or list(lab.DEFAULT_MACHINES)
        lab.up(given.name, machines, given.image, given.memory, on=not given.off)
        return 0
    if given.verb == "down":
        lab.down(given.name)
        return 0
    if given.verb == "build":
        check_host()
        images.image(given.image)
        return 0
    current = lab.load(given.name)
    if given.verb == "status":
        rows = lab.describe(current)
        if given.json:
            print(json.dumps(rows))
        else:
            for row in rows:
                print(f"{row['name']:<12} {row['address']:<16} {row['service_address']:<16} {row['state']}")
    elif given.verb == "inventory":
        print(json.dumps(lab.inventory(current), indent=1))
    elif given.verb == "ssh":
        return subprocess.call(current.ssh_argv(given.machine, *given.command))
    elif given.verb == "renew":
        lab.renew(current, given.machines or list(current.machines), given.image or current.flavour)
    elif given.verb == "snapshot":
        lab.snapshot(current, given.label)
    elif given.verb == "restore":
        lab.restore(current, given.label)
    elif given.verb == "names":
        lab.write_hosts(current, given.machines)
    elif given.verb == "clock":
        lab.set_clock(current, given.machine, given.seconds)
    elif given.verb == "fill-disk":
        lab.fill_disk(current, given.machine, given.leave)
    else:
        _faults(current, given.verb, given.machines, getattr(given, "only", None))
    return 0


def main() -> int:
    """Do what the command line says; an error that a person can mend is one clear line and exit code 2."""
    given = _parser().parse_args(sys.argv[1:])
    try:
        return _act(given)
    except LabError as error:
        say(f"error: {error}")
        return 2
