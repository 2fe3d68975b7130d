# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write a node's configuration, key and drop-in as the cluster's variables say. The rules decide what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ansible_collections.rspm.ha.plugins.module_utils._config.gcfg import (
    hidden_diff,
    hide,
    parse,
    render,
    unified,
)
from ansible_collections.rspm.ha.plugins.module_utils._config.host import (
    Candidate,
    OnDisk,
    account_ids,
    folder_answers,
    has_cli,
    load_file,
    load_shared,
    save,
)
from ansible_collections.rspm.ha.plugins.module_utils._config.options import secrets_given
from ansible_collections.rspm.ha.plugins.module_utils._config.rules import (
    KEY_PATH,
    ClusterSettings,
    judge_settings,
    wanted_settings,
)
from ansible_collections.rspm.ha.plugins.module_utils._config.unit import (
    CONFIG_PATH,
    DROPIN_PATH,
    account_missing,
    config_hash,
    dropin,
    judge_check,
    judge_key,
    starts_alike,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import Runner
from ansible_collections.rspm.ha.plugins.module_utils._core.host_files import read_text
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError, Problem, raise_any
from ansible_collections.rspm.ha.plugins.module_utils._core.product import ACCOUNT
from ansible_collections.rspm.ha.plugins.module_utils._service.existing import judge_existing, server_data
from ansible_collections.rspm.ha.plugins.module_utils._service.host import (
    daemon_reload,
    load_config,
    load_document,
    load_unit,
)
from ansible_collections.rspm.ha.plugins.module_utils._service.host_existing import keep_copy, load_existing
from ansible_collections.rspm.ha.plugins.module_utils._service.rules import file_reasons
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import parse_mountinfo, shared_mount_point


@dataclass(frozen=True)
class WantedFile:
    """A file as it should be. owner is the account or root. secret: its content is never shown."""

    path: str
    text: str
    mode: int
    owner: str
    secret: bool = False

    def fits(self, found: OnDisk) -> bool:
        """Whether the file on disk is the wanted one."""
        return found.content == self.text and found.rights() == self.rights()

    def rights(self) -> str:
        """Return owner, group and mode in one text, for a diff."""
        return f"{self.owner}:{self.owner} {self.mode:04o}"

    def diff(self, found: OnDisk) -> list[dict[str, str]]:
        """Return what changes, for --diff, without secrets."""
        before, after = found.content or "", self.text
        if self.path == CONFIG_PATH:
            before, after = hidden_diff(before, after)
        elif self.secret:
            before, after = ("a key\n" if before else ""), ("another key\n" if before else "a key\n")
        shown = []
        if found.content != self.text:
            shown.append({"before_header": self.path, "after_header": self.path, "before": before, "after": after})
        if found.content is not None and found.rights() != self.rights():
            header = f"{self.path} (owner and mode)"
            rights = {"before": f"{found.rights()}\n", "after": f"{self.rights()}\n"}
            shown.append({"before_header": header, "after_header": header, **rights})
        return shown


class Apply:
    """One node's configuration: judged, and put in place. The product is asked once for its judgement."""

    def __init__(self, runner: Runner, cluster: ClusterSettings) -> None:
        """Take the runner and what the cluster's variables say; nothing is read yet."""
        self._runner = runner
        self._cluster = cluster

    @cached_property
    def _text(self) -> str:
        return render(wanted_settings(self._cluster))

    @cached_property
    def _key(self) -> str:
        return self._cluster.encryption_key.strip()

    @cached_property
    def _found(self) -> dict[str, OnDisk]:
        return {path: load_file(path) for path in (KEY_PATH, CONFIG_PATH, DROPIN_PATH)}

    @property
    def _ours(self) -> bool:
        """Whether this collection has configured the server before."""
        return self._found[DROPIN_PATH].content is not None

    def _wanted(self) -> list[WantedFile]:
        """Return the files, in the order in which they are written."""
        key_path = KEY_PATH if self._key else ""
        drop = dropin(self._mount_point(), parse(self._text), key_path)
        files = [WantedFile(CONFIG_PATH, self._text, 0o640, ACCOUNT), WantedFile(DROPIN_PATH, drop, 0o644, "root")]
        key = [WantedFile(KEY_PATH, f"{self._key}\n", 0o600, ACCOUNT, secret=True)] if self._key else []
        return key + files

    def _mount_point(self) -> str:
        """Return the mount point to wait for: a team's own share may be mounted above rspm_storage_path."""
        path = self._cluster.storage_path
        return path and shared_mount_point(parse_mountinfo(read_text("/proc/self/mountinfo") or ""), path)

    def problems(self) -> list[Problem]:
        """Return everything that is wrong with the configuration; [] where nothing is."""
        return judge_settings(self._cluster) or [
            *self._key_problems(),
            *self._existing_problems(),
            *self._product_says,
        ]

    def _key_problems(self) -> list[Problem]:
        """Return why the key must not be used."""
        data_key = f"{self._cluster.data_dir}/rstudio-pm.key"
        return judge_key(self._key, self._found[KEY_PATH].content, load_shared(self._runner, data_key), data_key)

    def _existing_problems(self) -> list[Problem]:
        """Return what a server that is there already would lose."""
        existing = load_existing(self._runner, self._found[CONFIG_PATH].content, self._ours)
        return judge_existing(existing, server_data(parse(self._text)), self._key) if existing else []

    @cached_property
    def _product_says(self) -> list[Problem]:
        """Return what the installed product holds against the candidate; [] where it can't be asked."""
        ids = account_ids(ACCOUNT)
        if ids is None or not has_cli():
            return []
        with Candidate(ACCOUNT, ids) as candidate:
            key_path = candidate.put("rstudio-pm.key", f"{self._key}\n", 0o600) if self._key else KEY_PATH
            text = render(wanted_settings(self._cluster, key_path))
            done = candidate.check(self._runner, candidate.put("rstudio-pm.gcfg", text, 0o640))
            problems = judge_check(
                done.rc,
                f"{done.stdout}\n{done.stderr}".replace(candidate.folder, "/etc/rstudio-pm"),
                running=load_unit(self._runner).running,
                storage_ready=folder_answers(self._runner, self._cluster.data_dir),
            )
        secrets = secrets_given(asdict(self._cluster))
        return [Problem(one.check, hide(one.found, secrets), one.why, one.fix) for one in problems]

    def run(self, *, check_mode: bool, reload_later: bool = False) -> dict[str, Any]:
        """Put everything in place; raises DomainError, with nothing written, where the configuration is no good.

        reload_later: whether the caller makes systemd read the drop-in once the unit has started, as far as it is
        stopped and starts alike with the one that systemd has.
        """
        changes = [file for file in self._wanted() if not file.fits(self._found[file.path])]
        self._refuse(changes)
        account = account_ids(ACCOUNT)
        unit = load_unit(self._runner)
        if not check_mode:
            if account is None:
                raise DomainError(account_missing(ACCOUNT))
            for file in changes:
                if file.path == CONFIG_PATH:
                    keep_copy(file.path, self._ours)
                save(file.path, file.text, file.mode, account if file.owner == ACCOUNT else (0, 0))
            loaded = self._found[DROPIN_PATH].content or ""
            may_wait = reload_later and not unit.running
            dropins = [file.text for file in changes if file.path == DROPIN_PATH]
            if unit.need_daemon_reload or any(not (may_wait and starts_alike(loaded, text)) for text in dropins):
                daemon_reload(self._runner)
        if not unit.running:
            reasons = []
        elif check_mode and changes:
            reasons = [f"{file.path} would change" for file in changes]
        else:
            reasons = file_reasons(unit, load_config(self._runner, load_document()))
        parts = [part for file in changes for part in file.diff(self._found[file.path])]
        return {
            "changed": bool(changes) or unit.need_daemon_reload,
            "config_hash": config_hash(self._text),
            "files": [file.path for file in changes],
            "needs_restart": bool(reasons),
            "restart_reasons": reasons,
            "changes": unified(parts),
            "diff": parts,
        }

    def _refuse(self, changes: list[WantedFile]) -> None:
        """Raise DomainError where what would be written is no good; asks only for what would change."""
        written = {file.path for file in changes if file.text != self._found[file.path].content}
        problems: list[Problem] = []
        if KEY_PATH in written or (not self._key and self._found[KEY_PATH].content is not None):
            problems += self._key_problems()
        if CONFIG_PATH in written:
            problems += [*self._existing_problems(), *self._product_says]
        raise_any(problems)
