"""Fixtures of all scenarios: the lab, its machines through testinfra, and the packages that tests publish."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import testinfra

from tests.scenarios import support
from tests.scenarios.support import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that `default` created and the scenario prepared."""
    return support.current_lab()


@pytest.fixture(scope="session")
def machine() -> Callable[[str], testinfra.host.Host]:
    """Return a machine of the lab by its name, as testinfra sees it."""
    inventory = str(support.REPOSITORY / "tests" / "lab" / "inventory.sh")
    return lambda name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory)


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
