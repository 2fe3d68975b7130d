# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is hidden from a package's scripts, and that scripts that try to get at it fail, in namespaces of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.rspm.ha.plugins.module_utils._core.host_command import (
    CompletedCommand,
    Runner,
    command_runner,
)
from ansible_collections.rspm.ha.plugins.module_utils._core.problem import DomainError
from ansible_collections.rspm.ha.plugins.module_utils._package.apart import Places, choose_places, parse_sockets
from ansible_collections.rspm.ha.plugins.module_utils._package.host_apart import load_places, open_apart
from ansible_collections.rspm.ha.plugins.module_utils._storage.mount import parse_mountinfo

MOUNTS = """\
20 1 8:1 / / rw - ext4 /dev/sda1 rw
30 20 0:40 / /srv/rstudio-pm rw - nfs4 infra:/export rw
31 20 0:41 / /run rw - tmpfs tmpfs rw
32 31 0:42 / /run/shares rw - cifs //other/share rw
33 20 8:2 / /var rw - xfs /dev/sda2 rw
"""
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0: 00000002 00000000 00010000 0001 01 1 /var/run/postgresql/.s.PGSQL.5432
0: 00000002 00000000 00010000 0001 01 2 /tmp/.s.PGSQL.6432
0: 00000002 00000000 00010000 0001 01 3 /var/lib/pgsql/a socket
0: 00000002 00000000 00010000 0001 01 3 /var/lib/pgsql/a socket
0: 00000002 00000000 00010000 0001 01 4 @/abstract
0: 00000003 00000000 00000000 0001 03 5
"""


def test_what_nodes_share_is_read_only_and_what_services_listen_at_is_covered() -> None:
    sockets = parse_sockets(UNIX)
    found = choose_places(parse_mountinfo(MOUNTS), sockets, "/srv/rstudio-pm/data", ["/var/cache/rspm-ha/x.deb"])
    assert found == Places(("/run", "/tmp"), ("/srv/rstudio-pm",), ("/var/lib/pgsql/a socket",))


def test_data_of_the_node_alone_is_read_only_and_the_package_stays_to_be_found() -> None:
    found = choose_places(parse_mountinfo(MOUNTS), parse_sockets(UNIX), "/var/lib/rstudio-pm", ["/tmp/cache/x.deb"])
    assert found.hidden == ("/run",)
    assert found.read_only == ("/srv/rstudio-pm", "/var/lib/rstudio-pm")
    assert found.covered == ("/tmp/.s.PGSQL.6432", "/var/lib/pgsql/a socket")


def test_a_node_without_data_of_its_own_has_none_to_keep(plain: Runner) -> None:
    places = load_places("/nowhere/data", [])
    assert "/nowhere/data" not in places.read_only
    if not os.geteuid():
        assert open_apart(plain, "node1", places)(["true"]).rc == 0


class Outside:
    """What a script must not reach: a TCP port, sockets, data, a file that others would read, a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.sockets = [self._listen(str(folder / "socket")), self._listen(f"/run/rspm-ha-test-{os.getpid()}")]
        self.abstract = self._listen(f"\0rspm-ha-test-{os.getpid()}")

    @staticmethod
    def _listen(address: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
        return listener

    def close(self) -> None:
        os.unlink(self.sockets[1].getsockname())
        for each in (self.tcp, *self.sockets, self.abstract):
            each.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    if os.geteuid():
        pytest.skip("needs root")
    # not below /tmp, which is hidden
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    found = Outside(folder)
    yield found
    found.close()
    shutil.rmtree(folder)


@pytest.fixture
def plain() -> Runner:
    return command_runner(lambda _text: None)


@pytest.fixture
def apart(outside: Outside, plain: Runner) -> Runner:
    return open_apart(plain, "node1", load_places(str(outside.data), [str(outside.folder)]))


def tries(outside: Outside) -> dict[str, list[str]]:
    """Return the scripts that try; each ends well where it gets at what it tries to get at."""
    connect = "import socket, sys; socket.socket(socket.{}).connect({!r})"
    unix = [each.getsockname() for each in (*outside.sockets, outside.abstract)]
    addresses: list[tuple[str, object]] = [("AF_INET", ("127.0.0.1", outside.port))]
    addresses += [("AF_UNIX", address) for address in unix]
    found = {
        f"connect to {address!r}": [sys.executable, "-c", connect.format(family, address)]
        for family, address in addresses
    }
    found["write into the data"] = ["touch", f"{outside.data}/written"]
    return found


NEVER = {
    "make the data writable again": "mount -o remount,bind,rw {data} && touch {data}/written",
    "write past the mount": "umount {data} && touch {data}/written",
    "enter the namespaces of another process": "nsenter --target {pid} --net --mount true",
    "see another process": "kill -0 {pid}",
}


def test_what_scripts_try_works_on_the_host_itself(outside: Outside, plain: Runner) -> None:
    assert {what: plain(argv).rc for what, argv in tries(outside).items()} == dict.fromkeys(tries(outside), 0)


def test_what_scripts_try_fails_apart(outside: Outside, apart: Runner) -> None:
    ended = {what: apart(argv).rc for what, argv in tries(outside).items()}
    assert all(ended.values()) and len(ended) == 5, ended
    assert not (outside.data / "written").exists()


@pytest.mark.parametrize("what", NEVER)
def test_scripts_can_not_undo_it(what: str, outside: Outside, apart: Runner) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            assert apart(["sh", "-c", NEVER[what].format(data=outside.data, pid=other.pid)]).rc
        finally:
            other.kill()
    assert not (outside.data / "written").exists()


def test_scripts_find_a_host_without_systemd_and_the_name_of_its_init(outside: Outside, apart: Runner) -> None:
    # mount(8) keeps a folder of its own there
    found = apart(
        ["sh", "-c", "ls -A /run | grep -v mount; cat /proc/1/comm; echo $SYSTEMD_OFFLINE; cat"], input="given"
    ).stdout
    assert found.split() == ["lock", Path("/proc/1/comm").read_text().strip(), "1", "given"]


def test_what_a_script_writes_elsewhere_stays_and_what_it_starts_ends(outside: Outside, apart: Runner) -> None:
    (outside.folder / "other").mkdir()
    script = f"cd {outside.folder}/other && {{ sleep 300 >/dev/null 2>&1 & }}; echo done > file; exit 7"
    done: CompletedCommand = apart(["sh", "-c", script])
    assert done.rc == 7 and (outside.folder / "other" / "file").read_text() == "done\n"
    left = subprocess.run(["fuser", str(outside.folder / "other")], capture_output=True, check=False, text=True)
    assert not left.stdout.strip()
    assert (
        parse_mountinfo(Path("/proc/self/mountinfo").read_text())
        and str(outside.data) not in Path("/proc/self/mountinfo").read_text()
    ), "the mounts are those of the scripts alone"


def test_a_host_that_refuses_namespaces_is_told_what_to_do_instead(outside: Outside) -> None:
    def refusing(argv: list[str], **_options: object) -> CompletedCommand:
        assert argv[0] == "unshare"
        return CompletedCommand(1, "", "unshare: unshare failed: Operation not permitted\n")

    with pytest.raises(DomainError) as failed:
        open_apart(refusing, "node1", load_places(str(outside.data), []))
    text = str(failed.value.problems[0])
    assert "node1" in text and "Operation not permitted" in text and "first_serves_until_its_turn" in text
