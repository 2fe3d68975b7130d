"""What the cluster is, seen from outside the collection: the nodes themselves, the database, and what clients get."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rspm_lab.lab import Lab

from tests.scenarios.support import NODES, address, ask_database, get, short

REPOSITORY_PATH = "/pypi/latest/simple"
KEPT = [f"kept{number}" for number in range(1, 5)]
# What each version makes of the database: the schema's number.
SCHEMAS = {"2025.12.0-14": "41", "2026.04.0": "44", "2026.08.0": "48"}
_STORAGE = "/srv/rstudio-pm/.rspm-ha"
_NODE = r"""
dpkg-query -W -f '${Version}|${Status}|' rstudio-pm
echo "$(systemctl is-active rstudio-pm)|$(systemctl is-enabled rstudio-pm)|\
$(ls /etc/systemd/system/rstudio-pm.service.d/*block* 2>/dev/null)|$(systemctl show -p MainPID --value rstudio-pm)"
"""
_MEMBERS = r"""
import socket
asked = socket.socket(socket.AF_UNIX)
asked.connect("/var/lib/haproxy/rspm-admin.sock")
asked.sendall(b"show stat\n")
print("".join(iter(lambda: asked.recv(65536).decode(), "")))
"""


@dataclass(frozen=True)
class NodeView:
    """One node: package and its state, unit, what blocks its start, and what its API says that it is."""

    installed: str
    package: str
    active: str
    enabled: str
    block: str
    pid: str
    answers: str


def node_view(lab: Lab, node: str) -> NodeView:
    """Return what a node is; all fields "unreachable" where it does not answer."""
    said = lab.ssh(node, _NODE, check=False, timeout=30).strip()
    if said.count("|") != 5:
        return NodeView(*["unreachable"] * 7)
    code, body = get(f"{address(lab, node)}:4242", "/__api__/status", timeout=10)
    answer = json.loads(body)["version"] if code == 200 else f"nothing ({code})"
    return NodeView(*[*said.split("|"), answer])


def node_views(lab: Lab, nodes: list[str] = NODES) -> dict[str, NodeView]:
    """Return what every node is."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(nodes, pool.map(lambda node: node_view(lab, node), nodes)))


def balancer_states(lab: Lab) -> dict[str, str]:
    """Return what HAProxy says of each node."""
    told = short(lab.ssh("lb", f"python3 -c '{_MEMBERS}'", check=False))
    rows = [line.split(",") for line in told.splitlines()]
    names = rows[0] if rows else []
    return {row[1]: row[names.index("status")] for row in rows if len(row) > 20 and row[1] in NODES}


def published_file(name: str) -> str:
    """Return the path of a published package's file."""
    return f"{REPOSITORY_PATH}/{name}/{name}-1.0-py3-none-any.whl"


def fetch(place: str, names: list[str]) -> dict[str, str]:
    """Return the SHA-256 of each package as a place (host[:port]) serves it, "" for none."""
    found = {}
    for name in names:
        code, body = get(place, published_file(name), timeout=10)
        found[name] = hashlib.sha256(body).hexdigest() if code == 200 else ""
    return found


def leftovers(lab: Lab) -> list[str]:
    """Return what a run left on the storage: a lock that is held, and pieces of a restore point."""
    shown = lab.ssh(
        "infra",
        f"cd {_STORAGE} 2>/dev/null || exit 0; newest=$(ls lock | grep '[.]json$' | tail -1);"
        '[ -z "$newest" ] || [ -e "lock/${newest%.json}.released" ] || echo "the lock $newest is held";'
        'ls -A lock | grep "[.]tmp$" | sed "s/^/lock has /"; ls -A restore-point 2>/dev/null | sed "s/^/point /"',
    )
    lines = shown.splitlines()
    points = [line[6:] for line in lines if line.startswith("point ")]
    odd = [name for name in points if name.startswith(".")]
    folders = [name for name in points if "." not in name]
    found = [line for line in lines if not line.startswith("point ")] + [f"restore point has {name}" for name in odd]
    return found + ([f"the restore point has several folders: {folders}"] if len(folders) > 1 else [])


def lock_run_id(lab: Lab) -> str:
    """Return the id of the run that the newest lock is of."""
    shown = lab.ssh("infra", f"cd {_STORAGE}/lock && cat $(ls | grep '[.]json$' | tail -1)")
    return str(json.loads(shown)["run_id"])


def judge(lab: Lab, version: str, digests: dict[str, str]) -> list[str]:
    """Return what is not as it should be in a cluster of one version that has lost nothing; empty: all is well."""
    wrong = []
    for node, view in node_views(lab).items():
        wanted = NodeView(version, "hold ok installed", "active", "enabled", "", view.pid, version)
        wrong += [
            f"{node}: {field} is {have!r}, not {want!r}"
            for (field, have), want in zip(vars(view).items(), vars(wanted).values())
            if have != want
        ]
        wrong += _served(f"{address(lab, node)}:4242", digests, node)
    states = balancer_states(lab)
    wrong += [f"the load balancer has {node} {states.get(node)}" for node in NODES if states.get(node) != "UP"]
    for _turn in NODES:
        wrong += _served(address(lab, "lb"), digests, "the load balancer")
    wrong += _database(lab, version, digests)
    return wrong + leftovers(lab)


def _served(place: str, digests: dict[str, str], who: str) -> list[str]:
    got = fetch(place, list(digests))
    return [f"{who} does not serve {name} as it was published" for name in digests if got[name] != digests[name]]


def _database(lab: Lab, version: str, digests: dict[str, str]) -> list[str]:
    wrong = []
    for database, table in (("rstudio_pm", "schema_version"), ("rstudio_pm_usage", "usage_schema_version")):
        found = ask_database(lab, f"SELECT version FROM {table}", database)
        if found != [SCHEMAS[version]]:
            wrong.append(f"the schema of {database} is {found}, not {SCHEMAS[version]}")
    names = set(ask_database(lab, "SELECT name FROM packages", "rstudio_pm"))
    wrong += [f"{name} is not in the database" for name in digests if name not in names]
    sessions = set(ask_database(lab, "SELECT DISTINCT client_addr FROM pg_stat_activity WHERE usename = 'rstudio_pm'"))
    expected = {address(lab, node) for node in NODES}
    return wrong + ([] if sessions == expected else [f"sessions in the database are from {sorted(sessions)}"])
