"""Lists are read page by page, while they are iterated."""

import asyncio
from itertools import islice

import pytest

from memory_client import InvalidInput, MemoryClient
from tests.memory_client.servers import losing, running


@pytest.fixture
def facts(client) -> list[str]:
    """Newest first."""
    contents = [f"Fact {number}." for number in range(7)]
    client.memories.add_many([{"content": each} for each in contents])
    return [each.content for each in client.memories.list()]


def test_pages_follow_each_other(client, facts):
    assert sorted(facts) == [f"Fact {number}." for number in range(7)]
    listing = client.memories.list(page_size=2)
    for _ in range(2):  # each iteration begins at the start
        assert [each.content for each in listing] == facts
    assert [len(page.results) for page in listing.pages()] == [2, 2, 2, 1]


def test_no_page_is_read_before_it_is_needed(live_server, key, client, facts):
    with running(losing(live_server.url, 0)) as proxy, MemoryClient(proxy.url, key) as lazy:
        listing = lazy.memories.list(page_size=2)
        assert proxy.requests == []
        assert [each.content for each in islice(listing, 3)] == facts[:3]
        assert len(proxy.requests) == 2


def test_limit_is_the_most_in_all(client, facts):
    for limit, sizes in ((0, []), (1, [1]), (4, [3, 1]), (6, [3, 3]), (100, [3, 3, 1])):
        listing = client.memories.list(page_size=3, limit=limit)
        assert [each.content for each in listing] == facts[:limit]
        assert [len(page.results) for page in listing.pages()] == sizes


def test_list_goes_on_where_a_page_ended(client, facts):
    first = next(client.memories.list(page_size=3).pages())
    rest = client.memories.list(cursor=first.next)
    assert [each.content for each in [*first.results, *rest]] == facts


def test_deleted_item_between_pages_does_no_harm(client, facts):
    seen = []
    for memory in client.memories.list(page_size=2):
        seen.append(memory.content)
        client.memories.delete(memory.id)  # the one that the cursor stands at, too
    assert seen == facts


def test_wrong_cursor_and_size_are_named(client):
    with pytest.raises(InvalidInput) as error:
        list(client.memories.list(cursor="nonsense"))
    assert error.value.field == "cursor"
    with pytest.raises(InvalidInput) as error:
        list(client.memories.list(page_size=0))
    assert error.value.field == "limit"


def test_asynchronous_list(client, facts, async_client):
    async def read() -> tuple[list[str], list[int]]:
        async with async_client:
            listing = async_client.memories.list(page_size=3)
            items = [each.content async for each in listing]
            return items, [len(page.results) async for page in listing.pages()]

    assert asyncio.run(read()) == (facts, [3, 3, 1])
