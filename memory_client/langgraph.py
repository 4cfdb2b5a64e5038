"""LangGraph's long-term store on Memory Site: `MemorySiteStore` is a `langgraph.store.base.BaseStore`.

An item is a memory: its value is `data`, the text of its indexed fields `content`. Where it stands in the store is part
of `metadata`, with the simple fields of the value, so that the server selects by namespace prefix and by these.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from memory_client import MemoryClient
from memory_client.extras import framework
from memory_client.keyed import MAX_SCANNED, KeyedMemories, Memory, check_json, take_at_most
from memory_client.langgraph_filters import check_filter, matches, push_filter, select_repeated
from memory_client.texts import make_query, make_storable

with framework("langgraph"):
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        IndexConfig,
        InvalidNamespaceError,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
        get_text_at_path,
        validate_op_namespace,
    )

Namespace = tuple[str, ...]
WHOLE_VALUE = "$"
INDEX_OPTIONS = frozenset({"fields"})
TTL_OPTIONS = frozenset({"default_ttl", "refresh_on_read", "omit_expired", "sweep_interval_minutes"})


class MemorySiteStore(BaseStore):
    """A store in the namespace of the client's key.

    `name` keeps stores in one namespace apart. The items belong to `user_id`, if given, and are erased with that user.
    `index` takes `fields`; the server embeds, so `embed` and `dims` are refused. `ttl` is LangGraph's TTLConfig, in
    minutes. What cannot be answered after reading `max_scanned` items raises ValueError.
    """

    supports_ttl = True

    def __init__(
        self,
        client: MemoryClient | None = None,
        *,
        name: str = "default",
        user_id: str | None = None,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        max_scanned: int = MAX_SCANNED,
    ) -> None:
        check_options("index", index, INDEX_OPTIONS)
        check_options("ttl", ttl, TTL_OPTIONS)
        if ttl and ttl.get("omit_expired") is False:
            raise ValueError("ttl.omit_expired: cannot be False, since expired items are never returned.")
        self.memories = KeyedMemories(client or MemoryClient(), "langgraph", name, user_id)
        self.fields: Sequence[str] = (index or {}).get("fields") or [WHOLE_VALUE]
        self.ttl_config = ttl
        self.max_scanned = max_scanned

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Read, then write: a read sees nothing of the writes beside it, and the last write of a key counts.

        Raises InvalidNamespaceError, ValueError for what cannot be answered or stored, and MemoryClientError.
        """
        ops = list(ops)
        for op in ops:
            check_op(op)
        writes = {self._key(op): self._build_memory(op) for op in ops if isinstance(op, PutOp)}
        stored = self.memories.get(self._key(op) for op in ops if isinstance(op, GetOp))
        used: list[Memory] = []
        results = [self._answer(op, stored, used) for op in ops]
        self._extend(used)
        self._write(writes)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do what `batch` does, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _key(self, op: GetOp | PutOp) -> str:
        return self.memories.key(*op.namespace, op.key)

    def _answer(self, op: Op, stored: Mapping[str, Memory], used: list[Memory]) -> Result:
        """Return what an operation reads, and add to `used` what lives on because of it."""
        if isinstance(op, GetOp):
            memory = stored.get(self._key(op))
            used += [memory] if memory and op.refresh_ttl else []
            return Item(**describe_item(memory)) if memory else None
        if isinstance(op, SearchOp):
            hits = self._search(op)
            used += [memory for memory, _ in hits] if op.refresh_ttl else []
            return [SearchItem(**describe_item(memory), score=score) for memory, score in hits]
        return self._list_namespaces(op) if isinstance(op, ListNamespacesOp) else None

    # Write

    def _build_memory(self, op: PutOp) -> Memory | None:
        """Return the memory of an item, or None if the item is to be deleted."""
        if op.value is None:
            return None
        value = dict(op.value)
        check_json(value, "value")
        text = make_storable("\n".join(get_texts(value, self.fields if op.index is None else op.index or [])))
        mark = {"namespace": number_labels(op.namespace), "key": op.key, "fields": select_repeated(value)}
        mark["indexed"] = bool(text)
        ttl = {} if op.ttl is None else {"ttl_seconds": to_seconds(op.ttl)}
        content = text or "/".join([*op.namespace, op.key])
        return {"content": content, "data": value, "metadata": self.memories.metadata(mark | ttl), **ttl}

    def _write(self, writes: Mapping[str, Memory | None]) -> None:
        self.memories.delete_keys([key for key, memory in writes.items() if memory is None])
        self.memories.put({key: memory for key, memory in writes.items() if memory is not None})

    def _extend(self, memories: Iterable[Memory]) -> None:
        """Let items with a TTL live on from now."""
        by_ttl: dict[int, set[str]] = defaultdict(set)
        for memory in memories:
            if ttl := self.memories.get_mark(memory).get("ttl_seconds"):
                by_ttl[ttl].add(memory["id"])
        for ttl, ids in by_ttl.items():
            self.memories.extend(sorted(ids), ttl)

    # Search

    def _search(self, op: SearchOp) -> list[tuple[Memory, float | None]]:
        if op.limit == 0:
            return []
        if op.query:
            return self._search_by_meaning(op, op.query)
        found = islice(self._scan(op.namespace_prefix, op.filter or {}), op.offset, op.offset + op.limit)
        return [(memory, None) for memory in found]

    def _search_by_meaning(self, op: SearchOp, query: str) -> list[tuple[Memory, float | None]]:
        condition, wanted = op.filter or {}, op.offset + op.limit
        filters = self._build_filters(op.namespace_prefix, condition, indexed=True)
        plain = make_query(query)
        if push_filter(condition).is_whole:
            hits = self.memories.search_by_meaning(filters, limit=wanted, max_scanned=self.max_scanned, query=plain)
        else:
            ids = [memory["id"] for memory in self._scan(op.namespace_prefix, condition, indexed=True)]
            hits = self.memories.search_among(ids, filters, limit=wanted, query=plain)
        return [(hit["memory"], hit["similarity"]) for hit in hits[op.offset :]]

    def _scan(self, prefix: Namespace, condition: Mapping[str, Any], **mark: Any) -> Iterator[Memory]:
        """Yield the items of a prefix that meet a filter, newest first. Raises ValueError after `max_scanned` items."""
        filters = self._build_filters(prefix, condition, **mark)
        for memory in take_at_most(self.memories.iterate(filters), self.max_scanned):
            if matches(memory["data"] or {}, condition):
                yield memory

    def _build_filters(self, prefix: Namespace, condition: Mapping[str, Any], **mark: Any) -> dict[str, Any]:
        """Return the filters of the API for a prefix, and for the part of a filter that they can answer."""
        pushed = push_filter(condition)
        mark |= {"namespace": number_labels(prefix), "fields": pushed.equal}
        unequal = [{"langgraph": {"fields": each}} for each in pushed.unequal]
        return {"metadata": self.memories.metadata(mark), **({"without_metadata": unequal} if unequal else {})}

    # Namespaces

    def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        conditions = op.match_conditions or ()
        filters = self._build_filters(get_common_prefix(conditions), {})
        found = map(join_labels, self.memories.list_values(filters, "namespace"))
        kept = {ns[: op.max_depth] for ns in found if all(is_matched(each, ns) for each in conditions)}
        return sorted(kept)[op.offset : op.offset + op.limit]


