# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration, key and drop-in on a node: in place, idempotent, validated first, no secret in any output."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._config import host as config_host
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import ClusterSettings
from ansible_collections.rspm.ha.plugins.module_utils._config.unit import judge_read
from ansible_collections.rspm.ha.plugins.module_utils._core import host_user
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import CompletedCommand
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._postgres.options import Database
from ansible_collections.rspm.ha.plugins.module_utils._service import host as service_host
from ansible_collections.rspm.ha.plugins.module_utils._service import host_apply
from ansible_collections.rspm.ha.plugins.module_utils._service.host_apply import Apply

CANARY = "can;ary-password"


class Host:
    """systemd and the product's CLI; shared files are read for real."""

    def __init__(self) -> None:
        self.check = CompletedCommand(0, "[PASS] all", "")
        self.active = False
        self.reloads = 0
        self.need_reload = "no"
        self.checked: list[str] = []

    def __call__(self, argv: list[str], **_options: Any) -> CompletedCommand:
        assert CANARY not in " ".join(argv)
        if argv[:2] == ["systemctl", "show"]:
            pid = 9 if self.active else 0
            return CompletedCommand(0, f"LoadState=loaded\nMainPID={pid}\nNeedDaemonReload={self.need_reload}\n", "")
        if argv[:2] == ["systemctl", "daemon-reload"]:
            self.reloads += 1
            self.need_reload = "no"
            return CompletedCommand(0, "", "")
        if argv[0] == "cat":
            path = Path(argv[1])
            return (
                CompletedCommand(0, path.read_text(), "")
                if path.exists()
                else CompletedCommand(1, "", f"cat: {path}: No such file or directory")
            )
        if argv[0] == "ls":
            there = os.path.isdir(argv[-1])
            return CompletedCommand(0, "\n".join(os.listdir(argv[-1])), "") if there else CompletedCommand(2, "", "")
        if argv[0] == "test":
            return CompletedCommand(0 if os.path.isdir(argv[2]) else 1, "", "")
        if argv[0] == "runuser":
            assert argv[4:6] == [config_host.CLI, "check-config"]
            self.checked.append(Path(argv[-1]).read_text())
            return self.check
        if argv[0] == "sha256sum":
            return CompletedCommand(1, "", "")
        raise AssertionError(argv)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose files lie in tmp_path, and whose account is the one that runs the test."""
    paths = {
        "CONFIG_PATH": f"{tmp_path}/etc/rstudio-pm/rstudio-pm.gcfg",
        "KEY_PATH": f"{tmp_path}/etc/rstudio-pm/rstudio-pm.key",
        "DROPIN_PATH": f"{tmp_path}/systemd/rspm-ha.conf",
        "DROPIN_FOLDER": f"{tmp_path}/systemd",
        "STARTED_WITH_PATH": f"{tmp_path}/run/started-with",
    }
    for name, path in paths.items():
        for module in (host_apply, service_host):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, path)
    me = (os.getuid(), os.getgid())
    monkeypatch.setattr(host_apply, "account_ids", lambda _name: me)
    monkeypatch.setattr(host_apply, "has_cli", lambda: True)
    monkeypatch.setattr(config_host, "_user", lambda _uid: "rstudio-pm")
    monkeypatch.setattr(config_host, "_group", lambda _gid: "rstudio-pm")
    monkeypatch.setattr(host_apply.WantedFile, "rights", lambda self: f"rstudio-pm:rstudio-pm {self.mode:04o}")
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: _made(tmp_path / "candidate"))
    monkeypatch.setattr(
        config_host, "as_account", lambda argv, who="": ["runuser", "-u", who, "--", *argv] if who else argv
    )
    monkeypatch.setattr(service_host, "as_account", lambda argv: argv)
    monkeypatch.setattr(config_host, "account_ids", lambda _name: me)
    return Host()


def _made(path: Path) -> str:
    path.mkdir()
    return str(path)


def cluster(tmp_path: Path, config: Any = None, **changes: Any) -> ClusterSettings:
    base = ClusterSettings(
        data_dir=f"{tmp_path}/data",
        address="https://packages.example.com",
        http_port=4242,
        node_count=3,
        database=Database("db1", 5432, "rstudio_pm", "usage", "rstudio_pm", CANARY, "require"),
        storage_path=str(tmp_path),
        config=config or {},
    )
    return dataclasses.replace(base, **changes)


def test_in_place_and_idempotent(host: Host, tmp_path: Path) -> None:
    first = Apply(host, cluster(tmp_path)).run(check_mode=False)
    config = tmp_path / "etc/rstudio-pm/rstudio-pm.gcfg"
    assert first["changed"] and first["files"] == [str(config), f"{tmp_path}/systemd/rspm-ha.conf"]
    assert config.stat().st_mode & 0o777 == 0o640
    assert CANARY in config.read_text()
    assert (host.reloads, len(host.checked)) == (1, 1)
    second = Apply(host, cluster(tmp_path)).run(check_mode=False)
    assert not second["changed"] and second["diff"] == [] and second["changes"] == []
    assert second["config_hash"] == first["config_hash"]
    assert (host.reloads, len(host.checked)) == (1, 1)
    assert sorted(os.listdir(tmp_path)) == ["etc", "systemd"]


def test_systemd_reads_the_drop_in_later_only_where_it_starts_the_unit_alike(host: Host, tmp_path: Path) -> None:
    Apply(host, cluster(tmp_path)).run(check_mode=False)
    alone = cluster(tmp_path, node_count=1, storage_path="")
    assert Apply(host, alone).run(check_mode=False, reload_later=True)["changed"]
    assert "mountpoint" not in (tmp_path / "systemd/rspm-ha.conf").read_text() and host.reloads == 1
    # port 80 takes a capability
    Apply(host, dataclasses.replace(alone, http_port=80)).run(check_mode=False, reload_later=True)
    assert host.reloads == 2
    Apply(host, cluster(tmp_path, http_port=80)).run(check_mode=False)
    assert host.reloads == 3


def test_the_product_is_asked_once(host: Host, tmp_path: Path) -> None:
    apply = Apply(host, cluster(tmp_path))
    apply.run(check_mode=True)
    assert apply.run(check_mode=False)["changed"]
    assert len(host.checked) == 1


def test_rights_are_repaired(host: Host, tmp_path: Path) -> None:
    Apply(host, cluster(tmp_path)).run(check_mode=False)
    config = tmp_path / "etc/rstudio-pm/rstudio-pm.gcfg"
    config.chmod(0o644)
    result = Apply(host, cluster(tmp_path)).run(check_mode=False)
    assert result["changed"] and config.stat().st_mode & 0o777 == 0o640
    assert "-rstudio-pm:rstudio-pm 0644" in result["changes"] and "+rstudio-pm:rstudio-pm 0640" in result["changes"]


def test_check_mode_predicts_and_writes_nothing(host: Host, tmp_path: Path) -> None:
    predicted = Apply(host, cluster(tmp_path, encryption_key="k1")).run(check_mode=True)
    assert predicted["changed"] and len(predicted["files"]) == 3
    assert os.listdir(tmp_path) == []
    done = Apply(host, cluster(tmp_path, encryption_key="k1")).run(check_mode=False)
    assert done["files"] == predicted["files"] and done["config_hash"] == predicted["config_hash"]
    assert not Apply(host, cluster(tmp_path, encryption_key="k1")).run(check_mode=True)["changed"]


def test_no_output_has_a_secret(host: Host, tmp_path: Path) -> None:
    config = {"Manifest": {"Password": "canary-two"}}
    results = [Apply(host, cluster(tmp_path, config, encryption_key="canary-key")).run(check_mode=False)]
    changed = cluster(
        tmp_path,
        {"Manifest": {"Password": "canary-three"}},
        encryption_key="canary-key",
        database=Database("db1", 5432, "rstudio_pm", "usage", "rstudio_pm", "other-canary", "require"),
    )
    results.append(Apply(host, changed).run(check_mode=False))
    text = json.dumps(results)
    assert "canary" not in text and CANARY not in text
    assert "+Password = ******** ; changed" in results[1]["changes"]


def test_a_refused_configuration_replaces_nothing(host: Host, tmp_path: Path) -> None:
    Apply(host, cluster(tmp_path)).run(check_mode=False)
    config = tmp_path / "etc/rstudio-pm/rstudio-pm.gcfg"
    before = config.read_text()
    host.check = CompletedCommand(1, f"[FAIL] Unknown settings: Git.Foo near {CANARY}\n[FAIL] database: no\n", "")
    with pytest.raises(DomainError) as caught:
        Apply(host, cluster(tmp_path, {"Git": {"Foo": "1"}})).run(check_mode=False)
    assert caught.value.problems[0].found == (
        "rspm check-config refuses the configuration: Unknown settings: Git.Foo near ********"
    )
    assert config.read_text() == before
    assert not (tmp_path / "candidate").exists()


def test_a_server_of_its_own_keeps_its_configuration(host: Host, tmp_path: Path) -> None:
    config = tmp_path / "etc/rstudio-pm/rstudio-pm.gcfg"
    config.parent.mkdir(parents=True)
    theirs = f"[Server]\nDataDir = {tmp_path}/own\n"
    config.write_text(theirs)
    (tmp_path / "own/db").mkdir(parents=True)
    (tmp_path / "own/db/rstudio-pm.sqlite3").touch()
    assert [p.check for p in Apply(host, cluster(tmp_path)).problems()] == ["single-server"]
    for check_mode in (True, False):
        with pytest.raises(DomainError, match="has a server of its own"):
            Apply(host, cluster(tmp_path)).run(check_mode=check_mode)
    assert config.read_text() == theirs and os.listdir(config.parent) == ["rstudio-pm.gcfg"]


def test_what_is_replaced_is_kept_beside_it(host: Host, tmp_path: Path) -> None:
    """A package's own example of a configuration is no server."""
    config = tmp_path / "etc/rstudio-pm/rstudio-pm.gcfg"
    config.parent.mkdir(parents=True)
    config.write_text("[Server]\n")
    Apply(host, cluster(tmp_path)).run(check_mode=True)
    assert os.listdir(config.parent) == ["rstudio-pm.gcfg"]
    for address in ("https://a.example.com", "https://b.example.com", "https://b.example.com"):
        Apply(host, cluster(tmp_path, address=address)).run(check_mode=False)
    kept = {path.name: path.read_text() for path in config.parent.iterdir() if path != config}
    assert sorted(kept) == ["rstudio-pm.gcfg.original", "rstudio-pm.gcfg.previous"]
    assert kept["rstudio-pm.gcfg.original"] == "[Server]\n"
    assert "https://a.example.com" in kept["rstudio-pm.gcfg.previous"]


