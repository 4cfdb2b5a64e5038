"""`manage.py reembed`: make all vectors anew by the configured model, while the old ones serve."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError
from django.db.models.functions import Now

from memories import tasks
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import Reembedding
from memories.reembedding import (
    ModelAlreadyActive,
    cancel_runs,
    delete_unserved_vectors,
    get_or_start_run,
    run_reembedding,
)
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from sessions_app.commands import EXIT_FAILED, get_namespace
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace

STOPPED_BY_USER = "Stopped by whoever had begun it."


class Command(LongCommand):
    help = (
        "Embed namespaces anew by the configured model. Searches meet the old vectors until all new ones are there. "
        "May be stopped and run again."
    )
    item_name = "memories"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: every one that another model serves")
        parser.add_argument("--background", action="store_true", help="leave it to the worker")
        parser.add_argument("--stop", action="store_true", help="call off what was begun, and remove what it has made")

    def handle(self, *, namespace: str | None, background: bool, stop: bool, **_: Any) -> None:
        namespaces = [get_namespace(namespace)] if namespace else list(Namespace.objects.all())
        if stop:
            self.stdout.write(f"{sum(map(self.stop_namespace, namespaces))} were called off.")
            return
        begun = [run for each in namespaces if (run := self.start_namespace(each))]
        if background:
            tasks.reembedding_trigger.notify_now()
            self.stdout.write(f"A worker embeds {len(begun)} namespaces anew; `embedding_status` tells how far it is.")
            return
        for reembedding in begun:
            self.run_to_end(reembedding)
        if not begun:
            self.stdout.write("Every vector is of the configured model. Nothing to do.")

    def start_namespace(self, namespace: Namespace) -> Reembedding | None:
        try:
            return get_or_start_run(namespace, get_embedder().model)
        except ModelAlreadyActive:
            return None
        except (AlreadyRunning, EmbedderUnavailable) as error:
            raise CommandError(f"{namespace.name}: {error}", returncode=EXIT_FAILED) from None

    def stop_namespace(self, namespace: Namespace) -> int:
        try:
            count = cancel_runs(
                namespace, Reembedding.objects.filter(namespace=namespace, finished_at=None, switched_at=None)
            )
        except AlreadyRunning:
            raise CommandError(
                f"{namespace.name}: a worker is at it; stop that first.", returncode=EXIT_FAILED
            ) from None
        while namespace.embedding_model and delete_unserved_vectors(namespace.pk, namespace.embedding_model):
            pass
        return count

    def run_to_end(self, reembedding: Reembedding) -> None:
        """To its end. What is stopped by hand is not gone on with by a worker."""
        self.done = 0
        try:
            for _ in self.track_progress(self.iter_steps(reembedding), 0):
                pass
        except KeyboardInterrupt:
            if reembedding.switched_at is None:
                update_progress(reembedding, error=STOPPED_BY_USER, finished_at=Now())
            raise
        except AlreadyRunning:
            raise CommandError(f"{reembedding.namespace.name}: a worker is at it.", returncode=EXIT_FAILED) from None
        except EmbedderUnavailable as error:
            later = f"{error} {self.progress_text}; a worker goes on when it is back, or running this again."
            raise CommandError(later, returncode=EXIT_FAILED) from None
        self.print_report(reembedding)

    def iter_steps(self, reembedding: Reembedding) -> Iterator[None]:
        """One for each memory that has its new vector; the bar learns how many there are."""
        for state in run_reembedding(reembedding):
            self.set_total(state.memories_total)
            yield from [None] * (state.memories_done - self.done)

    def print_report(self, reembedding: Reembedding) -> None:
        tasks.embedding_trigger.notify_now()
        name, done, refused = reembedding.namespace.name, reembedding.memories_done, reembedding.memories_refused
        self.stdout.write(f"{name}: {done:,} memories have vectors of {reembedding.model}, {refused:,} were refused.")
