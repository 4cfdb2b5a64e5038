"""`manage.py demo`: the main functions once, end to end, over HTTP."""

import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from memory_site.core.db.ids import uuid7
from memory_site.embedded.processes import START_TIMEOUT_SECONDS
from memory_site.embedded.running_site import find_running_site, is_live
from memory_site.operations.demo_data import DOCUMENT_QUESTION, MEMORIES, QUESTIONS
from sessions_app.commands import EXIT_FAILED, MemoryCommand
from sessions_app.models import ApiKey, Namespace

DEMO_NAMESPACE = "demo"
DEMO_FOLDER = "docs/decisions"
EMBED_TIMEOUT_SECONDS = 120
TOP_K, MIN_ANSWERED = 3, 4


class Command(MemoryCommand):
    help = "Store real sentences, wait for the worker, ask questions in other words; exit 0 only if they are answered."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", help="a running server of the same database (default: found, or started)")

    def execute(self, *args: Any, **options: Any) -> str | None:
        # The server must run before the base class looks for its services.
        with ensure_server(options["url"]) as url:
            return super().execute(*args, **options | {"url": url})

    def handle(self, *, url: str, **options: object) -> None:
        namespace, _ = Namespace.objects.get_or_create(name=DEMO_NAMESPACE)
        key, token = ApiKey.objects.issue(namespace, name="demo")
        try:
            self.run_demo(ApiClient(url, token))
        finally:
            key.revoke()

    def run_demo(self, api: "ApiClient") -> None:
        started = time.monotonic()
        items = [{"content": text, "source_system": "demo"} for text in MEMORIES]
        ids = api.call("POST", "/memories/bulk", {"memories": items})["ids"]
        self.stdout.write(f"Stored {len(ids)} memories in the namespace {DEMO_NAMESPACE!r}.")
        self.wait(api)
        self.stdout.write(f"All embedded after {time.monotonic() - started:.1f} s.\n\n")
        found = sum([self.ask(api, question, ids[answer]) for question, answer in QUESTIONS])
        self.show_session(api)
        self.show_repository(api)
        self.stdout.write(f"{found} of {len(QUESTIONS)} answers among the first {TOP_K}, without a word in common.")
        if found < MIN_ANSWERED:
            raise CommandError(f"At least {MIN_ANSWERED} were expected.", returncode=EXIT_FAILED)

    def show_session(self, api: "ApiClient") -> None:
        """Store the questions and answers in a session, as an agent would for its next turn."""
        session = f"/sessions/demo-{uuid7()}"
        turns = [{"query": question, "answer": MEMORIES[answer]} for question, answer in QUESTIONS]
        api.call("POST", f"{session}/interactions", {"interactions": turns})
        self.stdout.write("A session remembers them, newest first:")
        for turn in api.call("GET", f"{session}/context?limit={TOP_K}")["interactions"]:
            self.stdout.write(f"  {turn['timestamp'][11:19]}  {turn['query']}")
        if not api.call("DELETE", session)["cleared"]:
            raise CommandError("The session did not exist.", returncode=EXIT_FAILED)
        self.stdout.write("")

    def show_repository(self, api: "ApiClient") -> None:
        """Ingest the project's documents and answer a question about them with file and lines."""
        where = {"repo_id": DEMO_FOLDER, "namespace": DEMO_NAMESPACE}
        call_command("ingest", str(settings.BASE_DIR / DEMO_FOLDER), **where, stdout=self.stdout)
        self.wait(api)
        question, file = DOCUMENT_QUESTION
        body = {"query": question, "repo_id": DEMO_FOLDER, "top_k": TOP_K}
        hits = api.call("POST", "/knowledge/query", body)["results"]
        self.stdout.write(question)
        for hit in hits:
            beginning = " ".join(hit["memory"]["content"].split())[:80]
            self.stdout.write(f"  {hit['file_path']}:{hit['start_line']}-{hit['end_line']}  {beginning}…")
        self.stdout.write("")
        if file not in [hit["file_path"] for hit in hits]:
            raise CommandError(f"The answer is in {file}, which was not found.", returncode=EXIT_FAILED)

    def wait(self, api: "ApiClient") -> None:
        until = time.monotonic() + EMBED_TIMEOUT_SECONDS
        while backlog := api.call("GET", "/summary")["embedding_backlog"]:
            if time.monotonic() > until:
                raise CommandError(f"{backlog} memories are still not embedded: python manage.py doctor says why.")
            self.stderr.write(f"  {backlog} wait for the worker")
            time.sleep(0.5)

    def ask(self, api: "ApiClient", question: str, answer: str) -> bool:
        hits = api.call("POST", "/memories/search", {"query": question, "limit": TOP_K})["results"]
        self.stdout.write(question)
        for hit in hits:
            mark = "✓" if hit["memory"]["id"] == answer else " "
            self.stdout.write(f"  {mark} {hit['score']:.2f}  {hit['memory']['content']}")
        self.stdout.write("")
        return answer in [hit["memory"]["id"] for hit in hits]


class ApiClient:
    def __init__(self, url: str, token: str) -> None:
        self.base = f"{url}/api/v1"
        self.http = urllib3.PoolManager(timeout=30, headers={"Authorization": f"Bearer {token}"})

    def call(self, method: str, path: str, body: dict | None = None) -> Any:
        answer = self.http.request(method, self.base + path, json=body)
        if answer.status >= 400:
            raise CommandError(f"{method} {path} answered {answer.status}: {answer.data.decode()[:300]}")
        return answer.json()


@contextmanager
def ensure_server(url: str | None) -> Iterator[str]:
    """Provide a server's address: the given one, a running site's, or that of a server started here."""
    url = url or find_running_site()
    if url:
        yield url.rstrip("/")
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = [sys.executable, "manage.py", "serve", "--port", str(port), "--no-first-key"]
    server = subprocess.Popen(  # noqa: S603  (this project's command)
        serve, cwd=settings.BASE_DIR, stdout=sys.stderr
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_live(server, url)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def wait_until_live(server: subprocess.Popen, url: str) -> None:
    until = time.monotonic() + START_TIMEOUT_SECONDS
    while not is_live(url):
        if server.poll() is not None:
            raise CommandError("The server did not start; its messages are above.")
        if time.monotonic() > until:
            raise CommandError(f"The server did not answer in {START_TIMEOUT_SECONDS} s; its messages are above.")
        time.sleep(0.1)
