"""`manage.py check_recall`: measure the recall of the nearest-neighbour index."""

from argparse import ArgumentParser
from statistics import mean
from typing import Any

from django.core.management.base import CommandError

from memories.embeddings import get_embedder
from memories.models import Embedding
from memories.search.filters import Filters
from memories.search.recall import MIN_RECALL, measure_recall
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_USAGE_ERROR, ListingCommand, get_namespace


class Command(ListingCommand):
    help = "Compare index searches with exact ones, with stored vectors as queries. Exit code 3 below 0.99."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--queries", type=int, default=100, help="1 to 10000 (default: 100)")
        parser.add_argument("--limit", type=int, default=10, help="1 to 100 (default: 10)")
        parser.add_argument("--user", help="search only this user's memories")
        parser.add_argument("--model", help="default: the active one")

    def handle(self, *, namespace: str, queries: int, limit: int, format: str, **options: Any) -> None:
        if not (1 <= queries <= 10_000 and 1 <= limit <= 100):
            raise CommandError("--queries must lie in 1 to 10000, --limit in 1 to 100.", returncode=EXIT_USAGE_ERROR)
        owner = get_namespace(namespace)
        model = options["model"] or owner.embedding_model or get_embedder().model
        stored = Embedding.objects.in_namespace(owner.pk).of_model(model)
        vectors = list(stored.order_by("?").values_list("vector", flat=True)[:queries])
        if not vectors:
            raise CommandError(f"There are no vectors of the model {model}.", returncode=EXIT_USAGE_ERROR)
        filters = Filters(user_id=options["user"])
        recalls = [measure_recall(owner.pk, filters, list(vector), model, limit) for vector in vectors]
        found = {"queries": len(recalls), "limit": limit, "mean": round(mean(recalls), 4), "minimum": min(recalls)}
        self.print_rows([found], format)
        if found["mean"] < MIN_RECALL:
            raise CommandError(f"Recall is below {MIN_RECALL}.", returncode=EXIT_CHECK_FAILED)
