"""The kernel and the disk images, each made once and named by a hash of what made it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .paths import cache_dir
from .shell import LabError, run, run_logged, step

GUEST_FILES = Path(__file__).resolve().parent / "guest"
KERNEL_SUITE = "sid"
SUITE = "bookworm"
DISK_SIZE = "6G"
# Of the account ops, for sudo: these machines can be reached from this one alone.
OPS_PASSWORD = "ops of the lab"
# Of the image full; the bare one has only what Debian has.
ANSIBLE_PYTHON = {"full": "/usr/local/bin/lab-python", "bare": "/usr/bin/python3"}

BARE_PACKAGES = [
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "kmod",
    "ethtool",
    "ca-certificates",
    "procps",
]
# What the roles install, so that a scenario does not pay for it; the bare image has none of it.
FULL_PACKAGES = [
    "postgresql",
    "python3-psycopg2",
    "nfs-kernel-server",
    "nfs-common",
    "chrony",
    "haproxy",
    "rsync",
    "adduser",
]
# Off until a role turns them on, which is then the role's doing.
FULL_SERVICES_OFF = ["postgresql", "nfs-server", "chrony", "haproxy"]
FLAVOURS = {"bare": [], "full": FULL_PACKAGES}
# What systemd asks at each boot and each daemon-reload for disks and settings that no machine of the lab has; a
# process costs a User-mode Linux machine some 60 ms. e2scrub looks for volumes of LVM.
_NO_GENERATORS = [
    f"systemd-{name}-generator"
    for name in (
        *("cryptsetup", "debug", "gpt-auto", "hibernate-resume", "integritysetup"),
        *("rc-local", "run", "system-update", "veritysetup"),
    )
]
_MASKED = ["getty.target", "systemd-networkd-wait-online.service", "e2scrub_reap.service"]
_OFF = [*_NO_GENERATORS, *_MASKED]


def _apt_options() -> list[str]:
    """Return the host's own download settings (proxy, clock checks): guests reach the same mirror by the same way."""
    wanted = ("Acquire::http::Proxy ", "Acquire::https::Proxy ", "Acquire::Check-")
    dump = run(["apt-config", "dump"]).stdout
    return [line for line in dump.splitlines() if line.startswith(wanted)]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _guest_text() -> str:
    return "\0".join(f"{p.name}\0{p.read_text()}" for p in sorted(GUEST_FILES.iterdir()))


class _Building:
    """A folder that takes its final name only when complete, so that an interrupted build is never used."""

    def __init__(self, final: Path) -> None:
        self.final = final
        # Not that of a build which was killed: a command that it had started may still write there.
        self.work = final.with_name(f"{final.name}.{os.getpid()}.part")

    def __enter__(self) -> Path:
        for old in self.final.parent.glob(f"{self.final.name}.*.part"):
            shutil.rmtree(old, ignore_errors=True)
        self.work.mkdir(parents=True)
        return self.work

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.work.rename(self.final)


def kernel_root() -> Path:
    """Return the folder with the newest User-mode Linux kernel and the libraries that it needs."""
    final = cache_dir() / f"kernel-{_digest(KERNEL_SUITE, 'v2')}"
    if not final.exists():
        with step("fetching the User-mode Linux kernel"), _Building(final) as work:
            _mmdebstrap(work, KERNEL_SUITE, "extract", ["user-mode-linux"], work / "build.log")
            # Extracting alone leaves out the links of a merged /usr.
            for link in ("bin", "lib", "lib64", "sbin"):
                (work / "root" / link).symlink_to(f"usr/{link}")
    if not (final / "root/usr/bin/linux.uml").exists():
        raise LabError(f"{final} holds no kernel: remove the folder and try again")
    return final / "root"


def kernel_version(root: Path) -> str:
    """Return the release of the kernel below `root`, for its modules."""
    return next((root / "usr/lib/uml/modules").iterdir()).name


def ssh_key() -> Path:
    """Return the private key that opens every machine of every lab."""
    key = cache_dir() / "ssh" / "id_ed25519"
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rspm-lab", "-f", str(key)])
    return key


def host_key() -> Path:
    """Return the host key of all machines: known in advance, so that no check has to be turned off."""
    key = cache_dir() / "ssh" / "ssh_host_ed25519_key"
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rspm-lab-host", "-f", str(key)])
    return key


def _mmdebstrap(work: Path, suite: str, variant: str, packages: list[str], log: Path) -> None:
    options = [f"--aptopt={line}" for line in _apt_options()]
    argv = ["mmdebstrap", f"--variant={variant}", *options, f"--include={','.join(packages)}"]
    if variant != "extract":
        argv.append("--dpkgopt=path-exclude=/usr/share/doc/*")
        argv.append("--dpkgopt=path-exclude=/usr/share/man/*")
    run_logged([*argv, suite, str(work / "root")], log)


def _bare_root() -> Path:
    kernel = kernel_root()
    made_of = [kernel.parent.name, kernel_version(kernel), *BARE_PACKAGES, _guest_text(), *_OFF, OPS_PASSWORD]
    final = cache_dir() / f"root-{_digest(*made_of)}"
    if final.exists():
        return final / "root"
    with step("making the Debian root"), _Building(final) as work:
        _mmdebstrap(work, SUITE, "minbase", BARE_PACKAGES, work / "build.log")
        _prepare_root(work / "root", kernel)
    return final / "root"


