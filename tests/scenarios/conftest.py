"""Fixtures of all scenarios: the lab, its machines through testinfra, and the packages that tests publish."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import testinfra

from tests.scenarios import support, tenants
from tests.scenarios.support import Lab, Run
from tests.scenarios.workplace import REPOSITORY


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that `default` created and the scenario prepared."""
    support.person()
    lab = support.current_lab()
    if support.SCENARIO in tenants.SCENARIOS:
        tenants.move_in(lab)
    return lab


@pytest.fixture
def tmp_path() -> Path:
    """A folder in which the person who types the commands can write, in the place of pytest's, which is root's."""
    return support.person().new_folder("test-")


@pytest.fixture(scope="session")
def machine() -> Callable[[str], testinfra.host.Host]:
    """Return a machine of the lab by its name, as testinfra sees it for root."""
    os.environ["RSPM_LAB_LOGIN"] = "root"
    inventory = str(REPOSITORY / "tests" / "lab" / "inventory.sh")
    return lambda name: testinfra.get_host(f"ansible://{support.full(name)}", ansible_inventory=inventory)


@pytest.fixture(scope="session")
def site(lab: Lab) -> Run:
    """The run that made the cluster; all that comes after it fails where it failed."""
    with tenants.unnoticed(lab) if support.SCENARIO in tenants.SCENARIOS else nullcontext():
        run = support.run_playbook("site", timeout=1500)
        assert run.code == 0, run.output[-6000:]
    return run


@pytest.fixture
def web(lab: Lab) -> Iterator[str]:
    """A web server on the controller with the packages; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    def handler(*args: Any) -> Quiet:
        return Quiet(*args, directory=str(support.PACKAGES))

    server = http.server.ThreadingHTTPServer((lab.network.gateway, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{lab.network.gateway}:{server.server_port}"
    server.shutdown()
