"""What site.yml costs: tasks for each host, wall time and the controller's CPU, on bare machines and as a no-op.

Beside it, in the same run, what a person's shell costs for the least that a no-op has to find out: one ssh to each
machine, one after the other, that asks for version, service, mount and clock.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.scenarios import support
from tests.scenarios.workplace import REPOSITORY

LOOK = "dpkg-query -W rstudio-pm; systemctl is-active rstudio-pm; findmnt -n /mnt/rstudio-pm; chronyc -c tracking"


def measured(label: str, *playbooks: str) -> dict[str, object]:
    """Run playbooks and return what they cost (seconds)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    runs = [support.run_playbook(playbook, timeout=1800) for playbook in playbooks]
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for run in runs:
        if run.code != 0:
            sys.exit(run.output)
    hosts = sorted({result["host"] for run in runs for result in run.results})
    return {
        "run": label,
        "tasks": {host: sum(run.tasks_of(host) for run in runs) for host in hosts},
        "changed": sum(len(run.changed()) for run in runs),
        "wall_s": round(wall, 1),
        "controller_cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
    }


def by_hand() -> dict[str, object]:
    """Return what a person's loop over ssh costs (seconds)."""
    lab = support.current_lab()
    begun = time.monotonic()
    for node in support.NODES:
        subprocess.run(lab.ssh_argv(node, LOOK), check=True, stdout=subprocess.DEVNULL)
    return {"run": "by hand: ssh to each node, a look only", "wall_s": round(time.monotonic() - begun, 1)}


def main() -> None:
    """Print a table for a person, and the same as JSON lines."""
    prepared = support.run_playbook(str(REPOSITORY / "tests/lab/ntp.yml"))
    if prepared.code != 0:
        sys.exit(prepared.output)
    rows = [measured("bare", "site"), measured("no-op", "site"), by_hand()]
    print(f"{'run':<42} {'wall s':>8} {'CPU s':>8} {'changes':>8}  tasks")
    for row in rows:
        cpu, changed = row.get("controller_cpu_s", ""), row.get("changed", "")
        print(f"{row['run']:<42} {row['wall_s']:>8} {cpu:>8} {changed:>8}  {row.get('tasks', '')}")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
