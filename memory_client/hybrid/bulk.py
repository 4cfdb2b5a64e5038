"""How several new memories reach the server in one request, exactly once.

They are sent under the condition that none of them is there yet (`POST /memories/bulk` with `If-None-Match: *`), and
the server stores all or none. What it has then is read. After an attempt whose answer was lost it is read first: those
that are there have arrived. If none is there, and the first one never was, none has arrived. Whatever is sent then goes
under the same Idempotency-Key, that of the first one, so that an attempt that is late stores nothing.
"""

from memory_client.hybrid.delivery import Delivery, MemoryPage, Outcome, Requests
from memory_client.hybrid.outbox import Entry

#: As many as a page of a list has: what the server has of a batch is read in one request.
MAX_BATCH = 100
STATES = ("active", "superseded", "pending", "quarantined")


class BulkDelivery:
    """Sends entries that make new memories."""

    def __init__(self, client: Requests, entries: list[Entry], now: float) -> None:
        self.client, self.entries = client, entries
        self.deliveries = [Delivery(client, entry, None, now) for entry in entries]
        self.is_repeated = entries[0].attempts > 0

    def send(self) -> list[tuple[Entry, Outcome]]:
        """Send all. Return what became of each. Raises MemoryClientError: see `says_arrived`."""
        memories = [each.build_new_memory() for each in self.deliveries]
        key = self.entries[0].request_key
        headers = {"X-Request-ID": key, "If-None-Match": "*"}
        self.client.request("POST", "/memories/bulk", json={"memories": memories}, headers=headers, idempotency_key=key)
        stored = self.read_stored()
        return [(each, stored.get(each.memory_id, Outcome(is_gone=True))) for each in self.entries]

    def find_stored(self) -> list[tuple[Entry, Outcome]]:
        """Return those that the server has."""
        stored = self.read_stored()
        return [(each, stored[each.memory_id]) for each in self.entries if each.memory_id in stored]

    def has_arrived(self) -> bool:
        """Return whether the server has, or had, the first of them."""
        return self.deliveries[0].has_arrived()

    def read_stored(self) -> dict[str, Outcome]:
        """Return by id what the server has of them."""
        params = {"ids": [each.memory_id for each in self.entries], "states": STATES, "limit": MAX_BATCH}
        page = self.client.request("GET", "/memories", params=params, type=MemoryPage)
        return {memory.id: Outcome(memory) for memory in page.results}
