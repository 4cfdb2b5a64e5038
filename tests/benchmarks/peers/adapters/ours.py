"""This product over HTTP, vectors given; the user is `user_id`, the topic is metadata."""

import urllib3

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

PACKAGES: list[str] = []


class Peer:
    def __init__(self, rows: Rows, url: str, token: str) -> None:
        self.rows, self.url = rows, f"{url}/api/v1"
        self.http = urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def write_one(self, row: Row) -> None:
        self.post("/memories", make_memory(row))

    def write_many(self, rows: list[Row]) -> None:
        self.post("/memories/bulk", {"memories": [make_memory(row) for row in rows]})

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        labels = {"user_id": wanted.user, "metadata": wanted.topic and {"topic": wanted.topic}}
        filters = {name: value for name, value in labels.items() if value}
        body = {"vector": self.rows.query_vector(wanted), "mode": "vector", "limit": limit, "filters": filters}
        return [parse_number(hit["memory"]["content"]) for hit in self.post("/memories/search", body)["results"]]

    def post(self, path: str, body: dict) -> dict:
        response = self.http.request("POST", self.url + path, json=body)
        if response.status not in (200, 201):
            raise RuntimeError(f"{path}: {response.status} {response.data[:300]!r}")
        return response.json()

    def close(self) -> None:
        self.http.clear()


def make_memory(row: Row) -> dict:
    return {"content": row.text, "user_id": row.user, "metadata": {"topic": row.topic}, "vector": row.vector}
