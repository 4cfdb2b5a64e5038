"""Requests whose answers are never older than the writes before them."""

from typing import Any

from memory_client.hybrid.delivery import Requests
from memory_client.keyed import STRONG


class PrimaryRequests:
    """Sends the requests of a client with `X-Consistency: strong`.

    A site may answer from a replica otherwise, which need not have what was just written: a memory that is missing
    there would be taken for a deleted one, and a write that arrived for one that did not.
    """

    def __init__(self, client: Requests) -> None:
        self.client = client

    def request(self, method: str, path: str, *, params: Any = None, json: Any = None, headers: Any = None,
                idempotency_key: str | None = None, type: Any = None) -> Any:  # fmt: skip
        return self.client.request(
            method,
            path,
            params=params,
            json=json,
            headers=STRONG | (headers or {}),
            idempotency_key=idempotency_key,
            type=type,
        )