def check_options(name: str, options: Mapping[str, Any] | None, known: frozenset[str]) -> None:
    """Raise ValueError for options that would have no effect."""
    if unknown := sorted((options or {}).keys() - known):
        raise ValueError(f"{name}: takes {', '.join(sorted(known))}, not {', '.join(unknown)}; the server embeds.")


def check_op(op: Op) -> None:
    """Raise ValueError for an operation that is not known or cannot be answered, InvalidNamespaceError for labels."""
    if not isinstance(op, GetOp | PutOp | SearchOp | ListNamespacesOp):
        raise ValueError(f"Unknown operation type: {type(op)}")
    validate_op_namespace(op)
    if isinstance(op, PutOp) and not op.namespace:
        raise InvalidNamespaceError("Namespace cannot be empty.")
    if isinstance(op, SearchOp):
        check_filter(op.filter)
    if isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            if condition.match_type not in ("prefix", "suffix"):
                raise ValueError(f"Unsupported match type: {condition.match_type}")
    if isinstance(op, SearchOp | ListNamespacesOp) and min(op.limit, op.offset) < 0:
        raise ValueError("limit and offset may not be negative.")


def get_texts(value: dict[str, Any], paths: Sequence[str]) -> list[str]:
    return [text for path in paths for text in get_text_at_path(value, path)]


def to_seconds(minutes: float) -> int:
    """Return a TTL in whole seconds, rounded up. Raises ValueError unless it is above 0."""
    if not minutes > 0:
        raise ValueError("ttl: must be above 0.")
    return math.ceil(minutes * 60)


def number_labels(namespace: Namespace) -> dict[str, str]:
    """Return the labels by position: JSON in which the server finds a prefix, whatever characters the labels have."""
    return {str(place): label for place, label in enumerate(namespace)}


def join_labels(labels: Mapping[str, str]) -> Namespace:
    return tuple(labels[str(place)] for place in range(len(labels)))


def describe_item(memory: Memory) -> dict[str, Any]:
    """Return what an Item is made of."""
    times = {name: memory[name] for name in ("created_at", "updated_at")}
    mark = memory["metadata"]["langgraph"]
    return {"namespace": join_labels(mark["namespace"]), "key": mark["key"], "value": memory["data"] or {}, **times}


def get_common_prefix(conditions: Iterable[MatchCondition]) -> Namespace:
    """Return the longest prefix that the conditions ask for, up to a wildcard."""
    paths = [tuple(each.path) for each in conditions if each.match_type == "prefix"]
    prefixes = [path[: path.index("*")] if "*" in path else path for path in paths]
    return max(prefixes, key=len, default=())


def is_matched(condition: MatchCondition, namespace: Namespace) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
