"""Hindsight's server over HTTP, without a language model: one bank, users and topics as tags.

It embeds texts through a server in this process, which looks the given vectors up. It fuses the search by meaning with
its other searches, and cannot be asked for a number of rows: the first ones count.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hindsight_api  # noqa: F401  (fails here when it is not installed)
import urllib3

from tests.benchmarks.peers.rows import Row, Rows, Wanted, parse_number

PACKAGES = ["hindsight-api-slim"]
START_TIMEOUT_SECONDS = 180
USAGE = {"prompt_tokens": 0, "total_tokens": 0}


class Peer:
    def __init__(self, rows: Rows, url: str) -> None:
        embedder = serve_vectors(rows)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        variables = {
            "HINDSIGHT_API_DATABASE_URL": url,
            "HINDSIGHT_API_HOST": "127.0.0.1",
            "HINDSIGHT_API_PORT": str(port),
            "HINDSIGHT_API_LOG_LEVEL": "error",
            "HINDSIGHT_API_LLM_PROVIDER": "none",
            "HINDSIGHT_API_EMBEDDINGS_PROVIDER": "openai",
            "HINDSIGHT_API_EMBEDDINGS_OPENAI_API_KEY": "none",
            "HINDSIGHT_API_EMBEDDINGS_OPENAI_MODEL": "lookup",
            "HINDSIGHT_API_EMBEDDINGS_OPENAI_BASE_URL": embedder,
            "HINDSIGHT_API_EMBEDDINGS_OPENAI_DIMENSIONS": str(rows.dimensions),
            "HINDSIGHT_API_RERANKER_PROVIDER": "rrf",
            # The nearest are asked for, however far: of the other peers too.
            "HINDSIGHT_API_SEMANTIC_MIN_SIMILARITY": "0",
        }
        program = Path(sys.executable).with_name("hindsight-api")
        self.server = subprocess.Popen([str(program)], env=os.environ | variables, stdout=sys.stderr)
        self.http = urllib3.PoolManager(timeout=300)
        self.url = f"http://127.0.0.1:{port}"
        try:
            self.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def wait_until_ready(self) -> None:
        until = time.monotonic() + START_TIMEOUT_SECONDS
        while self.server.poll() is None and time.monotonic() < until:
            try:
                if self.http.request("GET", f"{self.url}/health", retries=False).status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.5)
        raise RuntimeError("Hindsight's server did not start.")

    def write_one(self, row: Row) -> None:
        self.write_many([row])

    def write_many(self, rows: list[Row]) -> None:
        items = [
            {"content": row.text, "document_id": f"r{row.number}", "tags": [f"user-{row.user}", f"topic-{row.topic}"]}
            for row in rows
        ]
        self.post("/memories", {"items": items})

    def search(self, wanted: Wanted, limit: int) -> list[int]:
        tags = [f"{name}-{value}" for name, value in (("user", wanted.user), ("topic", wanted.topic)) if value]
        filters = {"tags": tags, "tags_match": "all_strict"} if tags else {}
        found = self.post("/memories/recall", {"query": wanted.text, "include": {"entities": None}} | filters)
        return [parse_number(each["text"]) for each in found["results"]][:limit]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self.http.request("POST", f"{self.url}/v1/default/banks/bench{path}", json=body)
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {response.data[:300]!r}")
        return response.json()

    def close(self) -> None:
        self.server.terminate()
        try:
            self.server.wait(30)
        except subprocess.TimeoutExpired:
            self.server.kill()


def serve_vectors(rows: Rows) -> str:
    """Start a server of OpenAI's embedding call, in a thread, and return its address."""

    class Lookup(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            data = [{"object": "embedding", "index": n, "embedding": look_up(text)} for n, text in enumerate(texts)]
            body = json.dumps({"object": "list", "model": "lookup", "data": data, "usage": USAGE}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    def look_up(text: str) -> list[float]:
        try:
            return rows.embed(text)
        except (ValueError, IndexError):  # its own trial at the start
            return [1.0] + [0.0] * (rows.dimensions - 1)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lookup)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"
