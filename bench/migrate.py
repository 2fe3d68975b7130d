"""What a migration to one node costs: time without service, and in all, against the same typed by hand.

By hand is what a person types from the guide's five lines: stop all, cp -a, pg_dump | psql, change the configuration,
start. Either way service is what a client gets at the load balancer. Both begin with the same disks, with PostgreSQL on
the node made ready beforehand for the hand's way, in one run.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.scenarios import support
from tests.scenarios.support import Lab, lab_module
from tests.scenarios.workplace import REPOSITORY

TARGET = "node1"
HAND, OURS = "by hand", "rspm.ha"
# name: number of files, bytes of each
SHAPES = {"10,000 small files": (10_000, 3000), "100,000 small files": (100_000, 3000), "8 large files": (8, 64 << 20)}

_FILL = """
import os
root = "/srv/rstudio-pm/data/bench"
os.makedirs(root)
os.chown(root, 940, 940)
for number in range(%d):
    folder = f"{root}/{number // 500}"
    if number %% 500 == 0:
        os.mkdir(folder)
        os.chown(folder, 940, 940)
    with open(f"{folder}/{number}", "wb") as file:
        file.write(os.urandom(%d))
        os.fchown(file.fileno(), 940, 940)
os.sync()
"""

_MAKE_READY = """
systemctl start postgresql
cd /
password=$(sed -n 's/^ *Password *= *"\\(.*\\)"/\\1/p' /etc/rstudio-pm/rstudio-pm.gcfg | head -1)
su postgres -c psql <<END
CREATE ROLE rstudio_pm LOGIN PASSWORD '$password';
CREATE DATABASE rstudio_pm OWNER rstudio_pm;
CREATE DATABASE rstudio_pm_usage OWNER rstudio_pm;
END
"""

_BY_HAND = """
set -e
systemctl stop rstudio-pm
begun=$(date +%%s.%%N)
runuser -u rstudio-pm -- cp -a /mnt/rstudio-pm/data /var/lib/rstudio-pm/data
sync
echo "copied $begun $(date +%%s.%%N)"
export PGPASSWORD=$(sed -n 's/^ *Password *= *"\\(.*\\)"/\\1/p' /etc/rstudio-pm/rstudio-pm.gcfg | head -1)
for database in rstudio_pm rstudio_pm_usage; do
  pg_dump -h %(old)s -U rstudio_pm $database | psql -q -h %(new)s -U rstudio_pm -d $database > /dev/null
done
sed -i 's|/mnt/rstudio-pm/data|/var/lib/rstudio-pm/data|; s|@%(old)s:|@%(new)s:|' /etc/rstudio-pm/rstudio-pm.gcfg
systemctl start rstudio-pm
"""


def serves(lab: Lab, machine: str) -> bool:
    """Return whether a machine answers."""
    return support.get(f"{support.address(lab, machine)}:4242")[0] == 200


def by_hand(lab: Lab) -> dict[str, float]:
    """Return what the hand's way costs (seconds)."""
    lab.ssh(TARGET, _MAKE_READY)
    begun = time.monotonic()
    for node in ("node2", "node3"):
        lab.ssh(node, "systemctl stop rstudio-pm")
    without = time.monotonic()
    # a PostgreSQL that was just installed listens on no other
    addresses = {"old": support.address(lab, "infra"), "new": "127.0.0.1"}
    said = lab.ssh(TARGET, _BY_HAND % addresses, timeout=7200)
    support.wait_for("the node", lambda: support.get(support.address(lab, "lb"))[0] == 200, 120)
    end = time.monotonic()
    words = next(line for line in said.splitlines() if line.startswith("copied")).split()
    return {"outage": end - without, "total": end - begun, "copy": float(words[2]) - float(words[1])}


