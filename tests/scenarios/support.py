"""What the scenarios share: runs of the playbooks, and looks at the machines from outside the collection."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / name) for name in ("lab", "standin")]

from make_wheel import make_wheel  # noqa: E402
from rspm_lab import lab as lab_module  # noqa: E402 the path comes first
from rspm_lab.lab import Lab  # noqa: E402
from rspm_lab.shell import run  # noqa: E402

from tests.scenarios.workplace import HOME, Workplace, workplace  # noqa: E402

LAB_NAME = os.environ.get("RSPM_LAB", "lab")
NODES = ["node1", "node2", "node3"]
# What a person has of the packages, as soon as there is a person.
PACKAGES = HOME / LAB_NAME / "packages"
SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "cluster")
DOMAIN = "example.org"
# Ansible says it beside each deprecation, which is told itself.
_NOT_OURS = re.compile(r"Deprecation warnings can be disabled")


def current_lab() -> Lab:
    """Return the lab that the scenario runs on."""
    return lab_module.load(LAB_NAME)


def short(text: str) -> str:
    """Return a text in which machines have the names that the lab has for them: an inventory's are longer."""
    # a line that begins within a text of JSON has the letter of its escape before it
    return re.sub(rf"(?:(?<=\\n)|\b)(node\d|infra|lb)\.{re.escape(DOMAIN)}\b", r"\1", text)


def full(machine: str) -> str:
    """Return the name that an inventory has for a machine."""
    return f"{machine}.{DOMAIN}"


def address(lab: Lab, machine: str) -> str:
    """Return the address at which a machine serves; Ansible comes by another network."""
    return lab.spec(machine).service_address


def read_json(path: Path) -> Any:
    """Return what a run wrote for a program, with the lab's names of the machines."""
    return json.loads(short(path.read_text("utf-8")))


@dataclass
class Run:
    """One run of a playbook: its output, and each task's result on each host."""

    code: int
    output: str
    results: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, code: int, output: str, record: Path) -> Run:
        """Return a run that is over. record: what the callback wrote, nothing where it never began."""
        lines = short(record.read_text("utf-8")).splitlines() if record.exists() else []
        return cls(code, short(output), [json.loads(line) for line in lines])

    def changed(self) -> list[str]:
        """Return `host: task` for every change."""
        return [f"{r['host']}: {r['task']}" for r in self.results if r["changed"]]

    def failures(self) -> list[dict[str, Any]]:
        """Return the results that failed or could not be reached."""
        return [r for r in self.results if r["outcome"] in ("failed", "unreachable")]

    def messages(self) -> str:
        """Return the text of all failures."""
        texts = []
        for result in self.failures():
            message = result["msg"]
            texts.append("\n".join(message) if isinstance(message, list) else str(message))
        return "\n".join(texts)

    def warnings(self) -> list[str]:
        """Return the warnings and deprecations that what we wrote is the cause of."""
        found = re.findall(r"^\[(?:DEPRECATION )?WARNING\]: .*(?:\n(?![\n\[]).*)*", self.output, re.M)
        return [text for text in found if not _NOT_OURS.search(text)]

    def tasks_of(self, host: str) -> int:
        """Return how many tasks a host was sent through, skipped ones included."""
        return sum(1 for r in self.results if r["host"] == host)


def person() -> Workplace:
    """Return the place that the playbooks of this scenario are run from."""
    return workplace(LAB_NAME, SCENARIO)


