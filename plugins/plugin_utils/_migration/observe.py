# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the modules found on every host to what the plan of a migration is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import flatten
from ansible_collections.rspm.ha.plugins.module_utils._migration.record import Written, further, to_record
from ansible_collections.rspm.ha.plugins.module_utils._migration.rules import Options, Record, RecordState
from ansible_collections.rspm.ha.plugins.plugin_utils._cluster.observe import (
    observe_balancer,
    observe_lock,
    observe_sessions,
)
from ansible_collections.rspm.ha.plugins.plugin_utils._migration.model import NodeObservation, Observations


def options_of(given: Mapping[str, Any]) -> Options:
    """Return the choices. given: target, load_balancer, data, data_dir, database as the variables have them."""
    return Options(
        target=given["target"],
        move_data=given["data"] == "move",
        move_databases=given["database"] == "move",
        route=given["load_balancer"] == "route",
        data_dir=given["data_dir"],
        provider="sqlite" if str(given["database"]).lower() == "sqlite" else "postgres",
    )


def observe(found: Mapping[str, Any]) -> Observations:
    """Return the observations.

    found: plain data, as the modules return it; what is by node has the inventory's names as keys.
      nodes: node_info's results. records: migration_record's results.
      sessions: database_sessions' results. balancers: of each load balancer lb_member's members, {} for no answer.
      balancer_command: whether the team's own command does that instead. lock: the module's result.
      database: name of its host. database_hosts, storage_hosts, balancer_hosts: of our groups.
      storage_kind, storage_path, data_dir: the shared ones. config: rspm_config.
      allow_unlicensed: whether 402 is healthy.
    """
    record = _record(found["records"].values())
    sessions = observe_sessions(found["sessions"])
    nodes = [
        NodeObservation.from_result(
            name,
            result,
            found["allow_unlicensed"],
            sessions=sessions.own.get(name, 0),
            balancer=observe_balancer(name, found, record.state is not RecordState.ABSENT),
            mounted=bool(found["records"].get(name, {}).get("mounted")),
        )
        for name, result in found["nodes"].items()
    ]
    return Observations(
        nodes=tuple(nodes),
        record=record,
        lock=observe_lock(found["lock"]),
        database=found["database"],
        database_says=sessions.says,
        foreign_sessions=sessions.foreign,
        shared_addresses=sessions.shared,
        database_hosts=tuple(found["database_hosts"]),
        storage_hosts=tuple(found["storage_hosts"]),
        balancer_hosts=tuple(found["balancer_hosts"]),
        storage_path=found["storage_path"],
        data_dir=found["data_dir"],
        provider=_provider(found["config"]),
        paths_below_storage=tuple(_below(found["config"], found["storage_path"])),
        mount_is_ours=found["storage_kind"] == "nfs",
    )


def _record(results: Iterable[Mapping[str, Any]]) -> Record:
    """Return the record that has come furthest: a node whose storage is not mounted sees none."""
    best: Written | None = None
    for result in results:
        if result and result.get("record"):
            best = further(best, Written(**result["record"]))
    return to_record(best.to_dict() if best else {})


def _texts(config: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {f"{section}.{key}": texts for (section, key), texts in flatten(config).items()}


def _provider(config: Mapping[str, Any]) -> str:
    for setting, texts in _texts(config).items():
        if setting.lower() == "database.provider":
            return texts[-1].lower()
    return "postgres"


def _below(config: Mapping[str, Any], folder: str) -> list[str]:
    """Return the settings that name the folder or something in it."""
    prefix = folder.rstrip("/")
    return sorted(
        setting
        for setting, texts in _texts(config).items()
        if any(text == prefix or text.startswith(prefix + "/") for text in texts)
    )
