"""A converged cluster: what the guide's checklist asks for, seen from outside the collection."""

from __future__ import annotations

import re
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.scenarios import support, tenants
from tests.scenarios.cluster import readme
from tests.scenarios.support import NODES, Lab, Run

Machine = Callable[[str], Host]

pytestmark = pytest.mark.usefixtures("preflight", "site")


@pytest.fixture(scope="module")
def preflight(lab: Lab) -> Run:
    """The first command of all, on machines that are new."""
    before = support.fingerprint()
    with tenants.unnoticed(lab):
        run = support.run_playbook("preflight", as_it_comes=True)
        assert run.code == 0, run.output[-6000:]
    assert run.changed() == []
    assert support.differences(before, support.fingerprint()) == []
    return run


@pytest.fixture(scope="module")
def site(lab: Lab, preflight: Run) -> Run:
    """What makes the cluster is the README, typed literally; all that comes after it fails where that failed."""
    with tenants.unnoticed(lab):
        run = readme.follow(lab)
        assert run.code == 0, run.output[-6000:]
        assert run.warnings() == [], run.warnings()
    return run


def test_the_readme_leads_from_an_empty_folder_to_a_cluster(site: Run) -> None:
    assert [line.split()[-1] for line in readme.commands() if "ansible-playbook" in line] == [
        f"rspm.ha.{verb}" for verb in ("preflight", "site", "status")
    ]
    assert site.failures() == []


def test_a_second_run_changes_nothing_and_costs_little(lab: Lab) -> None:
    with tenants.unnoticed(lab):
        run = support.run_playbook("site", as_it_comes=True)
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []
    for node in NODES:
        assert 10 < run.tasks_of(node) <= 46, f"{node}: {run.tasks_of(node)} tasks"


def test_site_and_upgrade_exclude_each_other(lab: Lab) -> None:
    """Whoever comes second is told who is at work; at the end nobody is."""
    folder = "/srv/rstudio-pm/.rspm-ha/lock"
    count = f"ls {folder} | grep -c json; ls {folder} | grep -c released"

    def is_held() -> bool:
        taken, released = lab.ssh("infra", count, check=False).split()
        return int(taken) > int(released)

    assert not is_held()
    with support.start(support.person().argv("site")) as process:
        support.wait_for("the lock", is_held, 300, 1)
        refused = support.run_playbook("upgrade", rspm_version="2026.08.0")
        told = support.run_playbook("preflight")
        output, _none = process.communicate(timeout=900)
    assert process.returncode == 0, output[-3000:]
    assert refused.code != 0 and "for site, phase '" in refused.messages(), refused.messages()
    # a slow machine may have come to the end of site by then
    assert told.code == 0 or "for site, phase '" in told.messages(), told.messages()
    assert not is_held()


def test_status_says_that_all_is_well_and_changes_nothing(lab: Lab) -> None:
    before = support.fingerprint()
    with tenants.unnoticed(lab):
        run = support.run_playbook("status")
    assert run.code == 0, run.output[-4000:]
    assert run.changed() == []
    assert support.differences(before, support.fingerprint()) == []


@pytest.mark.parametrize("node", NODES)
def test_the_node_is_as_the_guide_wants_it(machine: Machine, node: str) -> None:
    host = machine(node)
    assert host.package("rstudio-pm").version == "2026.04.0"
    assert "rstudio-pm" in host.check_output("apt-mark showhold").split()
    service = host.service("rstudio-pm")
    assert service.is_running and service.is_enabled and not service.is_masked
    assert host.socket("tcp://0.0.0.0:4242").is_listening or host.socket("tcp://:::4242").is_listening
    gcfg = host.file("/etc/rstudio-pm/rstudio-pm.gcfg")
    assert (gcfg.user, gcfg.group, gcfg.mode) == ("rstudio-pm", "rstudio-pm", 0o640)
    assert (host.user("rstudio-pm").uid, host.user("rstudio-pm").gid) == (940, 940)
    mount = host.mount_point("/mnt/rstudio-pm")
    assert mount.filesystem == "nfs4"
    assert {"lookupcache=pos", "hard"} <= set(mount.options)
    # Root of a node is nobody on the share, so the service's own account looks.
    assert host.check_output("su -s /bin/sh rstudio-pm -c 'stat -c %U:%a /mnt/rstudio-pm/data/rstudio-pm.key'") == (
        "rstudio-pm:600"
    )


