"""A lab as a whole: up, down, and what can happen to its machines."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import images, machine
from .machine import MachineFiles, MachineSpec
from .network import Network, name_servers, restore_forwarding
from .paths import lab_dir, state_root
from .shell import LabError, check_host, run, say, step

DEFAULT_MACHINES = ["node1", "node2", "node3", "infra", "lb"]
BOOT_SECONDS = 90.0
KNOWN_HOSTS = "known_hosts"


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock under which labs come and go, so that two never take one number."""
    state_root().mkdir(parents=True, exist_ok=True)
    with (state_root() / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Lab:
    """One lab, as its state file describes it."""

    name: str
    index: int
    flavour: str
    machines: dict[str, MachineSpec]

    @property
    def network(self) -> Network:
        """The lab's networks."""
        return Network(self.name, self.index)

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        return lab_dir(self.name)

    def files(self, name: str) -> MachineFiles:
        """Return where a machine's files are."""
        return MachineFiles(self.folder, name)

    def spec(self, name: str) -> MachineSpec:
        """Return a machine by name, or raise LabError with the names that there are."""
        if name not in self.machines:
            raise LabError(f"lab {self.name} has no machine {name!r}: it has {', '.join(self.machines)}")
        return self.machines[name]

    def ssh_argv(self, name: str, *command: str) -> list[str]:
        """Return the ssh command for a machine."""
        return ["ssh", *ssh_options(self.folder), f"root@{self.spec(name).address}", *command]

    def ssh(self, name: str, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a command on a machine and return its output."""
        return run(self.ssh_argv(name, command), check=check, timeout=timeout).stdout


def ssh_options(folder: Path) -> list[str]:
    """Return the options with which ssh reaches the machines, host keys checked."""
    return _options(images.ssh_key(), folder / KNOWN_HOSTS)


def _options(key: Path, known_hosts: Path) -> list[str]:
    return [
        *("-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known_hosts}"),
        *("-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
    ]


def _save(lab: Lab) -> None:
    state = {"index": lab.index, "flavour": lab.flavour, "machines": [s.to_dict() for s in lab.machines.values()]}
    part = lab.folder / "lab.json.part"
    part.write_text(json.dumps(state, indent=1) + "\n")
    part.rename(lab.folder / "lab.json")


def load(name: str) -> Lab:
    """Return the lab of this name, or raise LabError where none is up."""
    path = lab_dir(name) / "lab.json"
    if not path.exists():
        raise LabError(f"no lab {name!r} is up: start one with 'tests/lab/lab --name {name} up'")
    state = json.loads(path.read_text())
    specs = [MachineSpec(**entry) for entry in state["machines"]]
    return Lab(name, state["index"], state["flavour"], {spec.name: spec for spec in specs})


def _free_index() -> int:
    taken = set()
    for path in state_root().glob("*/index"):
        taken.add(int(path.read_text()))
    return next(number for number in range(100) if number not in taken)


def up(name: str, names: list[str], flavour: str, memory_mib: int, *, on: bool = True) -> Lab:
    """Start a lab of new machines and wait until each answers; raise LabError where one of this name exists.

    on: False leaves them off, for whoever makes them new before anything else.
    """
    check_host()
    if re.fullmatch(r"[a-z][a-z0-9-]{0,15}", name) is None:
        raise LabError(f"{name!r} can't name a lab: up to 16 lower-case letters, digits and hyphens")
    if len(set(names)) != len(names):
        raise LabError("two machines have one name")
    images.image(flavour)
    with _only_one():
        folder = lab_dir(name)
        if folder.exists():
            raise LabError(f"lab {name!r} is there already: 'tests/lab/lab --name {name} down' removes it")
        folder.mkdir(parents=True)
        index = _free_index()
        (folder / "index").write_text(f"{index}\n")
        network = Network(name, index)
        specs = {
            machine_name: MachineSpec(
                *(name, machine_name, number),
                *(network.management.address(number), network.service.address(number), network.gateway),
                [wire.tap(number) for wire in network.wires],
                [network.mac(wire, number) for wire in network.wires],
                *(memory_mib, name_servers()),
            )
            for number, machine_name in enumerate(names, 1)
        }
        lab = Lab(name, index, flavour, specs)
        network.create(len(names))
    kind, key = images.host_key().with_suffix(".pub").read_text().split()[:2]
    (folder / KNOWN_HOSTS).write_text("".join(f"{spec.address} {kind} {key}\n" for spec in specs.values()))
    _save(lab)
    if on:
        with step(f"starting {', '.join(names)}"):
            power_on(lab, names)
    return lab


def power_on(lab: Lab, names: list[str]) -> None:
    """Start machines that are off, on the disks that they have, and wait until each answers."""
    for name in names:
        if machine.kernel_pid(lab.files(name)) is not None:
            raise LabError(f"{name} is on already")
        image, kernel_root = images.image(lab.flavour), images.kernel_root()
        machine.start(lab.spec(name), lab.index, lab.network.namespace, lab.folder, kernel_root, image)
    wait_up(lab, names)


def power_cut(lab: Lab, names: list[str]) -> None:
    """Take machines' power away, all at once: nothing is flushed, the disks stay."""
    for name in names:
        machine.signal_machine(lab.files(name), signal.SIGKILL)
    for name in names:
        if not machine.wait_off(lab.files(name), 10):
            raise LabError(f"{name} is not off within 10 s of the cut: see {lab.files(name).console}")


def power_off(lab: Lab, names: list[str]) -> None:
    """Shut machines down in order, and wait until they are off.

    NFS clients go first: a server that is gone before them would keep them waiting in their unmount.
    """
    clients = [name for name in names if lab.ssh(name, "findmnt -n -t nfs,nfs4", check=False).strip()]
    for wave in (clients, [name for name in names if name not in clients]):
        for name in wave:
            lab.ssh(name, "systemctl poweroff", check=False)
        for name in wave:
            if not machine.wait_off(lab.files(name), 60):
                raise LabError(f"{name} did not shut down within 60 s: its console is {lab.files(name).console}")


def renew(lab: Lab, names: list[str], flavour: str) -> Lab:
    """Make machines new: same names and addresses, empty disks, of this flavour (all machines share one)."""
    if flavour != lab.flavour and set(names) != set(lab.machines):
        raise LabError("machines of one lab share a flavour: renew all of them to change it")
    changed = Lab(lab.name, lab.index, flavour, lab.machines)
    images.image(flavour)
    power_cut(lab, names)
    for name in names:
        lab.files(name).disk.unlink(missing_ok=True)
    _save(changed)
    for number in (lab.spec(name).number for name in names):
        lab.network.set_link(number, True)
    with step(f"starting {', '.join(names)} anew"):
        power_on(changed, names)
    return changed


def snapshot(lab: Lab, label: str) -> None:
    """Keep the disks of all machines as they are now; the machines are shut down and started again."""
    names = list(lab.machines)
    with step(f"keeping snapshot {label}"):
        power_off(lab, names)
        target = lab.folder / "snapshots" / label
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            run(["cp", "--sparse=always", "--preserve", str(lab.files(name).disk), str(target / f"{name}.cow")])
        power_on(lab, names)


def restore(lab: Lab, label: str) -> None:
    """Put all machines back to a snapshot and start them."""
    source = lab.folder / "snapshots" / label
    if not source.is_dir():
        raise LabError(f"lab {lab.name} has no snapshot {label!r}")
    names = list(lab.machines)
    with step(f"going back to snapshot {label}"):
        power_cut(lab, names)
        for name in names:
            run(["cp", "--sparse=always", "--preserve", str(source / f"{name}.cow"), str(lab.files(name).disk)])
            lab.network.set_link(lab.spec(name).number, True)
        power_on(lab, names)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_up(lab: Lab, names: list[str], seconds: float = BOOT_SECONDS) -> None:
    """Wait until ssh answers on each machine; raise LabError with the one that doesn't and its console's end."""
    begun = time.monotonic()
    waiting = list(names)
    while waiting := [name for name in waiting if not _answers(lab.spec(name).address)]:
        passed = time.monotonic() - begun
        # A kernel that ended, or never began, will not answer later.
        dead = [name for name in waiting if passed > 5 and machine.kernel_pid(lab.files(name)) is None]
        if dead or passed > seconds:
            console = lab.files((dead or waiting)[0]).console
            tail = "\n".join(console.read_text(errors="replace").splitlines()[-15:])
            raise LabError(f"{', '.join(dead or waiting)} did not come up in {passed:.0f} s; {console} ends:\n{tail}")
        time.sleep(0.1)


def down(name: str) -> None:
    """Remove a lab and all that it left, however far it came up; nothing happens where there is none."""
    with _only_one():
        folder = lab_dir(name)
        index_file = folder / "index"
        if index_file.exists():
            network = Network(name, int(index_file.read_text() or 0))
            _end_all(network)
            network.remove()
        if folder.exists():
            shutil.rmtree(folder)
            say(f"lab {name} is gone")
        if not any(path.is_dir() for path in state_root().iterdir()):
            restore_forwarding()


def _end_all(network: Network) -> None:
    """End every process of the lab: all of them, and only they, live in its namespace."""
    end = time.monotonic() + 20
    while pids := network.processes():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise LabError(f"processes of lab {network.name} don't end: {pids}")
        time.sleep(0.05)


def fill_disk(lab: Lab, name: str, leave_mib: int) -> None:
    """Fill a machine's disk until only so many MiB are free."""
    lab.ssh(
        name,
        f"set -e; free=$(df --output=avail -m / | tail -1); fallocate -l $((free - {leave_mib}))M /lab-fill; sync",
    )


def set_clock(lab: Lab, name: str, seconds: float) -> None:
    """Move a machine's clock by so many seconds."""
    now = float(lab.ssh(name, "date +%s.%N"))
    lab.ssh(name, f"date -s @{now + seconds:.3f}")


def write_hosts(lab: Lab, names: list[str]) -> None:
    """Have all machines know the service addresses of these ones by name, and of no others, until they are made new."""
    known = [(spec.service_address, spec.host_name, spec.name) for spec in map(lab.spec, names)]
    for spec in lab.machines.values():
        itself = [] if spec.name in names else [("127.0.1.1", spec.host_name, spec.name)]
        lines = [" ".join(entry) for entry in (("127.0.0.1", "localhost"), *itself, *known)]
        run(lab.ssh_argv(spec.name, "cat > /etc/hosts; sync /etc/hosts"), text_in="\n".join(lines) + "\n", timeout=60)


def describe(lab: Lab) -> list[dict[str, str]]:
    """Return each machine's name, addresses and state."""
    rows = []
    for name, spec in lab.machines.items():
        on = machine.kernel_pid(lab.files(name)) is not None
        state = "off" if not on else "answers" if _answers(spec.address) else "on, does not answer"
        addresses = {"address": spec.address, "service_address": spec.service_address}
        rows.append({"name": name, **addresses, "state": state})
    return rows


def inventory(lab: Lab) -> dict[str, object]:
    """Return the machines as an inventory script's answer: how to reach them, and no groups.

    RSPM_LAB_LOGIN: `ops`, the ordinary account, with sudo and a password for all hosts, the controller among them as in
    a team's group_vars/all; or `root`. RSPM_LAB_SSH_DIR: where copies of key and known_hosts are that an ordinary user
    of the controller may read.
    """
    login = os.environ.get("RSPM_LAB_LOGIN", "ops")
    if login not in ("ops", "root"):
        raise LabError(f"RSPM_LAB_LOGIN is {login!r}: ops or root")
    key, known_hosts = images.ssh_key(), lab.folder / KNOWN_HOSTS
    if copies := os.environ.get("RSPM_LAB_SSH_DIR"):
        key, known_hosts = (Path(copies) / path.name for path in (key, known_hosts))
    options = shlex.join(_options(key, known_hosts))
    become = {
        "ansible_become": True,
        "ansible_become_user": "root",
        "ansible_become_password": images.OPS_PASSWORD,
        # for an inventory that takes it from elsewhere
        "lab_password": images.OPS_PASSWORD,
    }
    hostvars = {
        spec.host_name: {
            "ansible_host": spec.address,
            "ansible_user": login,
            "ansible_ssh_common_args": options,
            "ansible_python_interpreter": images.ANSIBLE_PYTHON[lab.flavour],
            "service_address": spec.service_address,
        }
        for spec in lab.machines.values()
    }
    everywhere = become if login == "ops" else {}
    return {"_meta": {"hostvars": hostvars}, "all": {"hosts": sorted(hostvars), "vars": everywhere}}
