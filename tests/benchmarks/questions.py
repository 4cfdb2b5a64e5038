"""`make questions`: questions about Django's own source, and at which place the file that answers each is found.

A server of its own reads the installed package with the real model. Beside the places stand the rates, and which part
of the time, from the first file to the last chunk's vector, the model alone takes for the same chunks.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django
import urllib3

directory = tempfile.TemporaryDirectory(prefix="memory-site-questions-")
os.environ |= {"DATA_DIR": str(Path(directory.name) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
django.setup()

from django.conf import settings  # noqa: E402  (the models need django.setup)
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from ingestion.models import Ingestion  # noqa: E402
from memories.embeddings import get_embedder  # noqa: E402
from memories.models import DueEmbedding, Memory  # noqa: E402
from sessions_app.models import ApiKey, Namespace  # noqa: E402
from tests.benchmarks.run import wait_until_live  # noqa: E402

QUESTIONS = {
    "how does a model decide between insert and update when saving": "db/models/base.py",
    "which middleware protects against cross site request forgery": "middleware/csrf.py",
    "where are passwords hashed with pbkdf2": "contrib/auth/hashers.py",
    "how is the page number of a paginator validated": "core/paginator.py",
    "where is the autoreloader that restarts the development server": "utils/autoreload.py",
    "how are signed cookies and timestamps verified": "core/signing.py",
    "how does the migration autodetector find renamed fields": "db/migrations/autodetector.py",
    "where does the file storage choose an alternative name when a file exists": "core/files/storage/base.py",
    "how are url patterns matched and resolved to views": "urls/resolvers.py",
    "where are html entities escaped when rendering templates": "utils/html.py",
}
NAMESPACE, TOP_HITS, MAX_HITS = "questions", 5, 20
#: Seconds after which vectors that are still to be made are not waited for.
TIMEOUT_SECONDS = 3_600


def main() -> None:
    with run_server() as url:
        _, token = ApiKey.objects.issue(Namespace.objects.create(name=NAMESPACE))
        reading, embedded = measure_seconds(ingest_django), measure_seconds(wait_for_vectors)
        again = measure_seconds(ingest_django)
        places = {question: find_place(url, token, question) for question in QUESTIONS}
        texts = list(Memory.objects.values_list("content", flat=True))
        Console(width=140).print(build_table(places, format_figures(texts, reading, reading + embedded, again)))


@contextmanager
def run_server() -> Iterator[str]:
    """The product as its users start it: its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_live(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def measure_seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ingest_django() -> None:
    command = [sys.executable, "manage.py", "ingest", django.__path__[0], "--repo-id", "django"]
    subprocess.run([*command, "--namespace", NAMESPACE], cwd=settings.BASE_DIR, check=True)


def wait_for_vectors() -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while DueEmbedding.objects.exists():
        if time.monotonic() > until:
            sys.exit("The chunks were not embedded in time.")
        time.sleep(0.2)


def find_place(url: str, token: str, question: str) -> int | None:
    """Of the file that answers it, among the hits, counted from 1."""
    body = {"query": question, "repo_id": "django", "top_k": MAX_HITS}
    headers = {"Authorization": f"Bearer {token}"}
    answer = urllib3.request("POST", f"{url}/api/v1/knowledge/query", json=body, headers=headers)
    paths = [hit["file_path"] for hit in answer.json()["results"]]
    return paths.index(QUESTIONS[question]) + 1 if QUESTIONS[question] in paths else None


def format_figures(texts: list[str], reading: float, all_embedded: float, again: float) -> str:
    files, embedder = Ingestion.objects.earliest("created_at").documents_done, get_embedder()
    embedder.embed(texts[:1])  # the model is loaded
    alone = measure_seconds(lambda: embedder.embed(texts))
    return (
        f"{files:,} files read in {reading:.1f} s, their {len(texts):,} chunks embedded after {all_embedded:.1f} s: "
        f"{files / all_embedded:.1f} files/s, {len(texts) / all_embedded:.1f} chunks/s. The model alone takes "
        f"{alone:.1f} s for them: {alone / all_embedded:.2f} of the time. A second run, nothing changed: {again:.1f} s."
    )


def build_table(places: dict[str, int | None], caption: str) -> Table:
    found = sum(place is not None and place <= TOP_HITS for place in places.values())
    title = f"{found} of {len(places)} among the first {TOP_HITS}"
    result = Table("question", "expected file", "place", title=title, caption=caption, caption_justify="left")
    for question, place in places.items():
        result.add_row(question, QUESTIONS[question], "-" if place is None else str(place))
    return result


if __name__ == "__main__":
    with directory:
        main()