def test_all_nodes_have_one_version_one_configuration_one_key(lab: Lab) -> None:
    assert set(support.versions(lab).values()) == {"2026.04.0"}
    for path in ("/etc/rstudio-pm/rstudio-pm.gcfg", "/mnt/rstudio-pm/data/rstudio-pm.key"):
        assert len({lab.ssh(node, f"su -s /bin/sh rstudio-pm -c 'sha256sum {path}'") for node in NODES}) == 1


def test_all_nodes_work_on_one_postgresql_that_lets_nobody_else_in(lab: Lab) -> None:
    query = "SELECT DISTINCT client_addr FROM pg_stat_activity WHERE usename = 'rstudio_pm'"
    assert set(support.ask_database(lab, query)) == {support.address(lab, node) for node in NODES}
    rules = lab.ssh("infra", "grep -v '^#' /etc/postgresql/15/main/pg_hba.conf | grep rstudio_pm")
    let_in = {line.split()[3].partition("/")[0] for line in rules.splitlines()}
    assert let_in == {support.address(lab, node) for node in NODES}
    assert all(line.split()[0] == "hostssl" and line.split()[-1] == "scram-sha-256" for line in rules.splitlines())


def test_a_new_file_is_seen_by_the_others_within_a_second(lab: Lab) -> None:
    others = NODES[1:]
    for node in others:
        assert support.get(f"{support.address(lab, node)}:4242", "/pypi/latest/simple/seen/")[0] == 404
    published = support.publish(lab, "seen", "node1")
    for node in others:
        address = f"{support.address(lab, node)}:4242"
        support.wait_for(node, lambda a=address: support.get(a, "/pypi/latest/simple/seen/")[0] == 200, 1, 0.02)
    assert support.time.monotonic() - published < 1.5


# One process, for a new login would make the client ask the server anew; and NFS 4.0, for newer kernels watch a folder
# of NFS 4.1 in another way, with which a default mount may never see a new file.
_LOOK = """
import os, sys, time
path = sys.argv[1]
print("seen" if os.path.exists(path) else "unseen", flush=True)
sys.stdin.readline()
begun = time.monotonic()
while not os.path.exists(path) and time.monotonic() - begun < 90:
    time.sleep(0.5)
print(time.monotonic() - begun, flush=True)
"""


def test_with_a_default_mount_a_new_file_stays_unseen_for_long(lab: Lab) -> None:
    """The guide's reason for lookupcache=pos, so that the test above is known to be able to fail."""
    source = lab.ssh("node2", "findmnt -n -o SOURCE /mnt/rstudio-pm").strip()
    lab.ssh("node2", f"umask 022; mkdir -p /mnt/plain && mount -t nfs -o vers=4.0 {source} /mnt/plain")
    lab.ssh("node2", f"umask 022; cat > /tmp/look.py <<'END'\n{_LOOK}\nEND")
    look = "exec setpriv --reuid rstudio-pm --regid rstudio-pm --clear-groups python3 /tmp/look.py"
    argv = lab.ssh_argv("node2", f"{look} /mnt/plain/data/packages/late")
    try:
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as looker:
            assert looker.stdin is not None and looker.stdout is not None
            assert looker.stdout.readline().strip() == "unseen"
            lab.ssh("node1", "su -s /bin/sh rstudio-pm -c 'touch /mnt/rstudio-pm/data/packages/late'")
            looker.stdin.write("made\n")
            looker.stdin.flush()
            unseen = float(looker.stdout.readline())
        assert 15 < unseen < 90, f"a new file was seen after {unseen:.1f} s"
    finally:
        lab.ssh("node2", "umount /mnt/plain; rmdir /mnt/plain")
        lab.ssh("node1", "su -s /bin/sh rstudio-pm -c 'rm -f /mnt/rstudio-pm/data/packages/late'")


