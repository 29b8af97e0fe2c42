"""A service in a process of its own with its limits as they are, so that memory and hangs are its own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fuzz.furnishing import fresh_service
from tests.services.anyseek import Anyseek


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anyseek]:
    with fresh_service(tmp_path_factory.mktemp("victim")) as service:
        yield service


@pytest.fixture
def http(victim: Anyseek) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=victim.url, timeout=120) as client:
        yield client
