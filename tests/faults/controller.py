"""A run of a playbook that can be held at a place, and killed as kill -9 of everything it consists of kills it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.scenarios.support import Run, person, read_json, short

GATE = Path(__file__).parent / "gate.yml"
# No cell needs longer; a run that does hangs.
LIMIT = 420.0


class Controller:
    """One run of a playbook. hook: at which hook (before_first, ...) it waits to be let go on, "" for nowhere."""

    def __init__(self, playbook: str, hook: str = "", **variables: Any) -> None:
        self._mark = f"RSPM_FAULT_RUN={uuid.uuid4().hex}"
        place = person()
        self._folder = place.new_folder("fault-")
        self._gate = str(self._folder / "gate")
        self._record = self._folder / "record.jsonl"
        self._output = self._folder / "output"
        self.report_file = self._folder / "report.json"
        if hook:
            variables["rspm_upgrade_hooks"] = {hook: [str(place.bring(GATE))]}
        name, _equals, value = self._mark.partition("=")
        self.begun = time.monotonic()
        with self._output.open("wb") as output:
            self._process = place.start(
                place.argv(playbook, rspm_report_file=str(self.report_file), **variables),
                {
                    name: value,
                    "RSPM_RECORD": str(self._record),
                    "RSPM_FAULT_GATE": self._gate,
                    # Connections of its own, which die with it.
                    "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder / "cp"),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self._process.poll() is not None

    @property
    def held(self) -> bool:
        """Whether the run waits at its hook."""
        return Path(f"{self._gate}.reached").exists()

    def open_gate(self) -> None:
        """Let the run go on."""
        Path(f"{self._gate}.open").touch()

    def kill(self) -> None:
        """End every process of the run at once: the playbook, its workers, its connections."""
        while pids := self._pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)

    def _pids(self) -> list[int]:
        """Return the processes that have this run's mark in their environment: all that it started, and only they."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def wait(self, seconds: float = LIMIT) -> Run:
        """Wait for the end and return what was said and done; a run that does not end is killed: AssertionError."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.said()
            self.kill()
            raise AssertionError(f"the run did not end within {seconds:.0f} s; it said last:\n{said[-1500:]}") from None
        return Run.of(self._process.returncode, self.said(), self._record)

    def said(self) -> str:
        """Return the output so far."""
        return short(self._output.read_text(encoding="utf-8", errors="replace"))

    def report(self) -> dict[str, Any]:
        """Return the report of the run, empty where it made none."""
        with suppress(FileNotFoundError, ValueError):
            found: dict[str, Any] = read_json(self.report_file)
            return found
        return {}

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
