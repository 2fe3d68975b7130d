"""Running commands and telling a person what goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class LabError(Exception):
    """Something that a person has to change; the text says what."""


def say(text: str) -> None:
    """Print one progress line at once."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step that takes more than a moment, and say how long it took (seconds)."""
    say(f"{text} ...")
    begun = time.monotonic()
    yield
    say(f"{text}: done in {time.monotonic() - begun:.1f} s")


def run(
    argv: Sequence[str], *, check: bool = True, text_in: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and capture its output; a failing one raises LabError with what it printed."""
    done = subprocess.run(argv, input=text_in, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise LabError(f"{' '.join(argv)} ended with {done.returncode}:\n{tail}")
    return done


def run_logged(argv: Sequence[str], log: Path) -> None:
    """Run a long command with its output in `log`; a failing one raises LabError with the log's end."""
    with log.open("ab") as sink:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"{argv[0]} ended with {done.returncode}; its log {log} ends:\n{tail}")


TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "gcc": "gcc libc6-dev",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "taskset": "util-linux",
    "unshare": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


def check_host() -> None:
    """Raise LabError where this machine can't hold a lab, with what to do about it."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, taps and disks: run it as root")
    if os.uname().machine != "x86_64":
        raise LabError(f"User-mode Linux needs an x86_64 host, this one is {os.uname().machine}")
    if not Path("/dev/net/tun").exists():
        raise LabError("/dev/net/tun is missing: load the kernel module with 'modprobe tun'")
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise LabError(f"tools are missing: apt-get install -y {' '.join(missing)}")
