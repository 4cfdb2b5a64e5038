"""LangChain on Memory Site: `MemorySiteVectorStore` keeps documents, `MemorySiteRetriever` finds any memories.

A document is a memory: `page_content` is its content, and its metadata are the memory's metadata, with a mark of the
collection beside them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Literal, Self
from uuid import uuid4

from memory_client import MemoryClient
from memory_client.extras import framework
from memory_client.keyed import (
    DIMENSIONS,
    MAX_METADATA_OBJECTS,
    KeyedMemories,
    Memory,
    check_metadata,
    refuse_mark,
)
from memory_client.texts import make_query

with framework("langchain"):
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore
    from pydantic import Field

ADAPTER = "langchain"
OPERATORS = ("$eq", "$in", "$ne", "$nin")
SearchMode = Literal["vector", "hybrid"]


class MemorySiteVectorStore(VectorStore):
    """Documents in the namespace of the client's key.

    `collection` keeps them apart from others. They belong to `user_id`, if given, and are erased with that user.
    `mode`: `vector` finds by meaning, and scores are cosines; `hybrid` finds by words too, and scores are from 0 to 1.
    The server embeds: `embedding` must be None.
    """

    def __init__(
        self,
        client: MemoryClient | None = None,
        *,
        collection: str = "default",
        user_id: str | None = None,
        mode: SearchMode = "vector",
        embedding: Embeddings | None = None,
    ) -> None:
        refuse_embedding(embedding)
        if mode not in ("vector", "hybrid"):
            raise ValueError(f"mode: must be vector or hybrid, not {mode!r}.")
        self.memories = KeyedMemories(client or MemoryClient(), ADAPTER, collection, user_id)
        self.mode = mode

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a store and add texts. The other arguments are those of the class."""
        store = cls(embedding=embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # Write

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts, each in the place of what has its id, and return their ids. Afterwards they can be found.

        What is given without an id gets a new one. Of texts with one id the last counts. Raises ValueError for lists
        of different lengths, InvalidInput for what the server does not store.
        """
        refuse_arguments(kwargs)
        contents = list(texts)
        metadatas = [{} for _ in contents] if metadatas is None else metadatas
        check_length("metadatas", metadatas, contents)
        check_length("ids", contents if ids is None else ids, contents)
        names = [name or str(uuid4()) for name in ids or [None] * len(contents)]
        documents = zip(names, contents, metadatas, strict=True)
        self.memories.put({self.memories.key(each[0]): self._build_memory(*each) for each in documents})
        return names

    def _build_memory(self, name: str, content: str, metadata: dict[str, Any]) -> Memory:
        check_metadata(metadata, ADAPTER, "metadata")
        return {"content": content, "metadata": self.memories.metadata({"id": name}, metadata)}

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, or all of the collection. Ids that are not there are no error."""
        refuse_arguments(kwargs)
        if ids is None:
            self.memories.delete(self.memories.filters())
        else:
            self.memories.delete_keys(map(self.memories.key, ids))
        return True

    # Read

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in this order, each once; those that are not there are left out."""
        found = self.memories.get(map(self.memories.key, ids))
        keys = dict.fromkeys(map(self.memories.key, ids))
        return [self._to_document(found[key]) for key in keys if key in found]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents that are most similar. `filter`: see `build_filters`."""
        found = self.similarity_search_with_score(query, k, filter=filter, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents that are most similar, each with its score; higher is better."""
        refuse_arguments(kwargs)
        return self._search(k, filter, query=make_query(query), mode=self.mode)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents nearest to a vector of the server's own model; those of others mean nothing to it."""
        refuse_arguments(kwargs)
        if len(embedding) > DIMENSIONS:
            raise ValueError(f"embedding: may have {DIMENSIONS} numbers at most.")
        # Zeros change no cosine.
        vector = [*map(float, embedding), *[0.0] * (DIMENSIONS - len(embedding))]
        return [document for document, _ in self._search(k, filter, vector=vector, mode="vector")]

    def _search(self, k: int, condition: Mapping[str, Any] | None, **body: Any) -> list[tuple[Document, float]]:
        filters = self.memories.filters()
        refuse_mark(condition or {}, ADAPTER, "filter")  # it would lead to other collections and users
        own = build_filters(condition or {})
        filters["metadata"] |= own.pop("metadata")
        found = self.memories.find({**filters, **own}, limit=k, **body)
        return [(self._to_document(memory), score) for memory, score in found]

    def _to_document(self, memory: Memory) -> Document:
        metadata = dict(memory["metadata"])
        return Document(id=metadata.pop(ADAPTER)["id"], page_content=memory["content"], metadata=metadata)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Return how a score becomes a relevance: a cosine below 0 is as irrelevant as can be."""
        return lambda score: min(max(score, 0.0), 1.0)

    def max_marginal_relevance_search(self, *args: Any, **kwargs: Any) -> list[Document]:
        """Raise NotImplementedError: it compares the vectors of what is found, which the server does not give away."""
        raise NotImplementedError("mmr needs the documents' vectors, which Memory Site does not return.")


class MemorySiteRetriever(BaseRetriever):
    """Finds any memories of the namespace by words and by meaning.

    `filters` are those of the API (`user_id`, `tags`, `memory_types`, `metadata`, …). A document's id is the memory's;
    its metadata are the memory's with `memory` beside them: type, user, tags, times, key and scores.
    """

    client: Any = Field(default_factory=MemoryClient)
    k: int = 4
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    filters: dict[str, Any] | None = None
    threshold: float | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **own: Any
    ) -> list[Document]:
        """`k` and `filters` of a call stand in for the retriever's own."""
        return self._find(query, **own)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **own: Any
    ) -> list[Document]:
        return await asyncio.to_thread(self._find, query, **own)

    def _find(self, query: str, *, k: int | None = None, filters: dict[str, Any] | None = None) -> list[Document]:
        body = {
            "query": make_query(query),
            "limit": self.k if k is None else k,
            "mode": self.mode,
            "threshold": self.threshold,
        }
        body["filters"] = self.filters if filters is None else filters
        return list(map(describe_hit, self.client.request("POST", "/memories/search", json=body)["results"]))


def describe_hit(hit: dict[str, Any]) -> Document:
    memory = hit["memory"]
    shown = ("memory_type", "user_id", "tags", "importance", "source_system", "key", "created_at", "updated_at")
    about = {name: memory.get(name) for name in shown} | {name: hit[name] for name in ("score", "similarity")}
    return Document(id=memory["id"], page_content=memory["content"], metadata={**memory["metadata"], "memory": about})


def refuse_embedding(embedding: Embeddings | None) -> None:
    if embedding is not None:
        raise ValueError("embedding: must be None, since the server embeds with the model of its namespace.")


def refuse_arguments(unknown: Mapping[str, Any]) -> None:
    """Raise TypeError for arguments that would have no effect."""
    if unknown:
        raise TypeError(f"Unknown arguments: {', '.join(sorted(unknown))}.")


def check_length(name: str, values: Sequence[Any], texts: Sequence[str]) -> None:
    if len(values) != len(texts):
        raise ValueError(f"{name}: there are {len(values)} for {len(texts)} texts.")


def build_filters(condition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API's filters for conditions on a document's metadata, which must all hold.

    A value, or `$eq`: the field contains it (an object may have more fields, a list more elements). `$in`, `$ne`,
    `$nin`: one of these, not this, none of these. Raises ValueError, which names the field, for other operators.
    """
    equal: dict[str, Any] = {}
    choices: list[list[dict[str, Any]]] = []
    unequal: list[dict[str, Any]] = []
    for name, expected in condition.items():
        for operator, operand in read_operators(name, expected).items():
            if operator == "$eq":
                equal[name] = operand
            elif operator == "$in":
                choices.append([{name: each} for each in operand])
            else:
                unequal += [{name: each} for each in (operand if operator == "$nin" else [operand])]
    return {"metadata": equal, **build_choices(choices), **({"without_metadata": unequal} if unequal else {})}


def read_operators(name: str, expected: Any) -> dict[str, Any]:
    """Return the operators of a condition on one field with what they compare."""
    has_operators = isinstance(expected, Mapping) and any(key.startswith("$") for key in expected)
    operators = dict(expected) if has_operators else {"$eq": expected}
    for key, operand in operators.items():
        if key not in OPERATORS:
            raise ValueError(f"filter.{name}: unsupported operator {key}; there are {', '.join(OPERATORS)}.")
        if key in ("$in", "$nin") and not (isinstance(operand, list | tuple) and operand):
            raise ValueError(f"filter.{name}: {key} takes a list with at least one value.")
    refuse_operators({name: list(operators.values())}, "filter")
    return operators


def refuse_operators(value: Any, path: str) -> None:
    """Raise ValueError for an operator inside of what is compared."""
    if isinstance(value, list | tuple):
        for each in value:
            refuse_operators(each, path)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name.startswith("$"):
                raise ValueError(f"{path}: unsupported operator {name} here; operators stand below a field's name.")
            refuse_operators(inner, f"{path}.{name}")


def build_choices(choices: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the filter for one of each choice: their combinations."""
    combinations = [{key: value for part in parts for key, value in part.items()} for parts in product(*choices)]
    if len(combinations) > MAX_METADATA_OBJECTS:
        raise ValueError(f"filter: $in may come to {MAX_METADATA_OBJECTS} combinations at most.")
    return {"any_metadata": combinations} if choices else {}
