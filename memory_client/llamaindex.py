"""LlamaIndex: a vector store and a memory block. `pip install memory-site-client[llamaindex]`"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from memory_client import MemoryClient
from memory_client.extras import framework
from memory_client.keyed import DIMENSIONS, MAX_HITS, STRONG, KeyedMemories, Memory, check_json
from memory_client.llamaindex_filters import ADAPTER, Condition, join_and, translate
from memory_client.texts import make_query, make_storable

with framework("llamaindex"):
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.memory import BaseMemoryBlock
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

#: How the server searches. `sparse` is LlamaIndex's other name for a search by words.
SEARCH_MODES = {
    VectorStoreQueryMode.DEFAULT: "vector",
    VectorStoreQueryMode.HYBRID: "hybrid",
    VectorStoreQueryMode.TEXT_SEARCH: "text",
    VectorStoreQueryMode.SPARSE: "text",
}


class MemorySiteVectorStore(BasePydanticVectorStore):
    """Nodes as memories, one collection beside others.

    `client`: by default one for MEMORY_URL and MEMORY_KEY. `collection`: the name of the nodes' set. `user_id`: to whom
    they belong, so that they are erased with that user. `wait`: whether adding returns only when the nodes can be found
    by their meaning.

    The server embeds texts and queries: embeddings of nodes and queries are not used, whatever model made them, and
    `VectorStoreIndex` asks for none of a query. With `client_vectors` they are used instead; then each must have 768
    numbers by the model of the server's namespace, for the server cannot tell whose they are.

    Methods raise ValueError for what cannot be answered, naming it, and a memory_client.MemoryClientError.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    collection: str = "default"
    user_id: str | None = None
    client_vectors: bool = False
    wait: bool = True
    _client: MemoryClient = PrivateAttr()

    def __init__(
        self,
        client: MemoryClient | None = None,
        *,
        collection: str = "default",
        user_id: str | None = None,
        client_vectors: bool = False,
        wait: bool = True,
        **others: Any,
    ) -> None:
        fields = {"collection": collection, "user_id": user_id, "client_vectors": client_vectors, "wait": wait}
        super().__init__(**{**others, **fields, "is_embedding_query": client_vectors})
        self._client = client or MemoryClient()

    @classmethod
    def class_name(cls) -> str:
        return "MemorySiteVectorStore"

    @property
    def client(self) -> MemoryClient:
        return self._client

    @property
    def _memories(self) -> KeyedMemories:
        return KeyedMemories(self._client, ADAPTER, self.collection, self.user_id)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes, each in the place of one with its id. Return their ids. Raises ValueError for one without
        text, or with metadata that are no JSON."""
        memories = self._memories
        drafts = {memories.key(node.node_id): self._build_draft(memories, node) for node in nodes}
        memories.put(drafts, wait=self.wait)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        """Delete the nodes of a document."""
        document = [{"ref_doc_id": ref_doc_id}]
        self._memories.delete(self._memories.filters(any_metadata=document))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> None:
        """Delete those of the nodes that match; all that match without ids; nothing without both."""
        condition = translate(filters)
        if condition.is_impossible or (node_ids is None and condition == Condition()):
            return
        memories = self._memories
        matching = memories.filters(**condition.to_filters())
        if node_ids is None:
            memories.delete(matching)
        else:
            memories.delete_keys(map(memories.key, node_ids), matching)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return those of the nodes that match, in the order of the ids, else the oldest first."""
        condition, memories = translate(filters), self._memories
        if condition.is_impossible:
            return []
        matching = memories.filters(**condition.to_filters())
        if node_ids is None:
            listed = memories.iterate(matching)
        else:
            listed = memories.iterate_named("keys", map(memories.key, node_ids), matching)
        found = {node.node_id: node for node in map(to_node, listed)}
        order = reversed(list(found)) if node_ids is None else dict.fromkeys(node_ids)
        return [found[node_id] for node_id in order if node_id in found]

    def clear(self) -> None:
        """Delete all nodes of the collection."""
        self._memories.delete(self._memories.filters())

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find nodes by meaning (mode `default`; similarities are cosines), by words (`text_search`, `sparse`) or by
        both (`hybrid`; similarities from 0 to 1, comparable within the result)."""
        body, condition = self._build_search(query, kwargs), self._build_condition(query)
        if condition.is_impossible or body["limit"] < 1:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        # An index gives the ids of the nodes that it keeps itself: none, if the store has all of them.
        keys = {"keys": [self._memories.key(each) for each in query.node_ids]} if query.node_ids else {}
        found = self._memories.find(self._memories.filters(**keys, **condition.to_filters()), **body)
        nodes = [to_node(memory) for memory, _ in found]
        return VectorStoreQueryResult(nodes, [score for _, score in found], [node.node_id for node in nodes])

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        await asyncio.to_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _build_draft(self, memories: KeyedMemories, node: BaseNode) -> Memory:
        if not (text := node.get_content()).strip():
            raise ValueError(f"The node {node.node_id!r} has no text to store.")
        check_json(node.metadata, f"The node {node.node_id!r}: metadata")
        metadata = memories.metadata({"id": node.node_id}, node_to_metadata_dict(node, remove_text=True))
        draft = {"content": text, "memory_type": "rag", "metadata": metadata}
        return draft | ({"vector": check_vector(node.embedding, "embedding")} if self.client_vectors else {})

    def _build_search(self, query: VectorStoreQuery, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the body of the search. Raises ValueError for what it cannot say."""
        if query.mode not in SEARCH_MODES:
            known = ", ".join(mode.value for mode in SEARCH_MODES)
            raise ValueError(f"mode: {query.mode.value} is not supported; these are: {known}.")
        refuse_others(query, kwargs)
        mode = SEARCH_MODES[query.mode]
        limit = (query.hybrid_top_k if mode == "hybrid" else None) or query.similarity_top_k
        if limit > MAX_HITS and mode != "vector":
            raise ValueError(f"similarity_top_k: at most {MAX_HITS} in mode {query.mode.value}, not {limit}.")
        body: dict[str, Any] = {"mode": mode, "limit": limit}
        if self.client_vectors and mode != "text":
            body["vector"] = check_vector(query.query_embedding, "query_embedding")
        if text := make_query(query.query_str or ""):
            body["query"] = text
        elif mode != "vector" or not self.client_vectors:
            raise ValueError("query_str: required, because the server embeds the query.")
        return body

    def _build_condition(self, query: VectorStoreQuery) -> Condition:
        condition = translate(query.filters)
        if query.doc_ids is None:
            return condition
        return join_and([condition, Condition(tuple({"ref_doc_id": each} for each in query.doc_ids))])


