"""`manage.py reembed`: embed namespaces again with the configured model, while searches use the old vectors."""

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
    delete_inactive_vectors,
    get_or_start_run,
    run_reembedding,
)
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from sessions_app.commands import EXIT_FAILED, get_namespace
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace

STOPPED_BY_USER = "Stopped by the user."


class Command(LongCommand):
    help = (
        "Embed namespaces again with the configured model. Searches use the old vectors until all new ones are there. "
        "Can be interrupted and run again."
    )
    item_name = "memories"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all whose active model is another one")
        parser.add_argument("--background", action="store_true", help="let the worker do it")
        parser.add_argument("--stop", action="store_true", help="cancel open runs and delete their vectors")

    def handle(self, *, namespace: str | None, background: bool, stop: bool, **_: Any) -> None:
        namespaces = [get_namespace(namespace)] if namespace else list(Namespace.objects.all())
        if stop:
            self.stdout.write(f"{sum(map(self.stop_namespace, namespaces))} runs were cancelled.")
            return
        runs = [run for each in namespaces if (run := self.start_namespace(each))]
        if background:
            tasks.reembedding_trigger.notify_now()
            self.stdout.write(f"A worker re-embeds {len(runs)} namespaces; `embedding_status` shows the progress.")
            return
        for reembedding in runs:
            self.run_to_end(reembedding)
        if not runs:
            self.stdout.write("All vectors are of the configured model. Nothing to do.")

    def start_namespace(self, namespace: Namespace) -> Reembedding | None:
        try:
            return get_or_start_run(namespace, get_embedder().model)
        except ModelAlreadyActive:
            return None
        except (AlreadyRunning, EmbedderUnavailable) as error:
            raise CommandError(f"{namespace.name}: {error}", returncode=EXIT_FAILED) from None

    def stop_namespace(self, namespace: Namespace) -> int:
        try:
            runs = Reembedding.objects.filter(namespace=namespace, finished_at=None, switched_at=None)
            count = cancel_runs(namespace, runs)
        except AlreadyRunning:
            problem = f"{namespace.name}: a worker executes the run; stop that first."
            raise CommandError(problem, returncode=EXIT_FAILED) from None
        while namespace.embedding_model and delete_inactive_vectors(namespace.pk, namespace.embedding_model):
            pass
        return count

    def run_to_end(self, reembedding: Reembedding) -> None:
        """Execute a run. After Ctrl+C it is finished, so that no worker continues it."""
        self.done = 0
        try:
            for _ in self.track_progress(self.iter_steps(reembedding), 0):
                pass
        except KeyboardInterrupt:
            if reembedding.switched_at is None:
                update_progress(reembedding, error=STOPPED_BY_USER, finished_at=Now())
            raise
        except AlreadyRunning:
            raise CommandError(
                f"{reembedding.namespace.name}: a worker executes the run.", returncode=EXIT_FAILED
            ) from None
        except EmbedderUnavailable as error:
            problem = f"{error} {self.progress_text}; a worker continues when it is back, or run this again."
            raise CommandError(problem, returncode=EXIT_FAILED) from None
        self.print_report(reembedding)

    def iter_steps(self, reembedding: Reembedding) -> Iterator[None]:
        """Yield once per memory that got its new vector, and update the total of the progress bar."""
        for state in run_reembedding(reembedding):
            self.set_total(state.memories_total or 0)
            yield from [None] * (state.memories_done - self.done)

    def print_report(self, reembedding: Reembedding) -> None:
        tasks.embedding_trigger.notify_now()
        name, done, refused = reembedding.namespace.name, reembedding.memories_done, reembedding.memories_refused
        self.stdout.write(f"{name}: {done:,} memories have vectors of {reembedding.model}, {refused:,} were refused.")
