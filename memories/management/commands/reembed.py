"""`manage.py reembed`: make all vectors anew by the configured model, while the old ones serve."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError
from django.db.models.functions import Now

from memories import tasks
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import Reembedding
from memories.reembedding import NothingToDo, begin, call_off, remove_unserved, run
from memory_site.core.db.locks import AlreadyAtWork
from memory_site.core.db.progress import change
from sessions_app.commands import FAILED, namespace_named
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace

STOPPED = "Stopped by whoever had begun it."


class Command(LongCommand):
    help = (
        "Embed namespaces anew by the configured model. Searches meet the old vectors until all new ones are there. "
        "May be stopped and run again."
    )
    things = "memories"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: every one that another model serves")
        parser.add_argument("--background", action="store_true", help="leave it to the worker")
        parser.add_argument("--stop", action="store_true", help="call off what was begun, and remove what it has made")

    def handle(self, *, namespace: str | None, background: bool, stop: bool, **_: Any) -> None:
        namespaces = [namespace_named(namespace)] if namespace else list(Namespace.objects.all())
        if stop:
            self.stdout.write(f"{sum(map(self.stopped, namespaces))} were called off.")
            return
        begun = [run for each in namespaces if (run := self.begun(each))]
        if background:
            tasks.reembedding_bell.ring_now()
            self.stdout.write(f"A worker embeds {len(begun)} namespaces anew; `embedding_status` tells how far it is.")
            return
        for reembedding in begun:
            self.do(reembedding)
        if not begun:
            self.stdout.write("Every vector is of the configured model. Nothing to do.")

    def begun(self, namespace: Namespace) -> Reembedding | None:
        try:
            return begin(namespace, get_embedder().model)
        except NothingToDo:
            return None
        except (AlreadyAtWork, EmbedderUnavailable) as error:
            raise CommandError(f"{namespace.name}: {error}", returncode=FAILED) from None

    def stopped(self, namespace: Namespace) -> int:
        try:
            count = call_off(
                namespace, Reembedding.objects.filter(namespace=namespace, finished_at=None, switched_at=None)
            )
        except AlreadyAtWork:
            raise CommandError(f"{namespace.name}: a worker is at it; stop that first.", returncode=FAILED) from None
        while namespace.embedding_model and remove_unserved(namespace.pk, namespace.embedding_model):
            pass
        return count

    def do(self, reembedding: Reembedding) -> None:
        """To its end. What is stopped by hand is not gone on with by a worker."""
        self.done = 0
        try:
            for _ in self.through(self.steps(reembedding), 0):
                pass
        except KeyboardInterrupt:
            if reembedding.switched_at is None:
                change(reembedding, error=STOPPED, finished_at=Now())
            raise
        except AlreadyAtWork:
            raise CommandError(f"{reembedding.namespace.name}: a worker is at it.", returncode=FAILED) from None
        except EmbedderUnavailable as error:
            later = f"{error} {self.far}; a worker goes on when it is back, or running this again."
            raise CommandError(later, returncode=FAILED) from None
        self.tell(reembedding)

    def steps(self, reembedding: Reembedding) -> Iterator[None]:
        """One for each memory that has its new vector; the bar learns how many there are."""
        for state in run(reembedding):
            self.expect(state.memories_total)
            yield from [None] * (state.memories_done - self.done)

    def tell(self, reembedding: Reembedding) -> None:
        tasks.bell.ring_now()
        name, done, refused = reembedding.namespace.name, reembedding.memories_done, reembedding.memories_refused
        self.stdout.write(f"{name}: {done:,} memories have vectors of {reembedding.model}, {refused:,} were refused.")
