"""The memories of an adapter: addressed by its own keys, and apart from all others of the namespace.

Each carries a mark in its metadata, `{"<adapter>": {"collection": …, "user": …, …}}`, by which the server finds them.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from memory_client import MemoryClient
from memory_client.calls import check_unicode

Memory = dict[str, Any]
MAX_KEY_LENGTH = 512
MAX_PAGE = 100
#: Of one search: the API has no second page of hits.
MAX_HITS = 100
MAX_SEARCHED_IDS = 1000
#: Memories that are read to answer one call.
MAX_SCANNED = 10_000
MAX_VALUES = 10_000
#: Objects of `any_metadata` and of `without_metadata`.
MAX_METADATA_OBJECTS = 100
#: Numbers of a vector.
DIMENSIONS = 768
STRONG = {"X-Consistency": "strong"}
#: Of one request. A bulk is stored as a whole, and embedded before it is answered.
MAX_BULK, MAX_BULK_BYTES = 500, 1_000_000
#: Of a filter in a body. A list's filters are part of its address.
MAX_NAMED_KEYS = 1000
MAX_LISTED_KEYS, MAX_LISTED_BYTES = 100, 4_000


def build_key(*parts: str) -> str:
    """Return a key of at most 512 characters, different for any other parts. What is too long is hashed."""
    key = "/".join(map(escape_part, parts))
    if len(key) <= MAX_KEY_LENGTH:
        return key
    # No part that is written out begins with a tilde.
    return f"{escape_part(parts[0])[:255]}/~{sha256(key.encode()).hexdigest()}"


def escape_part(part: str) -> str:
    """Return the part without what separates parts, and without what addresses lose; never empty. Raises InvalidInput
    for a lone surrogate."""
    if not part:
        return "%"  # which is otherwise followed by two digits
    return re.sub(r"[.~]", lambda found: f"%{ord(found[0]):02X}", quote(check_unicode(part, "key"), safe=" "))


def check_json(value: Any, path: str) -> None:
    """Raise ValueError for what would not be read as it was written."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise ValueError(f"{path}: a name must be a string, not {name!r}.")
            check_json(inner, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            check_json(inner, f"{path}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}: a number must be finite.")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"{path}: {type(value).__name__} is not JSON.")


def refuse_mark(fields: Mapping[str, Any], adapter: str, path: str) -> None:
    """Raise ValueError for the name under which the adapter keeps to whom and to which collection a memory belongs."""
    if adapter in fields:
        raise ValueError(f"{path}.{adapter}: is where the store keeps its own.")


def check_metadata(fields: Mapping[str, Any], adapter: str, path: str) -> None:
    """Raise ValueError, which names the field, for what is no JSON and for the adapter's own name."""
    refuse_mark(fields, adapter, path)
    check_json(fields, path)


def split(items: Iterable[Any], most: int, most_bytes: int) -> Iterator[list[Any]]:
    """Yield the items in lists of at most `most`, and of about `most_bytes` as JSON."""
    group: list[Any] = []
    size = 0
    for item in items:
        length = len(json.dumps(item))
        if group and (len(group) == most or size + length > most_bytes):
            yield group
            group, size = [], 0
        group.append(item)
        size += length
    if group:
        yield group


def take_at_most(memories: Iterable[Memory], most: int) -> Iterator[Memory]:
    """Yield the memories. Raises ValueError when there are more than `most`."""
    for number, memory in enumerate(memories):
        if number == most:
            raise ValueError(f"More than {most} items would have to be read: take a narrower filter or prefix.")
        yield memory


