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

from ingestion.file_discovery import DEFAULT_SUFFIXES
from ingestion.models import Ingestion, IngestionStatus
from ingestion.pipeline import REPOSITORY_BUSY, lock_repository, run_ingestion
from ingestion.schemas.ingestions import IngestionIn
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from memory_site.core.http.fields import Label
from sessions_app.commands import (
    EXIT_FAILED,
    EXIT_USAGE_ERROR,
    add_namespace_argument,
    format_validation_error,
    get_namespace,
)
from sessions_app.long_commands import LongCommand

TAKEN_OVER_ERROR = "Ended without a word; another run has begun."
STOPPED_ERROR = "Stopped by whoever had begun it."
REPO_ID_ADAPTER = TypeAdapter(Label)


class Command(LongCommand):
    help = "Read a folder into memories of type rag. Running it again does only the difference."
    item_name = "documents"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("path")
        parser.add_argument("--repo-id", help="default: the folder's name")
        parser.add_argument(
            "--suffix", action="append", help=f"of the files to take (default: {' '.join(DEFAULT_SUFFIXES)})"
        )

    def handle(self, *, path: str, repo_id: str | None, namespace: str, suffix: list[str] | None, **_: Any) -> None:
        root = Path(os.path.realpath(path))
        owner = get_namespace(namespace).pk
        try:
            asked = IngestionIn(path=str(root), suffixes=suffix or list(DEFAULT_SUFFIXES))
            ingestion = create_ingestion(
                owner, REPO_ID_ADAPTER.validate_python(root.name if repo_id is None else repo_id), asked
            )
            self.run_to_end(ingestion)
        except ValidationError as error:
            raise CommandError(format_validation_error(error), returncode=EXIT_USAGE_ERROR) from None
        except AlreadyRunning as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None
        self.print_report(ingestion)

    def run_to_end(self, ingestion: Ingestion) -> None:
        """To its end. What is stopped by hand is not taken up again by a worker."""
        try:
            for _ in self.track_progress(self.iter_documents(run_ingestion(ingestion)), 0):
                pass
        except KeyboardInterrupt:
            update_progress(ingestion, status=IngestionStatus.FAILED, error=STOPPED_ERROR, finished_at=Now())
            raise

    def iter_documents(self, states: Iterator[Ingestion]) -> Iterator[Ingestion]:
        """One for each document; the bar learns how many there are."""
        for ingestion in states:
            if ingestion.status == IngestionStatus.IN_PROGRESS:
                self.set_total(ingestion.documents_total)
                yield ingestion

    def print_report(self, ingestion: Ingestion) -> None:
        for skipped in ingestion.skipped:
            path = skipped["path"] if skipped["path"].isprintable() else repr(skipped["path"])
            self.messages.print(f"{path}: {skipped['reason']}")
        if ingestion.status == IngestionStatus.FAILED:
            raise CommandError(ingestion.error, returncode=EXIT_FAILED)
        unchanged = ingestion.documents_done - ingestion.documents_changed - ingestion.documents_skipped
        self.stdout.write(
            f"{ingestion.documents_total:,} documents: {ingestion.documents_changed:,} new or changed "
            f"({ingestion.chunks:,} chunks), {unchanged:,} unchanged, {ingestion.documents_deleted:,} deleted, "
            f"{ingestion.documents_skipped:,} skipped."
        )


def create_ingestion(namespace_id: int, repo_id: str, asked: IngestionIn) -> Ingestion:
    """A new run. One that was left open by somebody who is gone makes way. Raises AlreadyAtWork."""
    with lock_repository(namespace_id, repo_id):
        left = Ingestion.objects.open().filter(namespace_id=namespace_id, repo_id=repo_id)
        whose = {"namespace_id": namespace_id, "repo_id": repo_id}
        try:
            with transaction.atomic():
                left.update(status=IngestionStatus.FAILED, error=TAKEN_OVER_ERROR, finished_at=Now())
                facts = {"status": IngestionStatus.IN_PROGRESS, "within_roots": False}
                return Ingestion.objects.create(**whose, **asked.model_dump(), **facts)
        except IntegrityError:  # a caller of the API was faster
            raise AlreadyRunning(REPOSITORY_BUSY) from None