def test_a_published_package_is_installed_by_pip_through_the_balancer(lab: Lab, tmp_path: Path) -> None:
    support.publish(lab, "installable", "node3")
    balancer = support.address(lab, "lb")
    venv.create(tmp_path / "venv", with_pip=True)
    pip = [str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--isolated"]
    where = ["--index-url", f"http://{balancer}/pypi/latest/simple/", "--trusted-host", balancer]
    subprocess.run([*pip, *where, "installable"], check=True)
    told = subprocess.check_output(
        [str(tmp_path / "venv/bin/python"), "-c", "import installable; print(installable.VERSION)"]
    )
    assert told.decode().strip() == "1.0"


def test_a_changed_configuration_restarts_node_after_node_and_no_request_fails(lab: Lab) -> None:
    starts = {node: lab.ssh(node, "systemctl show -P ExecMainStartTimestampMonotonic rstudio-pm") for node in NODES}
    with tenants.unnoticed(lab), support.Clients(support.address(lab, "lb")) as clients:
        run = support.run_playbook("site", rspm_config={"Git": {"PollInterval": "7m"}})
    assert run.code == 0, run.output[-3000:]
    assert clients.failures == []
    assert clients.answered > 50
    for node in NODES:
        assert "PollInterval = 7m" in lab.ssh(node, "cat /etc/rstudio-pm/rstudio-pm.gcfg").replace('"', "")
        assert lab.ssh(node, "systemctl show -P ExecMainStartTimestampMonotonic rstudio-pm") != starts[node]


_DRAIN = """
import socket
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect("/var/lib/haproxy/rspm-admin.sock")
    asked.sendall(b"set server rspm/node3.example.org state drain\\n")
    print(asked.makefile().read())
"""


def test_only_a_node_that_needs_it_is_restarted(lab: Lab) -> None:
    """One was stopped, and an interrupted run has left another out of service."""
    starts = {node: lab.ssh(node, "systemctl show -P ExecMainStartTimestampMonotonic rstudio-pm") for node in NODES}
    lab.ssh("node2", "systemctl stop rstudio-pm")
    lab.ssh("lb", f"python3 -c '{_DRAIN}'")
    run = support.run_playbook("site", rspm_config={"Git": {"PollInterval": "7m"}})
    assert run.code == 0, run.output[-3000:]
    for node in NODES:
        now = lab.ssh(node, "systemctl show -P ExecMainStartTimestampMonotonic rstudio-pm")
        assert (now == starts[node]) == (node != "node2"), node
    again = support.run_playbook("site", rspm_config={"Git": {"PollInterval": "7m"}})
    assert again.code == 0 and again.changed() == []
    assert not any("Start the wanted version" in r["task"] for r in again.results)


def test_an_unknown_key_is_refused_by_name_and_nothing_is_changed(lab: Lab) -> None:
    before = support.fingerprint()
    run = support.run_playbook("site", rspm_config={"Server": {"DataDirectory": "/x"}})
    assert run.code != 0
    assert run.messages() == (
        "node1, node2, node3: [config-invalid] rspm check-config refuses the configuration: unknown keys: unknown key "
        "Server.DataDirectory in line 18. The server would not start with it; what is on the node now was not touched. "
        "Correct rspm_config in the inventory."
    )
    assert support.differences(before, support.fingerprint()) == []


def test_a_database_of_somebody_else_is_refused_by_name_and_stays_theirs(lab: Lab) -> None:
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'wages'"
    support.ask_database(lab, "CREATE DATABASE wages")
    before = support.fingerprint()
    run = support.run_playbook("site", rspm_database_usage_name="wages")
    assert run.code != 0
    assert "the database wages is there already and belongs to postgres, not to rstudio_pm." in run.messages()
    mend = 'psql -p 5432 -c \'ALTER DATABASE "wages" OWNER TO "rstudio_pm"\''
    assert f"type on that host: sudo -u postgres {mend}" in run.messages()
    assert support.differences(before, support.fingerprint()) == []
    assert support.ask_database(lab, owner) == ["postgres"]
    assert not any("wages" in rule for rule in lab.ssh("infra", "cat /etc/postgresql/15/main/pg_hba.conf").splitlines())
    support.ask_database(lab, "DROP DATABASE wages")


def test_another_version_is_refused_with_the_name_of_the_verb(lab: Lab) -> None:
    before = support.fingerprint()
    run = support.run_playbook("site", rspm_version="2026.08.0")
    assert run.code != 0
    assert "[live-version] rspm_version is 2026.08.0, but installed is 2026.04.0 on node1" in run.messages()
    assert "ansible-playbook -i <inventory> rspm.ha.upgrade" in run.messages()
    assert support.differences(before, support.fingerprint()) == []


def test_a_check_of_the_converged_cluster_predicts_no_change(lab: Lab) -> None:
    run = support.run_playbook("site", "--check", "--diff", rspm_config={"Git": {"PollInterval": "7m"}})
    assert run.code == 0, run.output[-3000:]
    assert run.changed() == []


def test_a_clock_that_is_60_s_off_is_brought_back(lab: Lab) -> None:
    support.lab_module.set_clock(lab, "node2", 60)
    run = support.run_playbook(str(Path(__file__).parent / "time.yml"))
    assert run.code == 0, run.output[-3000:]
    assert abs(float(lab.ssh("node2", "date +%s.%N")) - float(lab.ssh("infra", "date +%s.%N"))) < 1


def test_a_clock_that_no_server_corrects_stops_the_run_by_name(lab: Lab) -> None:
    lab.ssh("infra", "systemctl stop chrony")
    support.lab_module.set_clock(lab, "node2", 60)
    try:
        lab.ssh("node2", "systemctl restart chrony")
        run = support.run_playbook(str(Path(__file__).parent / "time.yml"), "-e", "rspm_clock_timeout=10")
        assert run.code != 0
        assert re.search(r"node2.* 6\d\.\d+ s|node2.* 59\.\d+ s", run.messages()), run.messages()
    finally:
        lab.ssh("infra", "systemctl start chrony")
        support.lab_module.set_clock(lab, "node2", -60)
        lab.ssh("node2", "systemctl restart chrony; chronyc waitsync 20 0.5 0 1", check=False)


def test_all_machines_rebooted_at_once_come_back_by_themselves(lab: Lab) -> None:
    for name in lab.machines:
        lab.ssh(name, "systemctl reboot", check=False)
    support.time.sleep(2)
    balancer = support.address(lab, "lb")
    support.wait_for("the cluster", lambda: set(support.versions(lab).values()) == {"2026.04.0"}, 180, 1)
    support.wait_for("the balancer", lambda: support.get(balancer)[0] == 200, 60, 0.5)
    for node in NODES:
        assert "lookupcache=pos" in lab.ssh(node, "findmnt -n -o OPTIONS /mnt/rstudio-pm")
    code, body = support.get(balancer, "/pypi/latest/simple/installable/")
    assert code == 200 and b"installable" in body


def test_the_service_can_not_start_without_its_mount(lab: Lab) -> None:
    unit = lab.ssh("node3", "systemd-escape -p --suffix=mount /mnt/rstudio-pm").strip().replace("\\", "\\\\")
    node = f"{support.address(lab, 'node3')}:4242"
    lab.ssh("node3", f"systemctl stop rstudio-pm && umount /mnt/rstudio-pm && systemctl mask -q --runtime {unit}")
    try:
        lab.ssh("node3", "systemctl start rstudio-pm", check=False)
        assert lab.ssh("node3", "ls -A /mnt/rstudio-pm").strip() == ""
        assert support.get(node)[0] == 0
    finally:
        lab.ssh("node3", f"systemctl unmask -q --runtime {unit}; systemctl daemon-reload; systemctl start {unit}")
        lab.ssh("node3", "systemctl start rstudio-pm")
    support.wait_for("node3", lambda: support.get(node)[0] == 200, 30)
