"""The client against the site's own code, served by HTTP from this process with the suite's PostgreSQL."""

from collections.abc import Iterator

import pytest

from memory_client import AsyncMemoryClient, MemoryClient
from sessions_app.models import SCOPES, ApiKey, Namespace


@pytest.fixture(autouse=True)
def wait_for_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client looks names up in a thread of its own, which begins late on a busy machine."""
    for each in (MemoryClient, AsyncMemoryClient):
        monkeypatch.setitem(each.__init__.__kwdefaults__, "connect_timeout", 60.0)


@pytest.fixture
def key(live_server, namespace: Namespace) -> str:
    return ApiKey.objects.issue(namespace, scopes=SCOPES)[1]


@pytest.fixture
def client(live_server, key: str) -> Iterator[MemoryClient]:
    with MemoryClient(live_server.url, key) as client:
        yield client


@pytest.fixture
def async_client(live_server, key: str) -> AsyncMemoryClient:
    """For one `asyncio.run`, whose coroutine closes it."""
    return AsyncMemoryClient(live_server.url, key)
