"""`manage.py search QUERY`: search memories by words and by meaning."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import QuerySet
from pydantic import ValidationError

from memories.embeddings import EmbeddingError, Vector
from memories.schemas import SearchIn
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.list_filters import ListFilters
from memories.search.query import Search
from memories.search.query_embedding import get_query_vector
from memories.search.selection import Selection
from memories.seen import seen_memories
from sessions_app.commands import EXIT_USAGE_ERROR, ListingCommand, format_validation_error, get_namespace


class Command(ListingCommand):
    help = "Search the memories of a namespace."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("query")
        parser.add_argument("--mode", choices=["hybrid", "vector", "text"], default="hybrid", help="default: hybrid")
        parser.add_argument("--limit", type=int, default=10, help="1 to 100 (default: 10)")
        parser.add_argument("--user", help="only this user's memories")
        parser.add_argument(
            "--literal",
            action="store_true",
            help="memories with exactly this text in content, summary, data or metadata, newest first",
        )

    def handle(self, *, query: str, namespace: str, format: str, **options: Any) -> None:
        owner = get_namespace(namespace)
        try:
            payload = SearchIn(query=query, mode=options["mode"], limit=options["limit"])
            filters = Filters(user_id=options["user"])
        except ValidationError as error:
            raise CommandError(format_validation_error(error), returncode=EXIT_USAGE_ERROR) from None
        if options["literal"]:
            self.print_rows(filter_containing(query, owner.pk, filters)[: payload.limit], format)
            return
        words = None if payload.mode == "vector" else query
        vector = None if payload.mode == "text" else self.get_vector(query, payload.mode, owner.embedding_model)
        search = Search(words, vector, owner.embedding_model, payload.limit, operators=True)
        hits = find_memories(owner.pk, filters, search)
        seen_memories.flush()  # now, because an embedded database stops with the command
        self.print_rows((to_output_row(hit) for hit in hits), format)

    def get_vector(self, query: str, mode: str, model: str | None) -> Vector | None:
        try:
            return get_query_vector(query, model)
        except EmbeddingError as error:
            if mode == "vector":
                raise CommandError(f"Not searched by meaning: {error}") from error
            self.stderr.write(f"Searched by words only: {error}")
            return None


def filter_containing(text: str, namespace_id: int, filters: Filters) -> QuerySet:
    """Select memories with this text in content, summary, data or metadata, in any case. Raises CommandError."""
    try:
        selection = Selection(namespace_id, ListFilters(user_id=filters.user_id), text).checked()
    except ValueError as error:
        raise CommandError(f"{error}.", returncode=EXIT_USAGE_ERROR) from None
    return selection.queryset().newest_first().values("id", "created_at", "memory_type", "user_id", "content")


def to_output_row(hit: dict) -> dict[str, object]:
    memory = hit["memory"]
    return {
        "score": round(hit["score"], 3),
        "similarity": hit["similarity"] and round(hit["similarity"], 3),
        "found by": ", ".join(hit["found_by"]),
        "id": memory["id"],
        "content": memory["content"],
    }