def _prepare_root(root: Path, kernel: Path) -> None:
    release = kernel_version(kernel)
    shutil.copytree(kernel / "usr/lib/uml/modules" / release, root / "lib/modules" / release, symlinks=True)
    run(["chroot", str(root), "depmod", release])
    for name, target in {
        "lab-setup": "usr/local/sbin/lab-setup",
        "lab-setup.service": "etc/systemd/system/lab-setup.service",
        "lab-devices.rules": "etc/udev/rules.d/99-zz-lab-devices.rules",
    }.items():
        shutil.copy(GUEST_FILES / name, root / target)
    (root / "usr/local/sbin/lab-setup").chmod(0o755)
    (root / "etc/apt/apt.conf.d/90lab").write_text("\n".join(_apt_options()) + "\n")
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(ssh_key().with_suffix(".pub"), root / "root/.ssh/authorized_keys")
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    shutil.copy(host_key(), root / "etc/ssh/ssh_host_ed25519_key")
    shutil.copy(host_key().with_suffix(".pub"), root / "etc/ssh/ssh_host_ed25519_key.pub")
    # Package lists as old as on any machine that was not made this very moment: apt's users refresh by age.
    os.utime(root / "var/lib/apt/lists", (0, 0))
    (root / "etc/fstab").write_text("/dev/ubda / ext4 defaults,noatime 0 1\n")
    run(["chroot", str(root), "sh", "-s", OPS_PASSWORD], text_in=(GUEST_FILES / "accounts").read_text())
    # Left empty: each machine gets an id of its own at its first start.
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    run(["chroot", str(root), "systemctl", "enable", "-q", "lab-setup.service", "ssh.service"])
    run(["chroot", str(root), "systemctl", "mask", "-q", *_MASKED])
    generators = root / "etc/systemd/system-generators"
    generators.mkdir(exist_ok=True)
    for name in _NO_GENERATORS:
        (generators / name).symlink_to("/dev/null")


def _full_root() -> Path:
    bare = _bare_root()
    final = cache_dir() / f"root-{_digest(bare.parent.name, *FULL_PACKAGES, *FULL_SERVICES_OFF)}"
    if final.exists():
        return final / "root"
    with step("installing PostgreSQL, NFS, chrony and HAProxy into the image"), _Building(final) as work:
        root = work / "root"
        run(["cp", "-a", str(bare), str(root)])
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        # As on a machine where nothing is to start while packages are put in.
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        apt = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q"]
        run_logged([*apt, "update"], work / "build.log")
        run_logged([*apt, "install", "--no-install-recommends", *FULL_PACKAGES], work / "build.log")
        run(["chroot", str(root), "systemctl", "disable", "-q", *FULL_SERVICES_OFF])
        run_logged([*apt, "clean"], work / "build.log")
        # as it is where apt has been used before; making it takes 3 s of each new machine
        run_logged(["chroot", str(root), "apt-cache", "gencaches"], work / "build.log")
        policy.unlink()
        packages = root / "usr/lib/python3/dist-packages"
        shutil.copy(GUEST_FILES / "lab_keep_compiled.py", packages)
        (packages / "lab_keep_compiled.pth").write_text("import lab_keep_compiled\n")
        _compile("lab-python.c", root / ANSIBLE_PYTHON["full"].lstrip("/"), "-static")
        _compile("lab-populate.c", root / "usr/local/lib/lab-populate.so", "-shared", "-fPIC")
    return final / "root"


def _compile(source: str, target: Path, *options: str) -> None:
    run(["gcc", "-O2", "-s", *options, "-o", str(target), str(GUEST_FILES / source)])
    target.chmod(0o755)


def image(flavour: str) -> Path:
    """Return the disk image of a flavour, made where it is not there yet.

    bare: what a fresh Debian machine has. full: the distribution's packages that the roles use are there, unconfigured,
    its Python keeps what it compiles of modules that Ansible sends, and ANSIBLE_PYTHON starts faster.
    """
    if flavour not in FLAVOURS:
        raise LabError(f"there is no image {flavour!r}: choose one of {', '.join(FLAVOURS)}")
    with _only_one_builder():
        return _image(flavour)


@contextmanager
def _only_one_builder() -> Iterator[None]:
    """Hold the lock under which images are made: two labs may want the same one at once."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _image(flavour: str) -> Path:
    root = _bare_root() if flavour == "bare" else _full_root()
    final = cache_dir() / f"{flavour}-{_digest(root.parent.name, DISK_SIZE, 'm0')}.img"
    if not final.exists():
        with step(f"writing the {flavour} disk"):
            part = final.with_suffix(".part")
            part.unlink(missing_ok=True)
            # No blocks kept for root: a full disk is full for everyone.
            options = ["-q", "-m", "0", "-E", "lazy_itable_init=1,nodiscard"]
            run(["mkfs.ext4", *options, "-d", str(root), str(part), DISK_SIZE])
            part.rename(final)
    return final
