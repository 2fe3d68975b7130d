"""Fixtures of all scenarios: the lab, its machines through testinfra, and the packages that tests publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
def wheel(lab: Lab) -> Iterator[Callable[[str, str], float]]:
    """Return a way to publish a new wheel of a name on a node; the time of publishing comes back."""
    yield lambda name, node: support.publish(lab, name, node)
