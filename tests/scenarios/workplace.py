"""The place that playbooks are run from: a person's on the controller, who is not root and has not the checkout.

An ordinary account without sudo, with a virtual environment made by the system's own Python, the collection as it is
built and installed, and copies of all that a person has: inventory, key, packages. It reads nothing of the checkout,
and Ansible is as it comes: the only setting is where the collections are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rspm_lab import images
from rspm_lab.paths import lab_dir

REPOSITORY = Path(__file__).resolve().parents[2]
USER = "rspm-operator"
HOME = Path("/var/lib") / USER
# What a person installs; the collections that ours depends on come beside it, and nothing else does.
REQUIREMENTS = ("ansible-core>=2.19",)
SYSTEM_PYTHON = "/usr/bin/python3"
MOLECULE = REPOSITORY / "extensions" / "molecule"
# One scenario has a person who logs in as root.
ROOTS = ("mirror",)


@dataclass(frozen=True)
class Workplace:
    """One lab's. folder: where commands are typed. environment: of a fresh login, and what the tests add."""

    folder: Path
    environment: dict[str, str]

    def argv(self, playbook: str, *args: str, inventory: str = "inventory", **variables: Any) -> list[str]:
        """Return what the person types for a playbook of the collection, or for one that has a path."""
        argv = ["ansible-playbook", "-i", inventory, *args]
        if variables:
            argv += ["-e", json.dumps(variables)]
        return [*argv, str(self.bring(Path(playbook))) if "/" in playbook else f"rspm.ha.{playbook}"]

    def start(self, argv: list[str], environment: dict[str, str], **options: Any) -> subprocess.Popen[str]:
        """Start a command as the person, with nothing of the tests' own environment."""
        account = pwd.getpwnam(USER)
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment | environment,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            umask=0o022,
            text=True,
            **options,
        )

    def new_folder(self, prefix: str = "") -> Path:
        """Return a new folder in which the person can write."""
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self.folder / "tmp"))
        _give(folder)
        return folder

    def bring(self, path: Path) -> Path:
        """Return the path of a copy that the person can read; what is theirs already is left where it is."""
        if path.is_relative_to(self.folder):
            return path
        copied = self.folder / "files" / path.name
        shutil.copyfile(path, copied)
        _give(copied)
        return copied


@cache
def workplace(lab: str, scenario: str) -> Workplace:
    """Return the place for a lab, made anew; scenario: whose inventory it has."""
    with _only_one():
        _make_account()
        return _make_place(lab, scenario, _environment())


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock under which account and environment are made: two scenarios may begin at once."""
    with Path("/run/lock", USER).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(*argv: str) -> None:
    """Run a command; RuntimeError with what it said where it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")


def _give(*paths: Path) -> None:
    """Make files and folders the person's own."""
    for path in paths:
        shutil.chown(path, USER, USER)


def _make_account() -> None:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        _run("useradd", "--create-home", "--home-dir", str(HOME), "--shell", "/bin/sh", "--user-group", USER)


def _environment() -> Path:
    """Return where a person's Ansible is, made by the system's Python: the checkout's may lie where only root comes."""
    wanted = "\n".join([*REQUIREMENTS, os.readlink(SYSTEM_PYTHON)])
    made = HOME / f"venv-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    whole = made / "whole"
    if not whole.exists():
        for old in HOME.glob("venv-*"):
            shutil.rmtree(old)
        _run(SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(made))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(made / "bin" / "python")]
        _run(*pip, "install", "-q", *REQUIREMENTS)
        whole.touch()
    return made


def _make_place(lab: str, scenario: str, venv: Path) -> Workplace:
    folder = HOME / lab
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("", "tmp", "files", "callback", "ssh"):
        (folder / name).mkdir(mode=0o700)
    for source in (images.ssh_key(), lab_dir(lab) / "known_hosts"):
        shutil.copy(source, folder / "ssh")
    shutil.copy(REPOSITORY / "tests" / "callback" / "record.py", folder / "callback")
    shutil.copytree(REPOSITORY / ".cache" / "packages", folder / "packages")
    as_root = scenario in ROOTS
    _copy_inventory(folder, lab, scenario, login="root" if as_root else "ops")
    environment = {
        "HOME": str(HOME),
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PATH": f"{venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_CALLBACK_PLUGINS": str(folder / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "RSPM_TEST_PACKAGES": str(folder / "packages"),
        # takes half the time; each verb's own run goes without
        "ANSIBLE_PIPELINING": "true",
        # tests/tools/scenarios.py tells by it which runs are whose
        "RSPM_LAB": lab,
    }
    if version := os.environ.get("RSPM_TEST_VERSION"):
        environment["RSPM_TEST_VERSION"] = version
    place = Workplace(folder, environment)
    galaxy = _galaxy()
    artefact = REPOSITORY / "dist" / f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"
    if not artefact.exists():
        raise RuntimeError(f"{artefact} is not there: make build")
    install_collections(place, artefact, folder / "collections")
    return place


def _galaxy() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text(encoding="utf-8"))
    return found


def install_collections(place: Workplace, artefact: Path, collections: Path) -> None:
    """Have the person install what was built into an empty folder, where all that it depends on is and nothing else.

    That is what the `ansible` package carries, since ansible-galaxy's server may not be reached.
    """
    carried = Path(sysconfig.get_path("purelib")) / "ansible_collections"
    for name in _galaxy()["dependencies"]:
        path = name.split(".")
        shutil.copytree(carried.joinpath(*path), collections.joinpath("ansible_collections", *path))
    shutil.copy(artefact, place.folder)
    _run("chown", "-R", f"{USER}:", str(place.folder))
    install = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(collections), artefact.name]
    # what is installed elsewhere would do for it
    apart = {"ANSIBLE_COLLECTIONS_PATH": str(collections)}
    with place.start(install, apart, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{' '.join(install)} ended with {process.returncode}:\n{said}")


def _copy_inventory(folder: Path, lab: str, scenario: str, login: str) -> None:
    """Copy the scenario's inventory, and write down beside it how the person reaches the machines."""
    own = MOLECULE / scenario / "inventory"
    inventory = folder / "inventory"
    shutil.copytree(own if own.exists() else MOLECULE / "inventory", inventory)
    told = subprocess.run(
        [str(REPOSITORY / "tests" / "lab" / "inventory.sh")],
        env={**os.environ, "RSPM_LAB": lab, "RSPM_LAB_LOGIN": login, "RSPM_LAB_SSH_DIR": str(folder / "ssh")},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    answer = json.loads(told)
    machines = {"all": {"hosts": answer["_meta"]["hostvars"]}}
    (inventory / "machines.json").write_text(json.dumps(machines, indent=1), encoding="utf-8")
    access = inventory / "group_vars" / "all" / "access.json"
    access.write_text(json.dumps(answer["all"].get("vars", {}), indent=1), encoding="utf-8")
