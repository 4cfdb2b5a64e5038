"""LangChain's retriever over all memories: the framework's own suite, then filters and what a document tells."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from memory_client import InvalidInput, MemoryClient
from memory_client.langchain import MemorySiteRetriever

MEMORIES: list[dict[str, Any]] = [
    {"content": "Ada drinks green tea.", "user_id": "ada", "tags": ["drinks"], "metadata": {"source": "chat"}},
    {"content": "The harbour opens at nine.", "memory_type": "user_preference"},
    {"content": "Ben bakes bread on Sundays.", "user_id": "ben"},
    {"content": "Deploys run every Tuesday.", "importance": 5},
]


@pytest.fixture(scope="module")
def client(site) -> Iterator[MemoryClient]:
    with MemoryClient(site.url, site.create_key("langchain-retriever")) as client:
        client.request("POST", "/memories/bulk", params={"wait": True}, json={"memories": MEMORIES})
        yield client


@pytest.fixture(autouse=True)
def known(request, client: MemoryClient) -> None:
    """The suite makes its retrievers outside of fixtures."""
    if request.cls is not None:
        request.cls.client = client


class TestOfficialSuite(RetrieversIntegrationTests):
    client: MemoryClient

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemorySiteRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"client": self.client}

    @property
    def retriever_query_example(self) -> str:
        return "Who drinks tea?"


def test_document_tells_what_the_memory_is(client):
    [document] = MemorySiteRetriever(client=client, k=1).invoke("Who drinks tea?")
    about = document.metadata.pop("memory")
    assert (document.page_content, document.metadata) == ("Ada drinks green tea.", {"source": "chat"})
    assert client.request("GET", f"/memories/{document.id}")["content"] == document.page_content
    assert (about["user_id"], about["tags"], about["memory_type"]) == ("ada", ["drinks"], "agent")
    assert 0 < about["score"] <= 1 and 0 < about["similarity"] <= 1


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_modes(client, mode):
    assert MemorySiteRetriever(client=client, mode=mode).invoke("tea")[0].page_content == "Ada drinks green tea."


async def test_filters_are_those_of_the_api(client):
    retriever = MemorySiteRetriever(client=client, filters={"user_id": "ben"})
    assert [each.page_content for each in retriever.invoke("tea")] == ["Ben bakes bread on Sundays."]
    [found] = await retriever.ainvoke("tea", filters={"memory_types": ["user_preference"]})
    assert found.page_content == "The harbour opens at nine."


def test_threshold_leaves_out_what_is_unlike(client):
    assert MemorySiteRetriever(client=client, mode="vector", threshold=0.99).invoke("tea") == []


def test_bad_input_is_named(client):
    retriever = MemorySiteRetriever(client=client)
    with pytest.raises(InvalidInput, match=r"filters\.usr"):
        retriever.invoke("tea", filters={"usr": "ada"})
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke("tea", top_k=3)
    with pytest.raises(ValidationError, match="mode"):
        MemorySiteRetriever(client=client, mode="words")
