"""What the tests of the migration share: a cluster full of awkward data, and looks at it that trust no module."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from tests.scenarios import support
from tests.scenarios.support import Lab, Run, run_playbook

BASE = "migrate-base"
TARGET = "node1"
OTHERS = ("node2", "node3")
SHARED = "/srv/rstudio-pm/data"
LOCAL = "/var/lib/rstudio-pm/data"
# Seconds for which a phase goes on before the kill. In one more than these the next may be over, and nothing left for
# the kill after it; and what "finish" writes makes the next run skip the unlocking.
_GOES_ON = {"move": 3.0, "finish": 0.0, "unlock": 0.2, "withdraw": 0.2, "leave": 0.2}
PACKAGES = ("moved_one", "moved_two", "moved_three")

# Names that are no text, links of both kinds, holes, folders without files, rights and times of all sorts.
_SEED = r"""
runuser -u rstudio-pm -- python3 - <<'END'
import os
root = b"/mnt/rstudio-pm/data/awkward"
os.makedirs(root)
for number in range(%(files)d):
    folder = root + b"/d%%d" %% (number %% 40)
    os.makedirs(folder, exist_ok=True)
    with open(folder + b"/f%%d" %% number, "wb") as file:
        file.write(os.urandom(200 + number %% 5000))
for name in (b"new\nline", b"\xff\xfe", b" spaces ", b"-dash", b"quote'\"", b"back\\slash"):
    with open(root + b"/" + name, "wb") as file:
        file.write(name)
os.makedirs(root + b"/empty/deep")
os.symlink(b"../nowhere", root + b"/dangling")
os.symlink(b"d1", root + b"/folder link")
os.link(root + b"/d0/f0", root + b"/hard")
with open(root + b"/sparse", "wb") as file:
    file.truncate(5000000)
    file.seek(2000000)
    file.write(b"middle")
os.chmod(root + b"/d1/f1", 0o400)
os.chmod(root + b"/d2", 0o750)
os.utime(root + b"/d3/f3", ns=(1, 1000000000123456789))
os.utime(root + b"/d4", ns=(1, 1100000000987654321))
END
sync
"""

_ROWS = """
SET ROLE rstudio_pm;
CREATE TABLE awkward (id serial PRIMARY KEY, note text, list int[], doc jsonb, bin bytea, at timestamptz);
INSERT INTO awkward (note, list, doc, bin, at) SELECT repeat(chr(8364) || g, g % 7), ARRAY[g, NULL],
  jsonb_build_object('n', g), decode(md5(g::text), 'hex'), to_timestamp(g) FROM generate_series(1, 5000) AS g;
SELECT setval('awkward_id_seq', 987654);
CREATE VIEW odd AS SELECT * FROM awkward WHERE id % 2 = 1;
"""

# One line a path, sorted: everything that must be the same on both sides. Hard links by the names that they join.
_WALK = r"""
import hashlib, os, stat, sys
root = os.fsencode(sys.argv[1])
rows, names = [], {}
for folder, folders, files in os.walk(root):
    for name in [b"."] * (folder == root) + folders + files:
        path = os.path.join(folder, name) if name != b"." else root
        found = os.lstat(path)
        kind, what = stat.S_IFMT(found.st_mode), ""
        if stat.S_ISREG(found.st_mode):
            with open(path, "rb") as file:
                what = hashlib.sha256(file.read()).hexdigest()
            # opening has a node hand in the times that the NFS server had left to it (delegated timestamps)
            found = os.lstat(path)
            names.setdefault((found.st_dev, found.st_ino), []).append(os.path.relpath(path, root))
        elif stat.S_ISLNK(found.st_mode):
            what = repr(os.readlink(path))
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        mode = 0 if stat.S_ISLNK(found.st_mode) else stat.S_IMODE(found.st_mode)
        if path == root:
            mode, when = 0, 0
        else:
            when = 0 if stat.S_ISLNK(found.st_mode) else found.st_mtime_ns
        owner = f"{found.st_uid}:{found.st_gid}"
        rows.append(f"{os.path.relpath(path, root)!r} {kind:o} {mode:o} {owner} {size} {when} {what}")
rows += [f"links {sorted(each)!r}" for each in names.values() if len(each) > 1]
print("\n".join(sorted(rows)))
"""


def prepare(lab: Lab, files: int = 400) -> None:
    """Fill the cluster, and keep its disks, so that every test begins with the same."""
    for name in PACKAGES:
        support.publish(lab, name, TARGET)
    lab.ssh(TARGET, _SEED % {"files": files}, timeout=300)
    for name in ("rstudio_pm", "rstudio_pm_usage"):
        support.ask_database(lab, _ROWS, name)
    lab.ssh("infra", "sync")


def walk(lab: Lab, machine: str, folder: str) -> list[str]:
    """Return a line for each path below a folder, with its content's digest."""
    script = _WALK.replace("'", "'\"'\"'")
    return lab.ssh(machine, f"python3 -c '{script}' {folder}", timeout=600).splitlines()