class KeyedMemories:
    """The memories of one adapter and collection, of one user or of none.

    `user_id` is stored with them, so that they are erased with the user.
    """

    def __init__(self, client: MemoryClient, adapter: str, collection: str, user_id: str | None = None) -> None:
        self.client, self.adapter, self.collection, self.user_id = client, adapter, collection, user_id
        self.mark = {"collection": collection, "user": user_id}

    def key(self, *parts: str) -> str:
        return build_key(self.adapter, self.collection, *parts)

    def metadata(self, mark: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return metadata to store or to look for: the mark, and others of the adapter's user."""
        return {**(others or {}), self.adapter: {**self.mark, **mark}}

    def filters(self, **others: Any) -> dict[str, Any]:
        """Return filters of the API for all memories of this collection."""
        return {"metadata": self.metadata({}), **others}

    def get_mark(self, memory: Memory) -> dict[str, Any]:
        return memory["metadata"][self.adapter]

    def put(self, memories: Mapping[str, Memory], *, wait: bool = True) -> None:
        """Store memories by key, each in the place of what has its key. With `wait` they can be found by their meaning
        afterwards, unless the embedder is away or slow."""
        owner = {} if self.user_id is None else {"user_id": self.user_id}
        items = [{"source_system": self.adapter, **owner, **fields, "key": key} for key, fields in memories.items()]
        for bulk in split(items, MAX_BULK, MAX_BULK_BYTES):
            self.client.request("POST", "/memories/bulk", params={"wait": wait}, json={"memories": bulk})

    def get(self, keys: Iterable[str]) -> dict[str, Memory]:
        """Return those that are there, by key."""
        return {memory["key"]: memory for memory in self.iterate_named("keys", keys, self.filters())}

    def iterate_named(self, field: str, names: Iterable[str], filters: Mapping[str, Any]) -> Iterator[Memory]:
        """Yield those that match and have one of these `keys` or `ids`: any number of them."""
        for some in split(dict.fromkeys(names), MAX_LISTED_KEYS, MAX_LISTED_BYTES):
            yield from self.iterate({**filters, field: some})

    def iterate(self, filters: Mapping[str, Any]) -> Iterator[Memory]:
        """Yield all that match, newest first, page by page. The filters are those of the API."""
        params = {**filters, "limit": MAX_PAGE}
        while True:
            page = self._read("GET", "/memories", params=params)
            yield from page["results"]
            if not page["next"]:
                return
            params["cursor"] = page["next"]

    def list_values(self, filters: Mapping[str, Any], name: str) -> list[Any]:
        """Return the distinct values of a part of the mark. Raises ValueError if they are too many."""
        params = {**filters, "path": [self.adapter, name], "limit": MAX_VALUES}
        found = self._read("GET", "/memories/values", params=params)
        if not found["complete"]:
            raise ValueError(f"More than {MAX_VALUES} of them, or too many memories: take a longer prefix.")
        return [row["value"] for row in found["results"]]

    def delete(self, filters: Mapping[str, Any]) -> int:
        """Delete all that match. Return how many."""
        return self.client.request("POST", "/memories/delete", json={"filters": filters})["deleted"]

    def delete_keys(self, keys: Iterable[str], filters: Mapping[str, Any] | None = None) -> int:
        """Delete those with these keys, any number of them; with filters those that match as well."""
        matching = self.filters() if filters is None else filters
        return sum(self.delete({**matching, "keys": some}) for some in split(keys, MAX_NAMED_KEYS, MAX_BULK_BYTES))

    def search(self, filters: Mapping[str, Any], **body: Any) -> list[dict[str, Any]]:
        """Return the hits among those that match, best first, at most 100."""
        return self._read("POST", "/memories/search", json={"filters": filters, **body})["results"]

    def find(self, filters: Mapping[str, Any], *, mode: str, limit: int, **body: Any) -> list[tuple[Memory, float]]:
        """Return the `limit` best among those that match, best first: in mode `vector` any number of them, each with
        its cosine, in others at most 100, each with a score from 0 to 1."""
        if mode == "vector":
            hits, measure = self.search_by_meaning(filters, limit=limit, max_scanned=MAX_SCANNED, **body), "similarity"
        else:
            hits, measure = self.search(filters, mode=mode, limit=limit, **body), "score"
        return [(hit["memory"], hit[measure]) for hit in hits]

    def search_by_meaning(
        self, filters: Mapping[str, Any], *, limit: int, max_scanned: int, **body: Any
    ) -> list[dict[str, Any]]:
        """Return the `limit` hits nearest in meaning among those that match, best first. Any number of them: for more
        than 100 all that match are listed and searched. Raises ValueError if these are more than `max_scanned`."""
        hits = self.search(filters, mode="vector", limit=min(limit, MAX_HITS), **body)
        if limit <= MAX_HITS or len(hits) < MAX_HITS:
            return hits
        others = {name: value for name, value in filters.items() if name != "keys"}
        named = self.iterate_named("keys", filters["keys"], others) if "keys" in filters else self.iterate(others)
        ids = [memory["id"] for memory in take_at_most(named, max_scanned)]
        return self.search_among(ids, others, limit=limit, **body)

    def search_among(
        self, ids: Sequence[str], filters: Mapping[str, Any], *, limit: int, **body: Any
    ) -> list[dict[str, Any]]:
        """Return the `limit` hits nearest in meaning among those that match and have one of these ids, best first. Any
        number of both: it takes a search per 1,000 ids, and per 100 for more than 100 hits. (Cosines of several
        searches compare. The scores of other modes do not: they come from ranks within one search.)"""
        size = MAX_SEARCHED_IDS if limit <= MAX_HITS else MAX_HITS
        groups = [ids[start : start + size] for start in range(0, len(ids), size)]
        body |= {"mode": "vector", "limit": MAX_HITS}
        hits = [hit for some in groups for hit in self.search({**filters, "ids": some}, **body)]
        return sorted(hits, key=lambda hit: hit["similarity"], reverse=True)[:limit]

    def extend(self, ids: Sequence[str], ttl_seconds: int) -> None:
        for some in split(ids, MAX_NAMED_KEYS, MAX_BULK_BYTES):
            self.client.request("POST", "/memories/extend", json={"ids": some, "ttl_seconds": ttl_seconds})

    def _read(self, method: str, path: str, **arguments: Any) -> Any:
        """Read from the primary: what was just written is found, also where the site reads replicas by default."""
        return self.client.request(method, path, headers=STRONG, **arguments)
