"""The lab itself: it comes up, it takes every fault, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rspm_lab import images, machine
from rspm_lab import lab as lab_module
from rspm_lab.lab import Lab
from rspm_lab.network import FORWARDING, Network
from rspm_lab.paths import lab_dir, state_root
from rspm_lab.shell import LabError, run

HERE = Path(__file__).resolve().parent
COMMAND = str(HERE / "lab")


def host_view(name: str) -> dict[str, list[str]]:
    """Return all that the lab `name` could leave on this host, where other labs may come and go meanwhile.

    A process that ended and waits to be reaped by init holds nothing and is left out.
    """
    processes = [line for line in run(["ps", "-eo", "stat=,args="]).stdout.splitlines() if not line.startswith("Z")]
    other_labs = {path.parent.name: Network("", int(path.read_text())) for path in state_root().glob("*/index")}
    others = {wire.uplink for lab, network in other_labs.items() if lab != name for wire in network.wires}
    links = {line.split(":")[1].split("@")[0].strip() for line in run(["ip", "-o", "link"]).stdout.splitlines()}
    view = {
        "processes": [line for line in processes if f"uml_dir=/tmp/{name} " in line or f"rspm-lab/{name} " in line],
        "links": sorted(links - others),
        "namespaces": [line for line in run(["ip", "netns", "list"]).stdout.split() if line == f"rspm-lab-{name}"],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line],
        "rules": [line for line in run(["nft", "list", "tables"]).stdout.splitlines() if line.endswith(f"_{name}")],
    }
    if set(other_labs) <= {name}:
        view["forwarding"] = [FORWARDING.read_text().strip()]
    return view


@pytest.fixture
def name() -> Iterator[str]:
    yield "labtest"
    lab_module.down("labtest")


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    lab_module.down("labpair")
    yield lab_module.up("labpair", ["a", "b"], "full", 256)
    lab_module.down("labpair")


def start(name: str, *machines: str, cache: Path | None = None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **({"RSPM_LAB_CACHE": str(cache)} if cache else {})}
    return subprocess.Popen([COMMAND, "--name", name, "up", *machines], env=environment, stderr=subprocess.DEVNULL)


def test_five_machines_come_up_from_the_cache_within_30_s_and_leave_nothing(name: str) -> None:
    before = host_view(name)
    begun = time.monotonic()
    lab_module.up(name, list(lab_module.DEFAULT_MACHINES), "full", 512)
    took = time.monotonic() - begun
    during = host_view(name)
    unseen = [kind for kind in ("processes", "links", "namespaces", "mounts", "rules") if during[kind] == before[kind]]
    assert not unseen, "the look at the host must be able to see a lab"
    lab_module.down(name)
    assert host_view(name) == before
    assert not lab_dir(name).exists()
    assert took < 30


def test_a_start_from_nothing_takes_at_most_4_minutes(name: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert start(name, "only", cache=tmp_path).wait(timeout=300) == 0
    assert time.monotonic() - begun < 240


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.6, 1.0, 2.5])
def test_an_up_that_is_killed_is_removed_whole(name: str, seconds: float) -> None:
    before = host_view(name)
    up = start(name, "a", "b")
    time.sleep(seconds)
    up.send_signal(signal.SIGKILL)
    up.wait()
    # A supervisor that was just begun may enter the namespace only now.
    time.sleep(0.5)
    lab_module.down(name)
    assert host_view(name) == before
    assert not lab_dir(name).exists()


def test_down_where_nothing_is_up_is_no_error() -> None:
    lab_module.down("never-there")


def test_a_second_up_of_one_name_is_refused_and_the_first_stays(pair: Lab) -> None:
    with pytest.raises(LabError, match="lab 'labpair' is there already"):
        lab_module.up("labpair", ["a"], "full", 256)
    assert pair.ssh("a", "hostname").strip() == "a.example.org"


def test_a_power_cut_loses_nothing_that_was_flushed(pair: Lab) -> None:
    pair.ssh("a", "echo kept > /root/kept; sync")
    lab_module.power_cut(pair, ["a"])
    assert [row["state"] for row in lab_module.describe(pair)] == ["off", "answers"]
    lab_module.power_on(pair, ["a"])
    assert pair.ssh("a", "cat /root/kept").strip() == "kept"


def test_a_reboot_from_within_comes_back_with_its_network(pair: Lab) -> None:
    before = pair.ssh("a", "cat /proc/sys/kernel/random/boot_id")
    pair.ssh("a", "systemctl reboot", check=False)
    time.sleep(1)
    lab_module.wait_up(pair, ["a"])
    assert pair.ssh("a", "cat /proc/sys/kernel/random/boot_id") != before


def test_a_partition_and_its_end(pair: Lab) -> None:
    number, spec = pair.spec("b").number, pair.spec("b")
    pair.network.set_link(number, up=False, wires=(pair.network.service,))
    assert (_reaches(pair, spec.address), _reaches(pair, spec.service_address)) == (True, False)
    pair.network.set_link(number, up=False)
    assert (_reaches(pair, spec.address), _reaches(pair, spec.service_address)) == (False, False)
    pair.network.set_link(number, up=True)
    lab_module.wait_up(pair, ["b"])
    assert (_reaches(pair, spec.address), _reaches(pair, spec.service_address)) == (True, True)


def _reaches(pair: Lab, target: str) -> bool:
    return "reached" in pair.ssh("a", f"timeout 5 bash -c '< /dev/tcp/{target}/22' && echo reached || true", timeout=20)


def test_this_host_is_in_both_networks(pair: Lab) -> None:
    spec = pair.spec("a")
    for address in (spec.address, spec.service_address):
        socket.create_connection((address, 22), timeout=5).close()


def test_names_are_known_where_it_was_said_and_until_a_machine_is_made_new(pair: Lab) -> None:
    of_b = "getent ahostsv4 b.example.org || true"
    assert pair.ssh("a", of_b) == "", "a machine knows none but itself"
    lab_module.write_hosts(pair, ["b"])
    lab_module.power_cut(pair, ["a"])
    lab_module.power_on(pair, ["a"])
    assert pair.ssh("a", of_b).split()[0] == pair.spec("b").service_address
    assert pair.ssh("a", "hostname -f").strip() == "a.example.org"
    lab_module.renew(pair, ["a"], pair.flavour)
    assert pair.ssh("a", of_b) == ""


def _as_ops(pair: Lab, command: str) -> subprocess.CompletedProcess[str]:
    argv = ["ssh", *lab_module.ssh_options(pair.folder), f"ops@{pair.spec('a').address}", command]
    return run(argv, text_in=f"{images.OPS_PASSWORD}\n", timeout=30, check=False)


def test_the_ordinary_account_has_sudo_with_a_password_and_no_other_way(pair: Lab) -> None:
    assert _as_ops(pair, "sudo -S id -un").stdout.strip() == "root"
    assert "password is required" in _as_ops(pair, "sudo -kn true").stderr


def test_ansibles_python_is_the_systems_and_those_that_it_starts_know_nothing_of_how(pair: Lab) -> None:
    look = (
        "import os, re, sys; locked = int(re.search(r'VmLck:\\s+(\\d+)', open('/proc/self/status').read())[1]);"
        "print(sys.executable, locked > 1000, 'LD_PRELOAD' in os.environ)"
    )
    command = f'{images.ANSIBLE_PYTHON["full"]} -c "{look}"'
    assert pair.ssh("a", command).split() == ["/usr/bin/python3", "True", "False"]
    assert _as_ops(pair, command).stdout.split() == ["/usr/bin/python3", "False", "False"]


def test_nobody_reads_what_others_make_nor_sees_what_they_run(pair: Lab) -> None:
    looks = {
        "ops": _as_ops(pair, "umask").stdout,
        "ops's login": _as_ops(pair, "bash -lc umask").stdout,
        "sudo": _as_ops(pair, "sudo -S sh -c umask").stdout,
        "sudo to another": _as_ops(pair, "sudo -S -u postgres sh -c umask").stdout,
        "root": pair.ssh("a", "umask"),
        "su": pair.ssh("a", "su postgres -c umask"),
    }
    assert {who: umask.strip() for who, umask in looks.items()} == dict.fromkeys(looks, "0077")
    assert _as_ops(pair, "stat -c %U /proc/[0-9]* 2> /dev/null | sort -u").stdout.split() == ["ops"]


@pytest.mark.parametrize("login", ["ops", "root"])
def test_ansible_comes_by_either_account_with_copies_of_key_and_known_hosts(
    pair: Lab, tmp_path: Path, login: str
) -> None:
    for source in (images.ssh_key(), pair.folder / lab_module.KNOWN_HOSTS):
        (tmp_path / source.name).write_bytes(source.read_bytes())
        (tmp_path / source.name).chmod(0o600)
    environment = {"RSPM_LAB": pair.name, "RSPM_LAB_LOGIN": login, "RSPM_LAB_SSH_DIR": str(tmp_path)}
    defaults = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    cache = {"RSPM_LAB_CACHE": os.environ["RSPM_LAB_CACHE"]} if "RSPM_LAB_CACHE" in os.environ else {}
    argv = ["ansible", "-i", str(HERE / "inventory.sh"), "all", "-m", "ansible.builtin.command", "-a"]
    argv.append("test -w /etc/shadow")
    said = subprocess.run(
        argv, cwd=tmp_path, env=defaults | environment | cache, capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert [f"{name}.example.org | CHANGED" in said.stdout for name in pair.machines] == [True, True]


def test_a_hung_machine_goes_on_where_it_was(pair: Lab) -> None:
    from rspm_lab import machine

    machine.signal_machine(pair.files("a"), signal.SIGSTOP)
    with pytest.raises((LabError, subprocess.TimeoutExpired)):
        pair.ssh("a", "true", timeout=3)
    machine.signal_machine(pair.files("a"), signal.SIGCONT)
    lab_module.wait_up(pair, ["a"])


def test_a_clock_can_be_wrong(pair: Lab) -> None:
    lab_module.set_clock(pair, "a", 60)
    assert 50 < float(pair.ssh("a", "date +%s.%N")) - time.time() < 70
    lab_module.set_clock(pair, "a", -60)


def test_a_disk_can_be_full(pair: Lab) -> None:
    lab_module.fill_disk(pair, "b", 20)
    assert "No space left" in pair.ssh("b", "dd if=/dev/zero of=/big bs=1M count=100 2>&1 || true")
    pair.ssh("b", "rm -f /big /lab-fill")


def test_a_snapshot_brings_back_what_was(pair: Lab) -> None:
    pair.ssh("a", "echo 1 > /root/state")
    lab_module.snapshot(pair, "first")
    pair.ssh("a", "echo 2 > /root/state; sync")
    lab_module.restore(pair, "first")
    assert pair.ssh("a", "cat /root/state").strip() == "1"


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match=r"apt-get install -y .*mmdebstrap"):
        lab_module.up("labtest", ["a"], "full", 256)


def test_without_root_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="run it as root"):
        lab_module.up("labtest", ["a"], "full", 256)


def test_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.uname_result(("Linux", "host", "6", "v", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    with pytest.raises(LabError, match="needs an x86_64 host, this one is aarch64"):
        lab_module.up("labtest", ["a"], "full", 256)


def test_the_machines_of_two_labs_take_turns_on_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3})
    taken = [machine.processor(lab_index, number) for lab_index in (0, 1) for number in range(1, 6)]
    assert taken == [3, 0, 3, 0, 3, 0, 3, 0, 3, 0]


def test_labs_side_by_side_have_networks_of_their_own() -> None:
    first, second = Network("one", 0), Network("two", 1)
    assert _own(first).isdisjoint(_own(second))
    assert len(_own(first)) == len(_own(second)) == 8


def _own(network: Network) -> set[str]:
    wires = [text for wire in network.wires for text in (wire.uplink, wire.subnet, network.mac(wire, 1))]
    return {network.namespace, network.table, *wires}