def dump(lab: Lab, machine: str, database: str) -> list[str]:
    """Return the database as pg_dump writes it: definitions in order, then each table's rows, sorted."""
    command = f"cd /; su postgres -c 'pg_dump --no-comments {database}'"
    lines: list[str] = []
    rows: list[str] = []
    copying, skipped = False, False
    for line in lab.ssh(machine, command, timeout=300).splitlines():
        if line.startswith("COPY "):
            copying, skipped = True, line.split()[1] in _LIVING
            lines.append(line)
        elif copying and line == "\\.":
            lines += sorted(rows)
            copying, rows = False, []
        elif copying:
            if not skipped:
                rows.append(line)
        elif line and not line.startswith(("--", "\\restrict", "\\unrestrict")) and not _is_living(line):
            lines.append(line)
    return lines


# What a server writes merely by running, and by being asked for a package.
_LIVING = ("public.nodes", "public.usage_downloads")


def _is_living(line: str) -> bool:
    return line.startswith("SELECT pg_catalog.setval") and any(f"'{name}_" in line for name in _LIVING)


@dataclass
class Migration:
    """A run of the playbook: what Ansible did, and the report."""

    run: Run
    report: dict[str, Any]
    inventory: Path


def migrate(*args: str, inventory: Path | None = None, as_it_comes: bool = False, **variables: Any) -> Migration:
    """Run the migration with these variables, without their rspm_migration_."""
    folder = support.person().new_folder("migrate-")
    given = {f"rspm_migration_{name}": value for name, value in variables.items()}
    given |= _as_inventory_names(given)
    if given.pop("rspm_migration_abort", None):
        given["rspm_migration"] = "abort"
    out = inventory or folder / "inventory"
    report = folder / "report.json"
    run = run_playbook(
        "migrate_to_single_node",
        *args,
        timeout=1800,
        as_it_comes=as_it_comes,
        rspm_report_file=str(report),
        rspm_migration_inventory=str(out),
        **given,
    )
    return Migration(run, support.read_json(report) if report.exists() else {}, out)


def _as_inventory_names(given: dict[str, Any]) -> dict[str, Any]:
    """Return the target by the name that the inventory has for it, where one is given."""
    target = given.get("rspm_migration_target")
    return {"rspm_migration_target": support.full(target)} if target else {}


def new_inventory() -> Path:
    """Return a path for the inventory that a migration writes."""
    return support.person().new_folder("migrate-") / "inventory"


def _begin(variables: dict[str, Any], inventory: Path | None = None) -> subprocess.Popen[str]:
    """Begin a migration in a session of its own, all of which can be killed at once."""
    given = {f"rspm_migration_{name}": value for name, value in variables.items()}
    given |= _as_inventory_names(given)
    given["rspm_migration_inventory"] = str(inventory or new_inventory())
    argv = support.person().argv("migrate_to_single_node", **given)
    return support.start(argv, start_new_session=True)


def kill_at(phase: str, inventory: Path, **variables: Any) -> str:
    """Kill the controller of a migration as soon as it says that a phase has begun, and return what it said."""
    said: list[str] = []
    with _begin(variables, inventory) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if _begins(line, phase):
                break
        time.sleep(_GOES_ON.get(phase, 1))
        os.killpg(process.pid, signal.SIGKILL)
    assert f"- {phase}]" in said[-1], "".join(said[-40:])
    return "".join(said)


def migrate_meanwhile(phase: str, act: Callable[[], None], until: str = "", **variables: Any) -> tuple[int, str]:
    """Do something as soon as a migration says that a phase has begun; return its exit code and what it said.

    until: the phase at whose begin the controller is killed, where it comes so far.
    """
    said: list[str] = []
    acted = False
    with _begin(variables) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if not acted and _begins(line, phase):
                # what happens in the one call on the target waits for its moment itself
                time.sleep(0 if phase == "move" else 2)
                act()
                acted = True
            elif until and _begins(line, until):
                os.killpg(process.pid, signal.SIGKILL)
    assert acted, "".join(said[-40:])
    return process.returncode, "".join(said)


def _begins(line: str, phase: str) -> bool:
    return line.startswith("TASK") and f"Run the phase - {phase}]" in line


def run_single_node(inventory: Path) -> Run:
    """Run site.yml with the inventory that the migration wrote, and with no other."""
    return run_playbook("site", inventory=inventory)