def with_us() -> dict[str, float]:
    """Return what the playbook costs (seconds), as a client at the load balancer saw it.

    copy: of the warm passes on the machine, looking at both trees and verifying included, which by hand has neither.
    """
    folder = support.person().new_folder("bench-")
    begun = time.monotonic()
    run = support.run_playbook(
        "migrate_to_single_node",
        timeout=7200,
        rspm_migration_target=support.full(TARGET),
        rspm_migration_data="move",
        rspm_migration_database="move",
        rspm_migration_inventory=f"{folder}/inventory",
        rspm_report_file=f"{folder}/report.json",
    )
    total = time.monotonic() - begun
    if run.code != 0:
        sys.exit(run.output)
    report = support.read_json(folder / "report.json")
    phases = {phase["name"]: phase for phase in report["phases"]}
    for name in ("warm", "data"):
        steps = phases[name]["nodes"][TARGET]["steps"]
        print(f"{name}: " + ", ".join(f"{step['step']} {step['seconds']:.1f} s" for step in steps), flush=True)
    print("phases: " + ", ".join(f"{name} {phase['seconds']:.1f} s" for name, phase in phases.items()), flush=True)
    copy = sum(step["seconds"] for step in phases["warm"]["nodes"][TARGET]["steps"])
    return {"outage": report["outage"]["total_seconds"], "total": total, "copy": copy}


def verdicts(rows: list[dict[str, Any]]) -> list[tuple[str, float, bool]]:
    """Return what is wanted of the shapes that were measured, the ratio that was seen, and whether it is right."""
    seen = {(row["shape"], row["way"]): row for row in rows}
    few, many = list(SHAPES)[:2]
    judged = []
    if {few, many} <= {shape for shape, _way in seen}:
        ratio = seen[many, OURS]["outage"] / seen[few, OURS]["outage"]
        judged.append((f"outage with {many} at most 1.5 of that with {few}", ratio, ratio <= 1.5))
    if (many, OURS) in seen:
        ratio = seen[many, OURS]["outage"] / seen[many, HAND]["outage"]
        judged.append((f"outage with {many} at most a fifth of that by hand", ratio, ratio <= 0.2))
    for shape in dict.fromkeys(shape for shape, _way in seen):
        ratio = seen[shape, OURS]["mb_s"] / seen[shape, HAND]["mb_s"]
        judged.append((f"{shape} copied at least as fast as by cp -a", ratio, ratio >= 1))
    return judged


def main() -> int:
    """Print a table for a person, the same as JSON lines, and what is wanted; 1 where something was missed."""
    shapes = sys.argv[1:] or list(SHAPES)
    for playbook in (str(REPOSITORY / "tests/lab/ntp.yml"), "site"):
        prepared = support.run_playbook(playbook, timeout=1800)
        if prepared.code != 0:
            sys.exit(prepared.output)
    lab = support.current_lab()
    lab_module.snapshot(lab, "bench-empty")
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        number, size = SHAPES[shape]
        lab_module.restore(lab, "bench-empty")
        support.run(lab.ssh_argv("infra", "python3", "-"), text_in=_FILL % (number, size), timeout=1800)
        lab_module.snapshot(lab, "bench-full")
        for way in (HAND, OURS):
            lab_module.restore(lab, "bench-full")
            support.wait_for("the cluster", lambda: all(serves(lab, node) for node in support.NODES), 180)
            cost = by_hand(lab) if way == HAND else with_us()
            rate = number * size / cost["copy"] / 1e6
            rows.append(
                {"shape": shape, "way": way, **{k: round(v, 1) for k, v in cost.items()}, "mb_s": round(rate, 2)}
            )
            print(json.dumps(rows[-1]), flush=True)
    print(f"{'shape':<22} {'way':<10} {'outage s':>9} {'total s':>9} {'copy s':>9} {'MB/s':>9}")
    for row in rows:
        numbers = "".join(f" {row[name]:>9}" for name in ("outage", "total", "copy", "mb_s"))
        print(f"{row['shape']:<22} {row['way']:<10}{numbers}")
    judged = verdicts(rows)
    for wanted, ratio, right in judged:
        print(f"{'ok    ' if right else 'MISSED'} {wanted}: {ratio:.2f}")
    return 0 if all(right for _wanted, _ratio, right in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
