"""What ran where and when, from the samplers on the nodes; judged without asking the collection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rspm_lab.shell import run

from tests.scenarios.support import NODES, Lab, wait_for

_LOG = "/run/version-samples"
_UNIT = "version-sampler"
Samples = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Life:
    """One process of the service: from the sample before its first to the one after its last (seconds, epoch)."""

    node: str
    version: str
    began: float
    ended: float


def lives(samples: Samples) -> list[Life]:
    """Return every process that was seen, in the order of time."""
    found = []
    for node, lines in samples.items():
        seen: dict[tuple[int, str], list[int]] = {}
        versions: dict[tuple[int, str], str] = {}
        for position, line in enumerate(lines):
            for pid, start, on_disk, told in line["services"]:
                seen.setdefault((pid, start), []).append(position)
                # what the process itself tells counts more than what lay on the disk when it was first seen
                versions[pid, start] = told or versions.get((pid, start)) or on_disk
        for process, positions in seen.items():
            began, ended = lines[max(0, positions[0] - 1)]["at"], lines[min(len(lines), positions[-1] + 2) - 1]["at"]
            found.append(Life(node, versions[process], began, ended))
    return sorted(found, key=lambda life: life.began)


def mixtures(found: list[Life]) -> list[str]:
    """Return every pair of processes of different versions that may have run at one instant."""
    return [
        f"{one.version} on {one.node} until {one.ended:.3f} and {other.version} on {other.node} from {other.began:.3f}"
        for position, one in enumerate(found)
        for other in found[position + 1 :]
        if one.version != other.version and other.began < one.ended
    ]


class Watch:
    """The samplers on the nodes, from the beginning of a with block to its end."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.samples: Samples = {}
        self.lives: list[Life] = []

    def __enter__(self) -> Watch:
        source = (Path(__file__).parent / "sampler.py").read_text("utf-8")
        for node in NODES:
            run(self._lab.ssh_argv(node, f"cat > {_LOG}.py"), text_in=source)
            self._lab.ssh(node, f"rm -f {_LOG}; systemd-run -q --collect --unit {_UNIT} python3 {_LOG}.py {_LOG}")
        for node in NODES:
            wait_for(f"samples of {node}", lambda n=node: self._lab.ssh(n, f"cat {_LOG}", check=False), 20)
        return self

    def __exit__(self, *raised: object) -> None:
        for node in NODES:
            text = self._lab.ssh(node, f"systemctl is-active -q {_UNIT} && mv {_LOG} {_LOG}.kept && cat {_LOG}.kept")
            # the last line may be cut
            self.samples[node] = [json.loads(line) for line in text.splitlines()[:-1]]
        self.lives = lives(self.samples)

    def mixed(self) -> list[str]:
        """Return when two versions may have run at one instant."""
        return mixtures(self.lives)

    def pause(self) -> float:
        """Return how long a node was not looked at, at the worst 1 % (seconds)."""
        worst = 0.0
        for lines in self.samples.values():
            pauses = sorted(after["at"] - before["at"] for before, after in zip(lines, lines[1:], strict=False))
            worst = max(worst, pauses[int(len(pauses) * 0.99)])
        return worst

    def starts(self, version: str) -> dict[str, int]:
        """Return how many processes of a version each node had."""
        return {node: sum(life.version == version and life.node == node for life in self.lives) for node in NODES}
