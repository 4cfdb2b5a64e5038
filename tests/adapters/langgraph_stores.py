"""LangGraph's own stores beside ours, and a synchronous face for their asynchronous methods."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiosqlite
import psycopg
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore
from psycopg.rows import dict_row

from memory_client import MemoryClient
from memory_client.keyed import KeyedMemories
from memory_client.langgraph import MemorySiteStore
from tests.adapters.conftest import Site
from tests.adapters.sqlite_connections import get_options

ASYNC = "async "
KINDS = ["memory", "sqlite", "postgres", "ours"]
EVERY = [*KINDS, *(ASYNC + kind for kind in KINDS)]
CLASSES: dict[str, Any] = {
    "sqlite": SqliteStore,
    "postgres": PostgresStore,
    "async sqlite": AsyncSqliteStore,
    "async postgres": AsyncPostgresStore,
}
WORDS = ("tea", "coffee", "harbour", "opens", "bread", "nine")
CONNECTION: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}


def embed(texts: list[str]) -> list[list[float]]:
    """Return vectors of words: the more words two texts share, the nearer they are."""
    return [[float(text.lower().count(word)) for word in WORDS] + [0.1] for text in texts]


#: Without an index of vectors, which takes time to create and changes nothing that is found.
INDEX: dict[str, Any] = {"dims": len(WORDS) + 1, "embed": embed, "ann_index_config": {"kind": "flat"}}


class EventLoop:
    """An event loop in a thread of its own, for what may be used from one loop only."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call what needs a running loop, and return what it returns in the end."""

        async def call() -> Any:
            result: Awaitable[Any] | Any = function(*arguments, **options)
            return await result if isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(200)

    def close(self) -> None:
        self.call(cancel_others)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(60)
        self.loop.close()


async def cancel_others() -> None:
    """End what stores do in the background."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Blocking:
    """The asynchronous methods of a store by the names of their synchronous twins."""

    def __init__(self, store: BaseStore, loop: EventLoop) -> None:
        self.store, self.loop = store, loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, f"a{name}", None) or getattr(self.store, name)
        return partial(self.loop.call, method) if callable(method) else method


class Stores:
    """Makes stores of each kind, each of them empty. All of one kind share a file or a database."""

    def __init__(self, site: Site, file: Path, database: str) -> None:
        options = get_options()
        self.loop = EventLoop()
        self.client = MemoryClient(site.url, site.key)
        self.connections: dict[str, Any] = {
            "sqlite": sqlite3.connect(file, **options),
            "postgres": psycopg.connect(database, **CONNECTION),
            "async sqlite": self.loop.call(aiosqlite.connect, file, **options),
            "async postgres": self.loop.call(psycopg.AsyncConnection.connect, database, **CONNECTION),
        }
        for name in ("sqlite", "async sqlite"):  # nothing has to survive a power cut
            self.loop.call(self.connections[name].execute, "PRAGMA synchronous = OFF")
        for kind in ("sqlite", "postgres"):
            CLASSES[kind](self.connections[kind], index=INDEX).setup()
        self.filled: dict[str, MemorySiteStore] = {}

    def make(self, name: str, **options: Any) -> Any:
        """Make a store of a kind; `async` before it: one whose asynchronous methods are used. Ours needs no `index`."""
        kind = name.removeprefix(ASYNC)
        if kind == "memory":
            store: Any = InMemoryStore(**options)
        elif kind == "ours":
            store = MemorySiteStore(self.client, name=uuid4().hex, **{**options, "index": None})
        else:
            self.empty(kind)
            store = self.loop.call(CLASSES[name], self.connections[name], **options)
            store.is_setup = name == "sqlite"
        return store if name == kind else Blocking(store, self.loop)

    def empty(self, kind: str) -> None:
        for table in ("store_vectors", "store"):
            self.connections[kind].execute(f"DELETE FROM {table}")

    def make_filled(self, name: str, content: str, puts: Sequence[PutOp]) -> Any:
        """Make a store with these items. Ours is filled once for each `content`, and may not be changed."""
        if not name.endswith("ours"):
            store = self.make(name)
            store.batch(puts)
            return store
        if content not in self.filled:
            self.filled[content] = self.make("ours")
            self.filled[content].batch(puts)
        return self.filled[content] if name == "ours" else Blocking(self.filled[content], self.loop)

    def read_seconds_left(self, name: str, store: Any) -> dict[str, float | None]:
        """Return how long the items of a store will live, by key; None: for ever."""
        if name.endswith("ours"):
            memories = get_keyed(store)
            rows = [
                (memories.get_mark(each)["key"], each["expires_at"]) for each in memories.iterate(memories.filters())
            ]
        else:
            rows = self.execute(name, "SELECT key, CAST(expires_at AS text) FROM store")
        return {key: moment and (parse_time(moment) - datetime.now(UTC)).total_seconds() for key, moment in rows}

    def set_seconds_left(self, name: str, store: Any, seconds: int) -> None:
        """Let all items live for so long from now; only of a reference store they may be over."""
        if name.endswith("ours"):
            memories = get_keyed(store)
            kept = ("content", "data", "metadata")
            items = list(memories.iterate(memories.filters()))
            memories.put(
                {each["key"]: {name: each[name] for name in kept} | {"ttl_seconds": seconds} for each in items}
            )
        elif name.endswith("sqlite"):
            self.execute(name, f"UPDATE store SET expires_at = datetime('now', '{seconds} seconds')")
        else:
            self.execute(name, f"UPDATE store SET expires_at = now() + interval '{seconds} seconds'")

    def execute(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        cursor = self.connections[name.removeprefix(ASYNC)].execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        return [tuple(row.values()) if isinstance(row, dict) else row for row in rows]

    def close(self) -> None:
        for connection in self.connections.values():
            self.loop.call(connection.close)
        self.loop.close()
        self.client.close()


def get_keyed(store: Any) -> KeyedMemories:
    return store.store.memories if isinstance(store, Blocking) else store.memories


def parse_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def open_stores(site: Site, directory: Path) -> Iterator[Stores]:
    """Open stores in a file of the directory, in a database of their own in the site's PostgreSQL, and in the site."""
    name = f"langgraph_{uuid4().hex}"
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        stores = Stores(site, directory / "store.db", f"{site.database} dbname={name}")
        try:
            yield stores
        finally:
            stores.close()
            connection.execute(f"DROP DATABASE {name}")
