# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The phase that moves everything, in real runs of ansible-playbook with a module that says what it was given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.action.test_phases import LOCK, UNLOCK, Cluster
from tests.unit.action.test_preflight_run import CANARY, REPOSITORY

# Fails where it is told to wait for health for one second, and crashes where for two.
MODULE = """
import json
import os

from ansible.module_utils.basic import AnsibleModule

NAMES = [*"version record_path lock source target data configuration allow_unlicensed health_timeout follower".split()]


def main():
    module = AnsibleModule(
        argument_spec={name: {"type": "raw"} for name in NAMES}, supports_check_mode=True, no_log=True
    )
    # as the option's own spec does, which this module has not
    module.no_log_values.update(module.params["configuration"]["secrets"])
    os.makedirs(module.params["record_path"], exist_ok=True)
    with open(module.params["record_path"] + "/given.json", "w") as file:
        json.dump(module.params, file)
    step = {"step": "switch", "at": "2026-11-28T04:00:00.123Z", "seconds": 1.5}
    far = {
        "record": {"state": "switched"},
        "data": {"files": 7, "bytes": 70, "free_bytes": 1},
        "databases": {"tables": 9, "rows": 90, "rights": []},
        "notes": ["x has another content; it was copied again"],
        "timeline": [step],
    }
    if module.params["health_timeout"] == 2:
        raise RuntimeError("planted")
    if module.params["health_timeout"] == 1:
        module.fail_json(msg="[node-health] it is not healthy", **far)
    module.exit_json(changed=True, actions=["start"], configuration={"changes": ["-a"], "files": []}, **far)


main()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "storage" / ".rspm-ha" / "lock").mkdir(parents=True)
    made = Cluster(tmp_path, "migration", [LOCK, {"name": "move", "steps": {"node1": "move"}}, UNLOCK])
    shutil.copy(REPOSITORY / "roles/migration/tasks/steps/move.yml", made.tasks / "steps")
    (made.tasks.parents[2] / "plugins/modules/node_migrate.py").write_text(MODULE)
    return made


def run(cluster: Cluster, code: int = 0, **variables: Any) -> tuple[str, dict[str, Any]]:
    """Run the phases, and return what was printed and what the module was given."""
    given: dict[str, Any] = {
        "rspm_migration_target": "node1",
        "rspm_database_password": CANARY,
        "rspm_database_host": "db1",
    }
    given |= {"rspm_encryption_key": CANARY, "rspm_config": {"Mail": {"Password": CANARY}}, "rspm_address": ""}
    given["rspm_node_address"] = "192.0.2.1"
    printed = cluster.run("-vvv", code=code, groups={"rspm_nodes": ["node1", "node2"]}, **given, **variables)
    assert CANARY not in printed
    return printed, json.loads((cluster.folder / "storage/.rspm-ha/migration/given.json").read_text())


def test_what_moves_is_named_and_followed(cluster: Cluster) -> None:
    printed, given = run(
        cluster, rspm_migration_data="move", rspm_migration_database="move", rspm_migration_data_dir="/var/x/data"
    )
    storage = f"{cluster.folder}/storage"
    assert given["data"] == {"source": f"{storage}/data", "destination": "/var/x/data"} and given["follower"]
    assert (given["source"]["host"], given["target"]["host"]) == ("db1", "192.0.2.1")
    configuration = given["configuration"]
    assert (configuration["data_dir"], configuration["storage_path"]) == ("/var/x/data", "")
    assert configuration["node_count"] == 1 and configuration["database"]["host"] == "192.0.2.1"
    assert configuration["config"] == {"Mail": {"Password": CANARY}}
    assert given["lock"]["run_id"] and given["lock"]["holder"] and given["lock"]["path"].startswith(storage)
    assert "x has another content; it was copied again" in printed
    assert cluster.report["outcome"] == "done"
    assert cluster.report["data"] == {"files": 7, "bytes": 70}
    assert cluster.report["databases"] == {"tables": 9, "rows": 90}
    assert [step["step"] for step in cluster.report["phases"][1]["nodes"]["node1"]["steps"]] == ["switch"]


def test_what_stays_is_left_out(cluster: Cluster) -> None:
    _printed, given = run(cluster)
    storage = f"{cluster.folder}/storage"
    assert given["data"] is given["target"] is given["follower"] is None
    configuration = given["configuration"]
    assert (configuration["data_dir"], configuration["storage_path"]) == (f"{storage}/data", storage)
    assert configuration["database"]["host"] == "db1"


@pytest.mark.parametrize("moved", ["keep", "move"])
@pytest.mark.parametrize(
    ("seconds", "why", "says"),
    [
        (1, "[node-health] it is not healthy", "this can't be undone"),
        (2, "", "node1 has not told whether the switch is written"),
    ],
)
def test_a_failure_is_told_with_what_is_open_then(
    cluster: Cluster, moved: str, seconds: int, why: str, says: str
) -> None:
    run(cluster, code=2, rspm_health_timeout=seconds, rspm_migration_data=moved)
    assert cluster.report["stopped_in"] == "move" and why in cluster.report["failures"]["node1"]
    text = " ".join(cluster.report["says"])
    assert says in text and ("rspm_migration=abort" in text) == (seconds == 2)