def fetch_packages(address: str) -> dict[str, str]:
    """Return the digest of each seeded package as a user gets it."""
    digests = {}
    for name in PACKAGES:
        folder = f"/pypi/latest/simple/{name.replace('_', '-')}/"
        code, page = support.get(address, folder)
        assert code == 200, f"{folder}: {code}"
        link, _hash, told = page.decode().split('href="')[1].split('"')[0].partition("#sha256=")
        code, body = support.get(address, urllib.parse.urljoin(folder, link))
        assert code == 200, f"{link}: {code}"
        digests[name] = hashlib.sha256(body).hexdigest()
        assert digests[name] == told
    return digests


def answers(lab: Lab, machine: str, port: int = 4242) -> bool:
    """Return whether a machine serves."""
    return support.get(f"{support.address(lab, machine)}:{port}")[0] == 200


def settled(lab: Lab, machine: str, seconds: float = 60) -> None:
    """Wait until a machine that was just started has booted to its end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if lab.ssh(machine, "systemctl is-system-running", check=False).strip() in ("running", "degraded"):
            return
        time.sleep(1)
    raise AssertionError(f"{machine} does not come up")


Choice = tuple[str, str, str]
MOVED: Choice = ("keep", "move", "move")


def chosen(choice: Choice) -> dict[str, Any]:
    return dict(zip(("load_balancer", "data", "database"), choice, strict=True)) | {"target": TARGET}


@dataclass
class Before:
    """What there was: every path, both databases, and the packages as users get them."""

    files: list[str]
    dumps: dict[str, list[str]]
    packages: dict[str, str]


def look(lab: Lab) -> Before:
    """Look at the cluster's data, databases and packages."""
    return Before(
        walk(lab, "infra", SHARED),
        {name: dump(lab, "infra", name) for name in ("rstudio_pm", "rstudio_pm_usage")},
        fetch_packages(support.address(lab, "lb")),
    )


def has_it_all(lab: Lab, choice: Choice, before: Before) -> None:
    """Assert that the node has every file, every row and every package, and that the old ones are still there."""
    _balancer, data, database = choice
    _are_the_lines(walk(lab, "infra", SHARED), before.files)
    if data == "move":
        _are_the_lines(walk(lab, TARGET, LOCAL), before.files)
    for name, lines in before.dumps.items():
        _are_the_lines(dump(lab, "infra", name), lines)
        if database == "move":
            _are_the_lines(dump(lab, TARGET, name), lines)
    assert "'public.awkward_id_seq', 987654" in "\n".join(before.dumps["rstudio_pm"])
    assert fetch_packages(f"{support.address(lab, TARGET)}:4242") == before.packages
    assert fetch_packages(support.address(lab, "lb")) == before.packages


def _are_the_lines(now: list[str], before: list[str]) -> None:
    """Assert that a walk or a dump is what it was; shows what is not, of thousands of lines."""
    gone, new = sorted({*before} - {*now})[:20], sorted({*now} - {*before})[:20]
    assert now == before, f"gone: {gone}, new: {new}"


def is_out(lab: Lab, node: str, choice: Choice) -> None:
    """Assert that a node neither runs nor can write to any home, old or new."""
    _balancer, _data, database = choice
    assert not answers(lab, node)
    assert lab.ssh(node, "pgrep -f '[/]opt/rstudio-pm/bin/rstudio-pm' || true").strip() == ""
    # a person's start does nothing either
    lab.ssh(node, "systemctl start rstudio-pm", check=False)
    assert lab.ssh(node, "systemctl show rstudio-pm -p MainPID --value").strip() == "0"
    assert lab.ssh(node, "systemctl is-enabled rstudio-pm", check=False).strip() == "disabled"
    assert "rstudio-pm" not in lab.ssh(node, "cat /proc/mounts /etc/fstab")
    export = f"{support.address(lab, 'infra')}:/srv/rstudio-pm"
    mount = f"timeout 20 mount -t nfs -o retry=0,soft,timeo=30 {export} /tmp/try"
    tried = lab.ssh(node, f"mkdir -p /tmp/try; {mount} && {{ echo MOUNTED; umount /tmp/try; }}", check=False)
    assert "MOUNTED" not in tried
    for server in sorted({"infra", TARGET if database == "move" else "infra"}):
        password = _password(lab, node)
        address = support.address(lab, server)
        psql = f"psql -h {address} -U rstudio_pm -d rstudio_pm -c 'CREATE TABLE x (y int)'"
        said = lab.ssh(node, f"PGPASSWORD='{password}' {psql} 2>&1 || true")
        # on the old server by their rule, where it comes before the end
        assert "no pg_hba.conf entry" in said or "pg_hba.conf rejects connection" in said, said


def _password(lab: Lab, node: str) -> str:
    text = lab.ssh(node, "grep -m1 -i '^ *password' /etc/rstudio-pm/rstudio-pm.gcfg")
    return text.partition("=")[2].strip().strip('"')
