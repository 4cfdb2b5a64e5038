"""`manage.py ingest PATH --repo-id ID`: read a folder into memories."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from pydantic import TypeAdapter, ValidationError

from ingestion.file_discovery import SUFFIXES
from ingestion.models import Ingestion, Status
from ingestion.pipeline import BUSY, alone, run
from ingestion.schemas.ingestions import IngestionIn
from memory_site.core.db.locks import AlreadyAtWork
from memory_site.core.db.progress import change
from memory_site.core.http.fields import Label
from sessions_app.commands import FAILED, WRONG_USE, add_namespace, namespace_named, sentences
from sessions_app.long_commands import LongCommand

TAKEN_OVER = "Ended without a word; another run has begun."
STOPPED = "Stopped by whoever had begun it."
NAME = TypeAdapter(Label)


class Command(LongCommand):
    help = "Read a folder into memories of type rag. Running it again does only the difference."
    things = "documents"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace(parser)
        parser.add_argument("path")
        parser.add_argument("--repo-id", help="default: the folder's name")
        parser.add_argument("--suffix", action="append", help=f"of the files to take (default: {' '.join(SUFFIXES)})")

    def handle(self, *, path: str, repo_id: str | None, namespace: str, suffix: list[str] | None, **_: Any) -> None:
        root = Path(os.path.realpath(path))
        owner = namespace_named(namespace).pk
        try:
            asked = IngestionIn(path=str(root), suffixes=suffix or list(SUFFIXES))
            ingestion = begun(owner, NAME.validate_python(root.name if repo_id is None else repo_id), asked)
            self.do(ingestion)
        except ValidationError as error:
            raise CommandError(sentences(error), returncode=WRONG_USE) from None
        except AlreadyAtWork as error:
            raise CommandError(str(error), returncode=FAILED) from None
        self.tell(ingestion)

    def do(self, ingestion: Ingestion) -> None:
        """To its end. What is stopped by hand is not taken up again by a worker."""
        try:
            for _ in self.through(self.steps(run(ingestion)), 0):
                pass
        except KeyboardInterrupt:
            change(ingestion, status=Status.FAILED, error=STOPPED, finished_at=Now())
            raise

    def steps(self, states: Iterator[Ingestion]) -> Iterator[Ingestion]:
        """One for each document; the bar learns how many there are."""
        for ingestion in states:
            if ingestion.status == Status.IN_PROGRESS:
                self.expect(ingestion.documents_total)
                yield ingestion

    def tell(self, ingestion: Ingestion) -> None:
        for skipped in ingestion.skipped:
            path = skipped["path"] if skipped["path"].isprintable() else repr(skipped["path"])
            self.messages.print(f"{path}: {skipped['reason']}")
        if ingestion.status == Status.FAILED:
            raise CommandError(ingestion.error, returncode=FAILED)
        unchanged = ingestion.documents_done - ingestion.documents_changed - ingestion.documents_skipped
        self.stdout.write(
            f"{ingestion.documents_total:,} documents: {ingestion.documents_changed:,} new or changed "
            f"({ingestion.chunks:,} chunks), {unchanged:,} unchanged, {ingestion.documents_deleted:,} deleted, "
            f"{ingestion.documents_skipped:,} skipped."
        )


def begun(namespace_id: int, repo_id: str, asked: IngestionIn) -> Ingestion:
    """A new run. One that was left open by somebody who is gone makes way. Raises AlreadyAtWork."""
    with alone(namespace_id, repo_id):
        left = Ingestion.objects.open().filter(namespace_id=namespace_id, repo_id=repo_id)
        whose = {"namespace_id": namespace_id, "repo_id": repo_id}
        try:
            with transaction.atomic():
                left.update(status=Status.FAILED, error=TAKEN_OVER, finished_at=Now())
                facts = {"status": Status.IN_PROGRESS, "within_roots": False}
                return Ingestion.objects.create(**whose, **asked.model_dump(), **facts)
        except IntegrityError:  # a caller of the API was faster
            raise AlreadyAtWork(BUSY) from None
