"""Calls every operation with other keys: none, one that may only read, and another namespace's."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3
from pydantic_core import from_json, to_json

from memory_site.operations.selftest.operations import ApiDocument, Operation
from memory_site.operations.selftest.owner_rows import KNOWN_WORDS, Owner
from memory_site.operations.selftest.report import Finding
from memory_site.operations.selftest.scratch_site import (
    ScratchSite,
    SiteFailed,
    create_short_directory,
    run_manage,
    run_scratch_site,
)

OnStep = Callable[[str], None]
ROUNDS_AT_ONCE, THREADS = 20, 8
QUIET_SECONDS, QUIET_TIMEOUT_SECONDS = 2.0, 60.0
MAX_NAMED = 5
#: Answers that must show the owner his rows.
MIN_SEEN = 30
#: Fields of bodies that name what exists, and the path parameter whose id an intruder puts there.
NAMED_FIELDS = {"to_id": "memory_id"}
#: Fields that are called like a path parameter and mean something else.
OTHER_FIELDS = {"key", "name"}
#: Rewritten by background tasks.
DERIVED_TABLES = {"graph_usertotal", "memories_namespacesize", "sessions_app_apikey"}
SELECT_TABLES_SQL = """
SELECT table_name FROM information_schema.columns
WHERE column_name = 'namespace_id' AND table_schema = current_schema() ORDER BY 1
"""


@dataclass(frozen=True)
class Request:
    """A request that an intruder makes."""

    operation: Operation
    path: str
    body: Any = None

    @property
    def text(self) -> str:
        return self.path + to_json(self.body).decode()


class Intruder:
    """A client that knows all ids and labels of the owner, and has another key, or none."""

    def __init__(self, site: ScratchSite, key: str, ids: Mapping[str, str], secret: str) -> None:
        self.site, self.key, self.ids, self.secret = site, key, ids, secret

    def try_all(self, trial: str, requests: Iterable[Request], is_leak: Callable[[Request, Any], str]) -> Finding:
        """Make the requests, and count the answers that are leaks."""
        started, done, leaks = time.monotonic(), 0, []
        for request in requests:
            done += 1
            if what := is_leak(request, self.send(request)):
                leaks.append(f"{request.operation}: {what}")
        note = "; ".join(leaks[:MAX_NAMED])
        return Finding(trial, done, leak=len(leaks), seconds=time.monotonic() - started, note=note)

    def send(self, request: Request) -> urllib3.BaseHTTPResponse:
        """Send a request with the intruder's key; an empty key is no key.

        On a connection of its own: the server ends one whose request it refused without reading the body.
        """
        key = f"Bearer {self.key}" if self.key else ""
        method = request.operation.method
        return self.site.call(method, request.path, request.body, Authorization=key, Connection="close")

    def build_requests(self, operations: Iterable[Operation]) -> Iterator[Request]:
        """Yield each operation with the owner's ids, and each filter that takes one of his labels."""
        for operation in operations:
            url, body = operation.url(self.ids), self.fill(operation.example())
            yield Request(operation, url, body)
            for name in operation.query:
                if name in self.ids and name not in operation.required_query:
                    query = f"{'&' if '?' in url else '?'}{urlencode({name: self.ids[name]})}"
                    yield Request(operation, url + query, body)

    def fill(self, body: Any) -> Any:
        """Put the owner's ids and labels, and words that stand beside his secret, in the place of the example's."""
        if not isinstance(body, dict):
            return body
        names = {name: str(NAMED_FIELDS.get(name, name)) for name in body if name not in OTHER_FIELDS}
        known = {name: self.ids[ours] for name, ours in names.items() if ours in self.ids}
        filled = {name: self.fill(value) for name, value in body.items()} | known
        return filled | ({"query": KNOWN_WORDS} if "query" in body else {})

    def see(self, request: Request, response: urllib3.BaseHTTPResponse) -> str:
        """Return what of the owner the answer shows, or that it found what only he has."""
        text = response.data.decode()
        if self.secret in text:
            return "shows the secret"
        if any(value in text for value in self.ids.values() if is_random(value) and value not in request.text):
            return "shows an id"
        return "found it" if response.status < 300 and request.operation.names_what_must_exist else ""


def is_random(value: str) -> bool:
    return not value.startswith("owner-")


def refuse(*statuses: int) -> Callable[[Request, Any], str]:
    """Return a check that the status is one of these."""
    return lambda request, response: "" if response.status in statuses else f"answers {response.status}"


def run_isolation(short: bool, on_step: OnStep) -> Iterator[Finding]:
    """Yield what others saw and changed of one namespace's rows."""
    on_step("Starting a scratch site")
    with run_owned_site() as (site, owner, ids):
        on_step("Calling every operation with other keys")
        other, reader = create_key(site, "other"), create_key(site, "owned", "read")
        yield from find_leaks(site, owner, ids, other, reader)
        if not short:
            on_step("Calling with both keys at once")
            yield run_at_once(Intruder(site, other, ids, owner.secret), Intruder(site, owner.key, ids, owner.secret))


