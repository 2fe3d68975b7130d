"""One machine: its start, its end, and the supervisor that keeps a reboot a reboot.

A machine's kind is whatever turns a MachineSpec into a command: `uml_command` is the one there is. A `qemu` kind
would be a second such function.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

REBOOT_LINE = b"reboot: Restarting system"
# No name server knows the names in it.
DOMAIN = "example.org"
# Where the kernel's chroot sees what it needs.
INSIDE = Path("/lab")


@dataclass(frozen=True)
class MachineSpec:
    """All that a machine is started with.

    address: on the management network, by which Ansible and the tests log in. service_address: on the other one.
    taps, macs: of its two network cards, the management network's first.
    """

    lab: str
    name: str
    number: int
    address: str
    service_address: str
    gateway: str
    taps: list[str]
    macs: list[str]
    memory_mib: int
    dns: list[str]

    @property
    def host_name(self) -> str:
        """The machine's own name, by which Ansible's inventory knows it too."""
        return f"{self.name}.{DOMAIN}"

    def to_dict(self) -> dict[str, object]:
        """Return the machine as the lab's state file keeps it."""
        return asdict(self)


@dataclass(frozen=True)
class MachineFiles:
    """Where one machine's files are, all in the lab's folder."""

    lab: Path
    name: str

    @property
    def disk(self) -> Path:
        """The copy-on-write disk."""
        return self.lab / f"{self.name}.cow"

    @property
    def console(self) -> Path:
        """All that the machine's kernel and systemd printed."""
        return self.lab / f"{self.name}.console"

    @property
    def pid_file(self) -> Path:
        """The id of the running kernel process; absent while the machine is off."""
        return self.lab / f"{self.name}.pid"


def uml_command(spec: MachineSpec, image_name: str) -> list[str]:
    """Return the command that is this machine, as seen from within the kernel's chroot."""
    cards = zip(spec.taps, spec.macs, strict=True)
    return [
        "/usr/bin/linux.uml",
        f"mem={spec.memory_mib}M",
        "seccomp=on",
        "noreboot",
        # Early in the line, where a process list still shows it.
        f"uml_dir=/tmp/{spec.lab}",
        f"umid={spec.name}",
        f"ubd0={INSIDE}/state/{spec.name}.cow,{INSIDE}/images/{image_name}",
        "root=/dev/ubda",
        "rw",
        "con=none",
        "con0=null,fd:1",
        "quiet",
        "systemd.show_status=0",
        # 512 terminals of the last century would be 512 devices to systemd, which looks at each when it reloads
        "pty.legacy_count=0",
        *(f"vec{n}:transport=tap,ifname={tap},depth=128,gso=0,mac={mac}" for n, (tap, mac) in enumerate(cards)),
        f"lab.name={spec.host_name}",
        f"lab.address={spec.address}",
        f"lab.service={spec.service_address}",
        f"lab.gateway={spec.gateway}",
        f"lab.dns={','.join(spec.dns)}",
    ]


def supervise(files: MachineFiles, command: list[str]) -> int:
    """Run the machine until it is powered off or cut; start it anew when it reboots.

    A guest's reboot in place would leave its tap held by the old kernel, so `noreboot` makes it an exit, and the
    console's last lines tell the two apart.
    """
    environment = {"PATH": "/usr/bin:/usr/sbin", "HOME": "/tmp", "TMPDIR": "/dev/shm"}
    while True:
        with files.console.open("ab") as console:
            begin = console.tell()
            # A session of its own: a power cut is one signal to the whole group.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            files.pid_file.write_text(f"{process.pid}\n")
            code = process.wait()
        _end_group(process.pid)
        # Last: with this file the machine counts as on, so nobody starts it before all of it has ended.
        files.pid_file.unlink(missing_ok=True)
        with files.console.open("rb") as console:
            console.seek(begin)
            rebooted = REBOOT_LINE in console.read()
        if code != 0 or not rebooted:
            return code


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def enter_chroot(kernel_root: Path, images: Path, state: Path) -> None:
    """Confine this process to the kernel's folder, in a mount namespace that ends with it."""
    for source, target, options in (
        (images, "lab/images", ["--bind"]),
        (state, "lab/state", ["--bind"]),
        (Path("/dev"), "dev", ["--rbind"]),
        (Path("/proc"), "proc", ["--rbind"]),
    ):
        where = kernel_root / target
        where.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *options, str(source), str(where)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "lab-tmp", str(kernel_root / "tmp")], check=True)
    os.chroot(kernel_root)
    os.chdir("/")


def main() -> int:
    """Run as the supervisor: `machine.py KERNEL_ROOT IMAGES STATE NAME COMMAND...` in its own mount namespace."""
    kernel_root, images, state, name, *command = sys.argv[1:]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    enter_chroot(Path(kernel_root), Path(images), Path(state))
    return supervise(MachineFiles(INSIDE / "state", name), command)


def processor(lab_index: int, number: int) -> int:
    """Return the processor on which a machine runs, the next one for the next machine.

    A machine's kernel and its processes are processes here that wait for each other at each of its system calls. Where
    these are on two processors, such a call takes 22 us instead of 13.
    """
    there = sorted(os.sched_getaffinity(0))
    return there[(lab_index + number) % len(there)]


def start(spec: MachineSpec, lab_index: int, namespace: str, lab: Path, kernel_root: Path, image: Path) -> None:
    """Start a machine in the lab's namespace and return at once."""
    supervisor = [
        *("taskset", "--cpu-list", str(processor(lab_index, spec.number))),
        *("ip", "netns", "exec", namespace, "unshare", "--mount", "--propagation", "private"),
        *(sys.executable, str(Path(__file__).resolve()), str(kernel_root), str(image.parent), str(lab), spec.name),
        *uml_command(spec, image.name),
    ]
    with MachineFiles(lab, spec.name).console.open("ab") as console:
        subprocess.Popen(
            supervisor, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True, cwd="/"
        )


def kernel_pid(files: MachineFiles) -> int | None:
    """Return the id of the machine's kernel process, or None while it is off."""
    try:
        pid = int(files.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    return pid if f"umid={files.name}".encode() in command.split(b"\0") else None


def signal_machine(files: MachineFiles, number: signal.Signals) -> bool:
    """Send a signal to all of a machine's processes; False where it is off."""
    pid = kernel_pid(files)
    if pid is None:
        return False
    os.killpg(pid, number)
    return True


def wait_off(files: MachineFiles, seconds: float) -> bool:
    """Wait until a machine's processes are gone and its supervisor knows; False after so many seconds."""
    end = time.monotonic() + seconds
    while files.pid_file.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


if __name__ == "__main__":
    sys.exit(main())
