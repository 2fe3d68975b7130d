"""How many operations an NFS client has sent, by /proc/self/mountstats. Pure."""

from __future__ import annotations


def operations(text: str, mount_point: str) -> dict[str, int]:
    """Return the number of each operation that a mount's client has sent since it was mounted.

    Raises ValueError where nothing is mounted there by NFS.
    """
    found: dict[str, int] | None = None
    mine = counting = False
    for line in text.splitlines():
        words = line.split()
        if line.startswith("device "):
            mine, counting = f" mounted on {mount_point} with fstype nfs" in line, False
            found = {} if mine else found
        elif mine and words[:2] == ["per-op", "statistics"]:
            counting = True
        elif mine and counting and found is not None and len(words) > 1 and words[0].endswith(":"):
            found[words[0][:-1]] = int(words[1])
    if found is None:
        raise ValueError(f"nothing is mounted on {mount_point} by NFS")
    return found


def sent(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return the operations between two looks, those that there were."""
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
