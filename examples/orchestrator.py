"""An orchestrator with a memory: it looks up the session, answers, and saves the turn.

    MEMORY_KEY=mem_… python examples/orchestrator.py --session demo "When does the harbour open?"

MEMORY_URL: by default http://127.0.0.1:8000. Without a question it reads one per line from stdin. Memory is optional:
if it is away, slow or refuses, the answer comes without it, and unsaved turns are sent with the next one.
"""

import argparse
import json
import os
import queue
import sys
import threading
import time
import urllib.request
import uuid
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote

TIMEOUT_SECONDS = 1.5  # for one request, from the lookup of the name to the last byte
RETRY_PAUSE_SECONDS = 5  # after a failure, so that an outage does not delay every turn
PERMANENT_ERRORS = {400, 413, 415, 422}  # a retry would be refused too


class SessionClient:
    """One session in Memory Site. No method raises, and none takes much longer than TIMEOUT_SECONDS."""

    def __init__(self, url: str, key: str, session: str) -> None:
        self.base, self.session = f"{url.rstrip('/').removesuffix('/api/v1')}/api/v1", quote(session, safe="")
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.unsaved: deque[dict] = deque(maxlen=1000)
        self.paused_until: dict[str, float] = {}  # by address

    def recall(self, question: str) -> tuple[list[dict], list[str]]:
        """Return the last interactions of the session, newest first, and memories about the question."""
        status, context = self.ask(f"/sessions/{self.session}/context?limit=5")
        _, found = self.ask("/memories/search", {"query": question[:4096], "limit": 3}) if status else (0, {})
        try:
            memories = [hit["memory"]["content"] for hit in found.get("results", [])]
            return [{name: each[name] for name in ("query", "answer")} for each in context["interactions"]], memories
        except (KeyError, TypeError):  # no answer, or another service at that address
            return [], []

    def save(self, question: str, reply: str) -> None:
        """Send this turn and those still unsaved, oldest first. The idempotency key makes a repetition safe."""
        turn = {"query": question[:100_000], "answer": reply[:100_000], "timestamp": datetime.now(UTC).isoformat()}
        self.unsaved.append({"body": turn, "key": str(uuid.uuid4())})
        until = time.monotonic() + TIMEOUT_SECONDS  # after a long outage not all at once
        while self.unsaved and time.monotonic() < until:
            first = self.unsaved[0]
            status, _ = self.ask(f"/sessions/{self.session}/interactions", first["body"], first["key"])
            if status != 201 and status not in PERMANENT_ERRORS:
                break
            self.unsaved.popleft()

    def ask(self, path: str, body: dict | None = None, key: str = "") -> tuple[int, dict]:
        """Return status and answer; 0 and {} if there was none in time, or during the pause after a failure."""
        if time.monotonic() < self.paused_until.get(path, 0):
            return 0, {}
        # In a thread, because a socket's timeout bounds neither the lookup of a name nor a slow answer.
        answer: queue.Queue = queue.Queue()
        threading.Thread(target=lambda: answer.put(self.request(path, body, key)), daemon=True).start()
        try:
            status, found = answer.get(timeout=TIMEOUT_SECONDS)
        except queue.Empty:
            status, found = 0, "no answer in time"
        if status >= 300 or status == 0:
            print(f"(memory: {status or 'away'}, {found})", file=sys.stderr)
            if status == 0 or status >= 500:
                self.paused_until[path] = time.monotonic() + RETRY_PAUSE_SECONDS
            return status, {}
        return status, found

    def request(self, path: str, body: dict | None, key: str) -> tuple[int, dict | str]:
        """Return status and body; of a refusal its reason, of any other failure 0 and its description."""
        try:
            headers = self.headers | ({"Idempotency-Key": key} if key else {})
            request = urllib.request.Request(self.base + path, json.dumps(body).encode() if body else None, headers)  # noqa: S310
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
                return response.status, dict(json.load(response))
        except HTTPError as refusal:
            return refusal.code, refusal.reason
        except (OSError, ValueError, TypeError, HTTPException) as error:
            return 0, str(error)


def generate_answer(question: str, context: list[dict], memories: list[str]) -> str:
    """Call the language model. This stand-in repeats its input."""
    before = "; ".join(f"you asked {each['query']!r}" for each in reversed(context)) or "nothing"
    return f"You ask {question!r}. Before: {before}. I remember: {'; '.join(memories) or 'nothing'}."


def run_turn(memory: SessionClient, question: str) -> None:
    reply = generate_answer(question, *memory.recall(question))
    print(reply, flush=True)
    memory.save(question, reply)  # after the answer, so that it delays nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default=os.environ.get("MEMORY_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--key", default=os.environ.get("MEMORY_KEY"), required="MEMORY_KEY" not in os.environ)
    parser.add_argument("--session", default="demo")
    parser.add_argument("question", nargs="?", help="default: read one per line from stdin")
    options = parser.parse_args()
    memory = SessionClient(options.url, options.key, options.session)
    with suppress(KeyboardInterrupt):
        for question in filter(str.strip, [options.question] if options.question else sys.stdin):
            run_turn(memory, question.strip())
    if memory.unsaved:
        print(f"({len(memory.unsaved)} turns could not be saved)", file=sys.stderr)


if __name__ == "__main__":
    main()