@contextmanager
def run_owned_site() -> Iterator[tuple[ScratchSite, Owner, dict[str, str]]]:
    """Run a site with one namespace's rows of each kind; provide it, their owner and the ids."""
    with create_short_directory() as folder, run_scratch_site(INGESTION_ROOTS=str(folder)) as site:
        folder.chmod(0o755)
        owner = Owner(site, create_key(site, "owned"), f"s{secrets.token_hex(8)}")
        yield site, owner, owner.create_rows(folder)


def create_key(site: ScratchSite, namespace: str, *scopes: str) -> str:
    """Create a key with the command. Raises SiteFailed."""
    arguments = ("--scopes", *scopes) if scopes else ()
    result = run_manage("create_api_key", "--namespace", namespace, *arguments, **site.environment)
    if result.returncode:
        raise SiteFailed(result.stderr)
    return result.stdout.strip()


def find_leaks(site: ScratchSite, owner: Owner, ids: Mapping[str, str], other: str, reader: str) -> Iterator[Finding]:
    """Yield the findings of all operations with the key `other`, without a key, and with one that may only read."""
    operations = ApiDocument(from_json(site.page("/api/v1/openapi.json").data)).operations
    reads = [operation for operation in operations if operation.reads]
    # What an intruder has stored himself under the same names he may change and delete: that comes last.
    writes = sorted((each for each in operations if not each.reads), key=lambda each: each.method in ("POST", "PUT"))
    intruder, stranger, peeper = (Intruder(site, key, ids, owner.secret) for key in (other, "", reader))
    before = wait_until_quiet(site)
    yield check_owner(Intruder(site, owner.key, ids, owner.secret), reads)
    yield stranger.try_all("no key", stranger.build_requests(operations), refuse(401))
    yield peeper.try_all("a key that may only read", peeper.build_requests(writes), refuse(403))
    yield intruder.try_all("another namespace reads", intruder.build_requests(reads), intruder.see)
    yield intruder.try_all("another namespace writes", intruder.build_requests(writes), intruder.see)
    yield compare_rows(before, fingerprint(site))


def check_owner(owner: Intruder, reads: Iterable[Operation]) -> Finding:
    """Return whether the same requests show the owner his rows: else nothing could leak, and nothing is proven."""
    finding = owner.try_all("the owner reads", owner.build_requests(reads), owner.see)
    seen, finding.leak = finding.leak, 0
    finding.wrong, finding.note = max(0, MIN_SEEN - seen), f"sees the rows in {seen} answers"
    return finding


def compare_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Finding:
    """Return how many tables have other rows of the owner than before."""
    changed = [table for table, rows in before.items() if after[table] != rows]
    return Finding("the owner's rows are unchanged", len(before), leak=len(changed), note=", ".join(changed))


def fingerprint(site: ScratchSite) -> dict[str, tuple]:
    """Return count and hash of the owner's rows in each table."""
    tables = [table for [table] in site.rows(SELECT_TABLES_SQL) if table not in DERIVED_TABLES]
    parts = [
        f"SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)) FROM {table} t "
        "WHERE namespace_id = (SELECT id FROM sessions_app_namespace WHERE name = 'owned')"
        for table in tables
    ]
    return {table: tuple(rows) for table, *rows in site.rows(" UNION ALL ".join(parts))}


def wait_until_quiet(site: ScratchSite) -> dict[str, tuple]:
    """Return the fingerprint when the background has finished with the owner's rows. Raises SiteFailed."""
    deadline, last = time.monotonic() + QUIET_TIMEOUT_SECONDS, fingerprint(site)
    while time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        now = fingerprint(site)
        if now == last:
            return now
        last = now
    raise SiteFailed("The background does not come to an end.")


def run_at_once(intruder: Intruder, owner: Intruder) -> Finding:
    """Let both read at the same time, so that they share processes and connections; the intruder must see nothing."""
    operations = ApiDocument(from_json(intruder.site.page("/api/v1/openapi.json").data)).operations
    requests = list(intruder.build_requests(operation for operation in operations if operation.reads)) * ROUNDS_AT_ONCE
    with ThreadPoolExecutor(THREADS) as pool:
        for request in requests:
            pool.submit(owner.send, request)
        seen = pool.map(lambda request: intruder.see(request, intruder.send(request)), requests)
        leaks = [f"{request.operation}: {what}" for request, what in zip(requests, seen, strict=True) if what]
    return Finding("both read at once", len(requests), leak=len(leaks), note="; ".join(leaks[:MAX_NAMED]))