def to_node(memory: Memory) -> BaseNode:
    return metadata_dict_to_node(memory["metadata"], text=memory["content"])


def check_vector(vector: list[float] | None, name: str) -> list[float]:
    """Return the vector. Raises ValueError if it cannot be one of the server's."""
    if vector is None or len(vector) != DIMENSIONS:
        length = "none" if vector is None else f"one of {len(vector)} numbers"
        raise ValueError(f"{name}: client_vectors needs one of {DIMENSIONS} numbers, and there is {length}.")
    return vector


def refuse_others(query: VectorStoreQuery, kwargs: dict[str, Any]) -> None:
    """Raise ValueError for arguments that would change what is found."""
    others = {"alpha": query.alpha, "embedding_field": query.embedding_field, **kwargs}
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"{name}: not supported; the server weighs words and meaning itself.")


class MemorySiteMemoryBlock(BaseMemoryBlock[str]):
    """Remembers what leaves the short-term memory, and recalls what relates to the newest message of the user.

    `client`: by default one for MEMORY_URL and MEMORY_KEY. `user_id`: whose messages; recalled are those of all his
    sessions, or with `this_session_only` of the memory's session. `limit` and `max_characters` bound what is recalled.
    `roles`: whose messages are stored; a message is stored once in a session.
    """

    name: str = "RecalledMessages"
    description: str | None = "Messages of earlier conversations that relate to the present one."
    collection: str = "default"
    user_id: str | None = None
    this_session_only: bool = False
    limit: int = Field(default=5, ge=1, le=MAX_HITS)
    max_characters: int = Field(default=4_000, ge=1)
    roles: tuple[str, ...] = ("user", "assistant")
    _client: MemoryClient = PrivateAttr()

    def __init__(self, client: MemoryClient | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self._client = client or MemoryClient()

    @property
    def _memories(self) -> KeyedMemories:
        return KeyedMemories(self._client, "llamaindex-memory", self.collection, self.user_id)

    async def _aget(
        self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **block_kwargs: Any
    ) -> str:
        """Return lines `role: text`, best first, or "" if nothing is asked or found."""
        asked = next((each for each in reversed(messages or []) if each.role.value == "user"), None)
        if asked is None or not (query := make_query(asked.content or "")):
            return ""
        session = {"session": session_id} if self.this_session_only else {}
        # This search leaves out what has nothing to do with the query.
        body = {"query": query, "limit": self.limit, "filters": {"metadata": self._memories.metadata(session)}}
        found = await asyncio.to_thread(self._client.request, "POST", "/search", json=body, headers=STRONG)
        lines = [show_message(self._memories, hit["memory"]) for hit in found["results"]]
        return join_within(lines, self.max_characters)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        memories = self._memories
        drafts = [build_message(memories, each) for each in messages if each.role.value in self.roles]
        found = {key: draft for key, draft in drafts if draft["content"]}
        await asyncio.to_thread(memories.put, found)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Leave out the messages that relate least."""
        return join_within(content.split("\n"), len(content) - 4 * tokens_to_truncate) or None


def build_message(memories: KeyedMemories, message: ChatMessage) -> tuple[str, Memory]:
    """Return the message's key and memory. The same words of the same role in the same session are one."""
    text, session = make_storable(message.content or ""), message.additional_kwargs.get("session_id")
    role = message.role.value
    key = memories.key(session or "", role, sha256(text.encode()).hexdigest())
    mark = {"session": session, "role": role}
    draft = {"content": text, "memory_type": "conversation", "metadata": memories.metadata(mark)}
    return key, draft | ({"session_id": session} if session else {})


def show_message(memories: KeyedMemories, memory: Memory) -> str:
    return f"{memories.get_mark(memory)['role']}: {' '.join(memory['content'].split())}"


def join_within(lines: list[str], most: int) -> str:
    """Return the first lines that fit into so many characters; of the first one, if it does not, its beginning."""
    text = ""
    for line in lines:
        if len(text) + len(line) + 1 > most:
            return text or line[: max(most, 0)]
        text += f"\n{line}" if text else line
    return text
