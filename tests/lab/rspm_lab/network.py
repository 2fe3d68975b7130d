"""One network namespace a lab: a bridge, a tap a machine, a veth pair to reach it, NAT for the mirror."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .paths import state_root
from .shell import LabError, run

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class Network:
    """Names and addresses of one lab's network, all from the lab's name and its number (0 to 99)."""

    name: str
    index: int

    @property
    def namespace(self) -> str:
        """The network namespace that every process of the lab lives in."""
        return f"rspm-lab-{self.name}"

    @property
    def table(self) -> str:
        """The nftables table with the lab's NAT rule."""
        return f"rspm_lab_{self.name.replace('-', '_')}"

    @property
    def uplink(self) -> str:
        """The end of the veth pair in the host's own namespace."""
        return f"rspmlab{self.index}"

    @property
    def gateway(self) -> str:
        """The host's address in the lab."""
        return f"10.173.{self.index}.1"

    def address(self, number: int) -> str:
        """Return the address of the machine with this number (1 to 200)."""
        return f"10.173.{self.index}.{10 + number}"

    def tap(self, number: int) -> str:
        """Return the tap of the machine with this number."""
        return f"tap{number}"

    def mac(self, number: int) -> str:
        """Return the link address of the machine with this number."""
        return f"02:52:53:50:{self.index:02x}:{number:02x}"

    def _inside(self, *argv: str) -> None:
        run(["ip", "-n", self.namespace, *argv])

    def _offloads_off(self, device: str, inside: bool) -> None:
        prefix = ["ip", "netns", "exec", self.namespace] if inside else []
        run([*prefix, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], check=False)

    def create(self, machines: int) -> None:
        """Make the network for so many machines."""
        run(["ip", "netns", "add", self.namespace])
        self._inside("link", "set", "lo", "up")
        self._inside("link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        self._inside("link", "set", "bridge", "up")
        run(["ip", "link", "add", self.uplink, "type", "veth", "peer", "name", "uplink", "netns", self.namespace])
        self._inside("link", "set", "uplink", "master", "bridge", "up")
        run(["ip", "address", "add", f"{self.gateway}/24", "dev", self.uplink])
        run(["ip", "link", "set", self.uplink, "up"])
        self._offloads_off(self.uplink, inside=False)
        self._offloads_off("uplink", inside=True)
        for number in range(1, machines + 1):
            tap = self.tap(number)
            self._inside("tuntap", "add", tap, "mode", "tap")
            self._inside("link", "set", tap, "master", "bridge", "up")
            self._offloads_off(tap, inside=True)
        _remember_forwarding()
        FORWARDING.write_text("1\n")
        subnet = f"10.173.{self.index}.0/24"
        rule = f"ip saddr {subnet} ip daddr != {subnet} masquerade"
        run(
            ["nft", "-f", "-"],
            text_in=f"table ip {self.table} {{ chain nat {{ type nat hook postrouting priority 100; {rule}; }}; }}",
        )

    def set_link(self, number: int, up: bool) -> None:
        """Take a machine's cable out, or put it back.

        The tap itself stays up: a guest that writes to one that is down gives its network card up for good.
        """
        self._inside("link", "set", self.tap(number), *(("master", "bridge") if up else ("nomaster",)))

    def processes(self) -> list[int]:
        """Return the ids of all processes of this lab."""
        done = run(["ip", "netns", "pids", self.namespace], check=False)
        return [int(pid) for pid in done.stdout.split()]

    def remove(self) -> None:
        """Remove all of it, however much of it there is."""
        run(["nft", "delete", "table", "ip", self.table], check=False)
        run(["ip", "link", "delete", self.uplink], check=False)
        run(["ip", "netns", "delete", self.namespace], check=False)
        left = self.leftovers()
        if left:
            raise LabError(f"could not remove: {', '.join(left)}")

    def leftovers(self) -> list[str]:
        """Return what of this network still exists on the host, by name."""
        left = []
        if self.namespace in run(["ip", "netns", "list"]).stdout.split():
            left.append(f"network namespace {self.namespace}")
        if run(["ip", "link", "show", self.uplink], check=False).returncode == 0:
            left.append(f"link {self.uplink}")
        if run(["nft", "list", "table", "ip", self.table], check=False).returncode == 0:
            left.append(f"nftables table {self.table}")
        return left


def _remember_forwarding() -> None:
    saved = state_root() / "ip_forward"
    if not saved.exists():
        saved.write_text(FORWARDING.read_text())


def restore_forwarding() -> None:
    """Put the host's forwarding switch back to what it was before the first lab came up."""
    saved = state_root() / "ip_forward"
    if saved.exists():
        FORWARDING.write_text(saved.read_text())
        saved.unlink()


def name_servers() -> list[str]:
    """Return the host's name servers that a machine behind NAT can reach (a local stub can't be)."""
    for path in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        if not Path(path).exists():
            continue
        found = re.findall(r"^nameserver\s+([\d.]+)", Path(path).read_text(), re.MULTILINE)
        usable = [server for server in found if not server.startswith("127.")]
        if usable:
            return usable
    return []
