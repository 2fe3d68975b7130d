"""One network namespace a lab: two networks in it, NAT for the mirror.

Each network is a bridge, a tap a machine and a veth pair to reach it. By the management network Ansible and the tests
log in, and machines reach the mirror; by the service network machines talk to each other, and clients to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .paths import state_root
from .shell import LabError, run

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class Wire:
    """One of a lab's networks. number: the third byte of its machines' link addresses, apart from the other's."""

    name: str
    subnet: str
    uplink: str
    number: int

    @property
    def host(self) -> str:
        """The host's address in it."""
        return f"{self.subnet}.1"

    def address(self, number: int) -> str:
        """Return the address of the machine with this number (1 to 200)."""
        return f"{self.subnet}.{10 + number}"

    def tap(self, number: int) -> str:
        """Return the tap of the machine with this number."""
        return f"{self.name[:3]}{number}"


@dataclass(frozen=True)
class Network:
    """Names and addresses of one lab's networks, all from the lab's name and its number (0 to 99)."""

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
    def management(self) -> Wire:
        """The network that Ansible comes by."""
        return Wire("management", f"10.173.{self.index}", f"rspmlab{self.index}", 0x50)

    @property
    def service(self) -> Wire:
        """The network that the service uses."""
        return Wire("service", f"10.174.{self.index}", f"rspmsvc{self.index}", 0x51)

    @property
    def wires(self) -> tuple[Wire, Wire]:
        """Both networks, in the order of a machine's network cards."""
        return self.management, self.service

    @property
    def gateway(self) -> str:
        """The host's address in the management network."""
        return self.management.host

    def mac(self, wire: Wire, number: int) -> str:
        """Return the link address of the machine with this number."""
        return f"02:52:53:{wire.number:02x}:{self.index:02x}:{number:02x}"

    def _inside(self, *argv: str) -> None:
        run(["ip", "-n", self.namespace, *argv])

    def _offloads_off(self, device: str, inside: bool) -> None:
        prefix = ["ip", "netns", "exec", self.namespace] if inside else []
        run([*prefix, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], check=False)

    def create(self, machines: int) -> None:
        """Make the networks for so many machines."""
        run(["ip", "netns", "add", self.namespace])
        self._inside("link", "set", "lo", "up")
        for wire in self.wires:
            self._lay(wire, machines)
        _remember_forwarding()
        FORWARDING.write_text("1\n")
        subnet = f"{self.management.subnet}.0/24"
        rule = f"ip saddr {subnet} ip daddr != {subnet} masquerade"
        run(
            ["nft", "-f", "-"],
            text_in=f"table ip {self.table} {{ chain nat {{ type nat hook postrouting priority 100; {rule}; }}; }}",
        )

    def _lay(self, wire: Wire, machines: int) -> None:
        inner_end = f"up-{wire.name}"
        self._inside("link", "add", wire.name, "type", "bridge", "forward_delay", "0")
        self._inside("link", "set", wire.name, "up")
        run(["ip", "link", "add", wire.uplink, "type", "veth", "peer", "name", inner_end, "netns", self.namespace])
        self._inside("link", "set", inner_end, "master", wire.name, "up")
        run(["ip", "address", "add", f"{wire.host}/24", "dev", wire.uplink])
        run(["ip", "link", "set", wire.uplink, "up"])
        self._offloads_off(wire.uplink, inside=False)
        self._offloads_off(inner_end, inside=True)
        for number in range(1, machines + 1):
            tap = wire.tap(number)
            self._inside("tuntap", "add", tap, "mode", "tap")
            self._inside("link", "set", tap, "master", wire.name, "up")
            self._offloads_off(tap, inside=True)

    def set_link(self, number: int, up: bool, wires: tuple[Wire, ...] = ()) -> None:
        """Take a machine's cables out, or put them back: of both networks, or of those that are given.

        The tap itself stays up: a guest that writes to one that is down gives its network card up for good.
        """
        for wire in wires or self.wires:
            self._inside("link", "set", wire.tap(number), *(("master", wire.name) if up else ("nomaster",)))

    def processes(self) -> list[int]:
        """Return the ids of all processes of this lab."""
        done = run(["ip", "netns", "pids", self.namespace], check=False)
        return [int(pid) for pid in done.stdout.split()]

    def remove(self) -> None:
        """Remove all of it, however much of it there is."""
        run(["nft", "delete", "table", "ip", self.table], check=False)
        for wire in self.wires:
            run(["ip", "link", "delete", wire.uplink], check=False)
        run(["ip", "netns", "delete", self.namespace], check=False)
        left = self.leftovers()
        if left:
            raise LabError(f"could not remove: {', '.join(left)}")

    def leftovers(self) -> list[str]:
        """Return what of these networks still exists on the host, by name."""
        left = []
        if self.namespace in run(["ip", "netns", "list"]).stdout.split():
            left.append(f"network namespace {self.namespace}")
        for wire in self.wires:
            if run(["ip", "link", "show", wire.uplink], check=False).returncode == 0:
                left.append(f"link {wire.uplink}")
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