def start(
    argv: list[str], record: Path | None = None, as_it_comes: bool = False, **options: Any
) -> subprocess.Popen[str]:
    """Start what a person types; record: where the callback writes, by default nowhere. Its output is in one pipe.

    as_it_comes: with Ansible's defaults, as somebody has it who has set nothing; else it is faster.
    """
    environment = {"RSPM_RECORD": str(record or "/dev/null"), "PYTHONUNBUFFERED": "1"}
    if as_it_comes:
        environment["ANSIBLE_PIPELINING"] = "false"
    return person().start(argv, environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def run_playbook(
    name: str,
    *args: str,
    inventory: Path | None = None,
    timeout: float = 900,
    as_it_comes: bool = False,
    may_warn: bool = False,
    **variables: Any,
) -> Run:
    """Run a playbook to its end and return what it said and did.

    A warning that is ours is an AssertionError, unless it may warn.
    """
    place = person()
    record = place.new_folder("record-") / "results.jsonl"
    argv = place.argv(name, *args, inventory=str(inventory or "inventory"), **variables)
    with start(argv, record, as_it_comes) as process:
        try:
            output, _none = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    run = Run.of(process.returncode, output, record)
    assert may_warn or run.warnings() == [], "\n".join([*run.warnings(), run.output[-3000:]])
    return run


# What a run that changes nothing still touches: Ansible's own temporary files, logs, what services write themselves.
# What packages own below /usr is told by the list of packages. A file server's mounts are told by the list of mounts.
_SPARED = (
    "/proc /sys /dev /run /tmp /var/tmp /var/log /root/.ansible /home/ops/.ansible "
    "/home/ops/.sudo_as_admin_successful /var/lib/sudo /var/lib/postgresql /var/lib/chrony /var/lib/nfs "
    "/var/lib/systemd /srv /mnt /var/cache/apt /lab-fill /var/lib/private /usr/lib /usr/share /usr/bin "
).split()
# Units are told by the folders that they and their links are in: `systemctl list-unit-files` takes 5 s of PID 1 on the
# lab's machines, and longer than it waits for an answer where they are busy. What systemd does at a time of its own,
# such as cleaning /tmp, is no change.
_FINGERPRINT = f"""
set -e -o pipefail
{{ find / -ignore_readdir_race -xdev \\
    \\( -name __pycache__ {" ".join(f"-o -path {path}" for path in _SPARED)} \\) -prune \\
    -o \\( -type f -o -type l \\) -printf '%p %m %u %g %s %T@\\n'
  find /run/systemd /usr/lib/systemd/system -ignore_readdir_race \\
    \\( -path '*/system/*' -o -path '*/generator*/*' \\) -printf '%p -> %l\\n'
  dpkg -l
  systemctl list-units --type=service,mount --state=running,mounted --no-legend --no-pager --plain \\
    | awk '{{print $1}}' \\
    | grep -v -E '^(run-user|run-credentials|user@|user-runtime|systemd-(hostnamed|timedated|tmpfiles-clean))'
  grep -v -E ' /run/(user|credentials)/' /proc/self/mounts
  getent passwd; getent group
}} | LC_ALL=C sort | cat -v
"""


def fingerprint(names: list[str] | None = None) -> dict[str, list[str]]:
    """Return, for each machine, every file, package, unit, mount and account as lines that two looks can compare."""
    lab = current_lab()
    wanted = names or list(lab.machines)
    with ThreadPoolExecutor() as pool:
        looks = pool.map(lambda name: lab.ssh(name, _FINGERPRINT, timeout=180).splitlines(), wanted)
        return dict(zip(wanted, looks, strict=True))


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """Return what two fingerprints differ in, by machine."""
    found = []
    for name, lines in before.items():
        old, new = set(lines), set(after[name])
        found += [f"{name}: - {line}" for line in sorted(old - new)]
        found += [f"{name}: + {line}" for line in sorted(new - old)]
    return found


def get(address: str, path: str = "/__ping__", timeout: float = 5) -> tuple[int, bytes]:
    """Return status and body of an HTTP request to `host[:port]`; status 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def wait_for(what: str, condition: Any, seconds: float, pause: float = 0.2) -> float:
    """Wait until a condition holds and return the seconds it took; AssertionError names what never came."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(pause)
    return time.monotonic() - begun


def copy(lab: Lab, node: str, source: str, target: str) -> None:
    """Copy a file of the controller to a machine."""
    options = lab_module.ssh_options(lab.folder)
    subprocess.run(["scp", "-q", *options, source, f"root@{lab.spec(node).address}:{target}"], check=True)


def publish(lab: Lab, name: str, node: str) -> float:
    """Publish a new wheel on a node and return the moment after it (seconds, monotonic)."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_wheel(Path(folder), name)
        copy(lab, node, str(path), "/tmp/")
        lab.ssh(node, f"/opt/rstudio-pm/bin/rspm add --repo=pypi --path /tmp/{path.name}")
    return time.monotonic()


def versions(lab: Lab) -> dict[str, str]:
    """Return the version that each node's own API tells; empty where none answers."""
    told = {}
    for node in NODES:
        code, body = get(f"{address(lab, node)}:4242", "/__api__/status")
        told[node] = json.loads(body)["version"] if code == 200 else ""
    return told


@dataclass(frozen=True)
class Answer:
    """One request: when it was made and when it was over (seconds, epoch), and the status, or 0 for no answer."""

    asked: float
    ended: float
    code: int


class Clients:
    """Clients that go on asking through the load balancer, and remember what they got."""

    def __init__(self, address: str, path: str = "/__api__/status", count: int = 4) -> None:
        self._address, self._path = address, path
        self._stop = threading.Event()
        self.answers: list[Answer] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, name=f"client {number}", daemon=True) for number in range(count)
        ]

    def _ask(self) -> None:
        while not self._stop.is_set():
            asked = time.time()
            code = get(self._address, self._path, timeout=30)[0]
            with self._lock:
                self.answers.append(Answer(asked, time.time(), code))
            time.sleep(0.05)

    @property
    def answered(self) -> int:
        """How many requests were served."""
        return sum(answer.code == 200 for answer in self.answers)

    @property
    def failures(self) -> list[Answer]:
        """Every request that was not."""
        return [answer for answer in self.answers if answer.code != 200]

    def outages(self) -> list[float]:
        """Return how long each outage was: from the first request that failed to the end of the next that was served.

        A client that is refused asks again after 50 ms, so a second in which all are served is service (seconds).
        """
        stretches: list[list[float]] = []
        down = False
        for answer in sorted(self.answers, key=lambda each: each.asked):
            if answer.code != 200:
                if not down and not (stretches and answer.asked - stretches[-1][1] < 1):
                    stretches.append([answer.asked, answer.ended])
                down = True
            elif down:
                down, stretches[-1][1] = False, answer.ended
        return [end - begin for begin, end in stretches]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)


def ask_database(lab: Lab, query: str, database: str = "postgres") -> list[str]:
    """Return the rows that PostgreSQL on the infra machine gives its own superuser, a line each."""
    argv = lab.ssh_argv("infra", f"cd /; su postgres -c 'psql -At -v ON_ERROR_STOP=1 -d {database}'")
    return run(argv, text_in=query).stdout.splitlines()


def absent_address(lab: Lab) -> str:
    """Return an address of the service's network that no machine has."""
    return address(lab, "lb").rpartition(".")[0] + ".100"
