"""`manage.py ingest PATH --repo-id ID`: ingest a folder."""

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
from ingestion.pipeline import REPOSITORY_BUSY, lock_repository, run_with_lease
from ingestion.schemas.ingestions import IngestionIn
from memories.models import Memory
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from memory_site.core.http.path_labels import RepoId
from memory_site.core.leases.leases import HeldLease
from sessions_app.commands import (
    EXIT_FAILED,
    EXIT_USAGE_ERROR,
    add_namespace_argument,
    format_validation_error,
    get_namespace,
)
from sessions_app.long_commands import LongCommand

TAKEN_OVER_ERROR = "Its worker was lost; another run has started."
STOPPED_ERROR = "Stopped on the command line."
REPO_ID_ADAPTER = TypeAdapter(RepoId)


class Command(LongCommand):
    help = "Ingest a folder into memories of type rag. A further run processes only the difference."
    item_name = "documents"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("path")
        parser.add_argument("--repo-id", help="default: the folder's name")
        parser.add_argument(
            "--suffix", action="append", help=f"suffix of the files to ingest (default: {' '.join(DEFAULT_SUFFIXES)})"
        )

        parser.add_argument(
            "--exclude",
            action="append",
            default=[],
            metavar="PATTERN",
            help="leave out what this pattern, as in .gitignore, matches, besides lock files, minified, generated and "
            "vendored code; !PATTERN takes something in again",
        )

    def handle(
        self,
        *,
        path: str,
        repo_id: str | None,
        namespace: str,
        suffix: list[str] | None,
        exclude: list[str],
        **_: Any,
    ) -> None:
        root = Path(os.path.realpath(path))
        namespace_id = get_namespace(namespace).pk
        try:
            request = IngestionIn(path=str(root), suffixes=suffix or list(DEFAULT_SUFFIXES), exclude=exclude)
            repository = REPO_ID_ADAPTER.validate_python(root.name if repo_id is None else repo_id)
            # One lease for both: another command would take a row that does not run yet for abandoned.
            with lock_repository(namespace_id, repository) as lease:
                ingestion = create_ingestion(namespace_id, repository, request)
                self.run_to_end(ingestion, lease)
        except ValidationError as error:
            raise CommandError(format_validation_error(error), returncode=EXIT_USAGE_ERROR) from None
        except AlreadyRunning as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None
        self.print_report(ingestion)

    def run_to_end(self, ingestion: Ingestion, lease: HeldLease) -> None:
        """Run the ingestion. After Ctrl+C it has the status failed, so that no worker restarts it."""
        try:
            for _ in self.track_progress(self.iter_documents(run_with_lease(ingestion, lease)), 0):
                pass
        except KeyboardInterrupt:
            update_progress(ingestion, status=IngestionStatus.FAILED, error=STOPPED_ERROR, finished_at=Now())
            raise

    def iter_documents(self, states: Iterator[Ingestion]) -> Iterator[Ingestion]:
        """Yield once for each document, and set the total of the progress bar."""
        for ingestion in states:
            if ingestion.status == IngestionStatus.IN_PROGRESS and ingestion.documents_total is not None:
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
        self.print_waiting(ingestion)

    def print_waiting(self, ingestion: Ingestion) -> None:
        """Print how many chunks a search by meaning does not find yet."""
        chunks = Memory.objects.in_namespace(ingestion.namespace_id).filter(repo_id=ingestion.repo_id)
        if waiting := chunks.waiting().count():
            self.stdout.write(
                f"Chunks without a vector: {waiting:,}. The worker embeds them; `embedding_status` shows the progress."
            )


def create_ingestion(namespace_id: int, repo_id: str, request: IngestionIn) -> Ingestion:
    """Create a run, under the repository's lease. An open one that was abandoned is set to failed.

    Raises AlreadyRunning.
    """
    repository = {"namespace_id": namespace_id, "repo_id": repo_id}
    try:
        with transaction.atomic():
            abandoned = Ingestion.objects.open().filter(**repository)
            abandoned.update(status=IngestionStatus.FAILED, error=TAKEN_OVER_ERROR, finished_at=Now())
            state = {"status": IngestionStatus.IN_PROGRESS, "within_roots": False}
            return Ingestion.objects.create(**repository, **request.model_dump(), **state)
    except IntegrityError:  # an API client has started one at the same time
        raise AlreadyRunning(REPOSITORY_BUSY) from None
