"""Fills a site for the drill of the README, and shows what is in it, so that two outputs can be compared.

    export MEMORY_KEY=mem_…
    python examples/drill.py fill       # 1,000 memories, relationships, sessions, a conversation, insights
    python examples/drill.py show       # counts, and what searches find

MEMORY_URL: by default http://127.0.0.1:8000. It needs only the standard library. Filling a site twice stores nothing
twice but interactions and messages.
"""

import argparse
import json
import os
import sys
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError

TIMEOUT_SECONDS = 60
PLACES = ["harbour", "lighthouse", "market", "bridge", "station", "library", "garden", "theatre", "school", "museum"]
PEOPLE = ["Ada", "Anja", "Bo", "Chen", "Dana", "Emil", "Fatma"]
QUERIES = ["Where can I buy fish?", "a place with many books", "when does the stage open", "harbour", "Chen"]


class Site:
    """A Memory Site's API. Raises SystemExit with the reason if a request fails."""

    def __init__(self, url: str, key: str) -> None:
        self.base = f"{url.rstrip('/').removesuffix('/api/v1')}/api/v1"
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, path: str, body: dict | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, self.headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            sys.exit(f"{path}: {error.code} {error.read().decode(errors='replace')[:300]}")
        except URLError as error:
            sys.exit(f"{self.base} does not answer: {error.reason}")


def fill(site: Site) -> None:
    texts = [f"{PEOPLE[n % 7]} was in the {PLACES[n % 10]} at {n % 24}, visit {n}." for n in range(1000)]
    memories = [{"content": text, "user_id": PEOPLE[n % 7].lower()} for n, text in enumerate(texts)]
    ids = site.ask("/memories/bulk", {"memories": memories})["ids"]
    for n in range(20):
        site.ask(f"/memories/{ids[n]}/relationships", {"to_id": ids[n + 7], "type": "led_to"})
        site.ask(
            f"/sessions/day-{n}/interactions", {"query": f"When does the {PLACES[n % 10]} open?", "answer": "At 9."}
        )
        site.ask("/insights", {"content": f"A {PLACES[n % 10]} is quiet at {n} o'clock.", "projects": ["town"]})
    talk = site.ask("/conversations", {"user_id": "ada", "session_id": "day-1"})["id"]
    for place in PLACES:
        site.ask(f"/conversations/{talk}/messages", {"role": "user", "content": f"Tell me of the {place}."})
    wait_for_vectors(site)


def wait_for_vectors(site: Site) -> None:
    """Wait until the worker has embedded everything, so that searches find by meaning."""
    while backlog := site.ask("/summary")["embedding_backlog"]:
        print(f"{backlog} memories wait for their vectors", file=sys.stderr)
        time.sleep(2)


def show(site: Site) -> None:
    """Print what a restored site must answer as before, a line each."""
    summary = site.ask("/summary")
    print(json.dumps({name: value for name, value in summary.items() if name.startswith(("total", "by_"))}))
    print(json.dumps(site.ask("/insights/statistics")))
    print(json.dumps(site.ask("/sessions/day-3/context")))
    for query in QUERIES:
        hits = site.ask("/memories/search", {"query": query, "mode": "vector", "limit": 20})["results"]
        print(query, [round(hit["similarity"], 4) for hit in hits])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("fill", "show"))
    parser.add_argument("--key", default=os.environ.get("MEMORY_KEY"), required="MEMORY_KEY" not in os.environ)
    parser.add_argument("--url", default=os.environ.get("MEMORY_URL", "http://127.0.0.1:8000"))
    arguments = parser.parse_args()
    site = Site(arguments.url, arguments.key)
    {"fill": fill, "show": show}[arguments.step](site)


if __name__ == "__main__":
    main()