def test_a_look_collects_and_leaves_nothing(host: Host, tmp_path: Path) -> None:
    wrong = cluster(tmp_path, {"Server": {"DataDir": "/x"}, "Database": {"Provider": "sqlite"}})
    assert [p.check for p in Apply(host, wrong).problems()] == ["owned-setting", "sqlite-with-several-nodes"]
    host.check = CompletedCommand(1, "[FAIL] Unknown settings: Git.Foo", "")
    found = Apply(host, cluster(tmp_path, {"Git": {"Foo": "1"}}, encryption_key="k")).problems()
    assert [p.check for p in found] == ["config-invalid"]
    assert f"EncryptionKeyPath = {tmp_path}/candidate/rstudio-pm.key" in host.checked[0]
    assert os.listdir(tmp_path) == []


def test_another_key_is_refused_before_anything_is_written(host: Host, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rstudio-pm.key").write_text("the first node's\n")
    with pytest.raises(DomainError, match="holds a different key"):
        Apply(host, cluster(tmp_path, encryption_key="another")).run(check_mode=False)
    assert os.listdir(tmp_path) == ["data"]
    assert not Apply(host, cluster(tmp_path)).problems()


@pytest.mark.parametrize("rc", [124, 1])
def test_storage_that_does_not_tell_is_no_absent_key(host: Host, tmp_path: Path, rc: int) -> None:
    def hung(argv: list[str], **given: Any) -> CompletedCommand:
        return CompletedCommand(rc, "", "cat: Permission denied") if argv[0] == "cat" else host(argv, **given)

    with pytest.raises(DomainError, match="storage-answers"):
        Apply(hung, cluster(tmp_path, encryption_key="k")).run(check_mode=False)


def test_a_running_process_needs_a_restart(host: Host, tmp_path: Path) -> None:
    host.active = True
    result = Apply(host, cluster(tmp_path)).run(check_mode=False)
    assert result["needs_restart"]
    sums = "".join(f"{digest}  {path}\n" for path, digest in _sums(tmp_path).items())
    (tmp_path / "run").mkdir()
    (tmp_path / "run/started-with").write_text(sums)
    assert not Apply(host, cluster(tmp_path)).run(check_mode=False)["needs_restart"]
    predicted = Apply(host, cluster(tmp_path, {"Git": {"PollInterval": "9m"}})).run(check_mode=True)
    assert predicted["needs_restart"] and "would change" in predicted["restart_reasons"][0]
    done = Apply(host, cluster(tmp_path, {"Git": {"PollInterval": "9m"}})).run(check_mode=False)
    assert done["restart_reasons"] == [f"{tmp_path}/etc/rstudio-pm/rstudio-pm.gcfg changed since it started"]


def _sums(tmp_path: Path) -> dict[str, str]:
    paths = [tmp_path / "etc/rstudio-pm/rstudio-pm.gcfg", tmp_path / "systemd/rspm-ha.conf"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_stale_unit_files_are_read_again(host: Host, tmp_path: Path) -> None:
    Apply(host, cluster(tmp_path)).run(check_mode=False)
    host.need_reload = "yes"
    assert Apply(host, cluster(tmp_path)).run(check_mode=True)["changed"]
    assert host.reloads == 1
    assert Apply(host, cluster(tmp_path)).run(check_mode=False)["changed"]
    assert host.reloads == 2


def test_shared_files_are_read_as_the_account_that_owns_them(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server with root_squash shows them to nobody else, and an unseen key would be an absent one."""
    monkeypatch.undo()
    monkeypatch.setattr("pwd.getpwnam", lambda _name: None)
    assert host_user.as_account(["cat", "/x"]) == ["runuser", "-u", "rstudio-pm", "--", "cat", "/x"]
    asked: list[list[str]] = []

    def runner(argv: list[str], **_given: Any) -> CompletedCommand:
        asked.append(argv)
        return CompletedCommand(0, "k", "")

    monkeypatch.setattr(config_host, "account_ids", lambda _name: (1, 1))
    assert config_host.load_shared(runner, "/data/rstudio-pm.key") == "k"
    assert asked[0][0] == "runuser"


def test_root_without_the_account_may_be_refused_by_the_file_server() -> None:
    assert judge_read("/k", 1, "", "cat: /k: Permission denied", known_account=False) is None
    assert judge_read("/k", 1, "", "cat: /k: No such file or directory", known_account=True) is None
    with pytest.raises(DomainError, match="storage-answers"):
        judge_read("/k", 1, "", "cat: /k: Permission denied", known_account=True)
    with pytest.raises(DomainError, match="in time"):
        judge_read("/k", 124, "", "", known_account=False)
