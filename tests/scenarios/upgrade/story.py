"""One step of the story: an upgrade under load, watched from the nodes, and looks at what the cluster holds."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios import support, tenants
from tests.scenarios.support import NODES, Clients, Lab, Run
from tests.scenarios.upgrade.watch import Watch

SCHEMAS = {"2025.12.0-14": "41", "2026.04.0": "44", "2026.08.0": "48"}
OLDEST, MIDDLE, NEWEST = SCHEMAS
# What nodes write of themselves while they run says nothing of what is kept.
_ROWS = """
SELECT 'packages', repo, name, version, sha256, path FROM packages ORDER BY path;
SELECT 'repos', name, type FROM repos ORDER BY name;
SELECT 'sources', name, type FROM sources ORDER BY name;
SELECT 'subscriptions', repo, source FROM subscriptions ORDER BY repo, source;
SELECT 'schema', version FROM schema_version;
"""
_USAGE_ROWS = """
SELECT 'downloads', day, node, repo, file, downloads FROM usage_downloads ORDER BY day, node, repo, file;
SELECT 'usage schema', version FROM usage_schema_version;
"""
_COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'
ORDER BY table_name, column_name;
"""


def package(version: str, variant: str = "") -> str:
    """Return the path of a package file on the controller."""
    return str(support.PACKAGES / variant / f"rstudio-pm_{version}_amd64.deb")


def upgrade(version: str, *args: str, variant: str = "", **variables: Any) -> Run:
    """Run upgrade.yml to a version."""
    return support.run_playbook(
        "upgrade", *args, rspm_version=version, rspm_package_file=package(version, variant), **variables
    )


def kept(lab: Lab) -> list[str]:
    """Return the rows and the columns of both databases that only a publication, a download or a migration changes."""
    rows = support.ask_database(lab, _ROWS + _COLUMNS, "rstudio_pm")
    return rows + support.ask_database(lab, _USAGE_ROWS + _COLUMNS, "rstudio_pm_usage")


def schemas(lab: Lab) -> set[str]:
    """Return the numbers of the schema of both databases."""
    return {
        *support.ask_database(lab, "SELECT version FROM schema_version", "rstudio_pm"),
        *support.ask_database(lab, "SELECT version FROM usage_schema_version", "rstudio_pm_usage"),
    }


def listed(lab: Lab, node: str) -> set[str]:
    """Return the names of the packages that a node's API has from the database."""
    code, body = support.get(f"{support.address(lab, node)}:4242", "/__api__/repos/pypi/packages")
    assert code == 200, (node, code, body)
    return {entry["name"] for entry in json.loads(body)}


def served(lab: Lab, names: list[str]) -> dict[str, dict[str, str]]:
    """Return, for each node, what it serves of these packages: the digest of each file, "" for none."""

    def digest(node: str, name: str) -> str:
        address, folder = f"{support.address(lab, node)}:4242", f"/pypi/latest/simple/{name}/"
        code, body = support.get(address, folder)
        links = re.findall(r'href="([^"#]+)', body.decode())
        if code != 200 or len(links) != 1:
            return ""
        code, content = support.get(address, folder + links[0])
        return hashlib.sha256(content).hexdigest() if code == 200 else ""

    return {node: {name: digest(node, name) for name in names} for node in NODES}


@dataclass
class Step:
    """What an upgrade said, did, and looked like from outside. runs: one for each operator."""

    origin: str
    target: str
    names: list[str]
    before: dict[str, dict[str, str]]
    runs: list[Run]
    watch: Watch
    clients: Clients
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> Run:
        """The run that went through."""
        return next(run for run in self.runs if run.code == 0)


def perform(lab: Lab, origin: str, target: str, names: list[str], folder: Path, operators: int, **more: Any) -> Step:
    """Upgrade under load, with so many operators who type the same at once."""
    before = served(lab, names)
    reports = [folder / f"report-{number}.json" for number in range(operators)]

    def operate(report: Path) -> Run:
        return upgrade(target, as_it_comes=True, rspm_report_file=str(report), **more)

    load = Clients(support.address(lab, "lb"))
    with tenants.unnoticed(lab), Watch(lab) as watch, load as clients, ThreadPoolExecutor() as pool:
        runs = list(pool.map(operate, reports))
    step = Step(origin, target, names, before, runs, watch, clients)
    for run, report in zip(runs, reports, strict=True):
        if run.code == 0:
            step.report = support.read_json(report)
    return step
