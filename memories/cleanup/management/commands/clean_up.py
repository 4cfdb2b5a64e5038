"""`manage.py clean_up`: what there is to tidy up in a namespace, and the memories that one rule finds."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any

from memories.cleanup.assistants import ASSISTANTS, count, count_not_inspected, counts, select
from memories.cleanup.grouping import find_duplicates
from memories.cleanup.inspect import inspect, iter_texts, select_outdated
from memories.cleanup.models import Duplicate
from memories.cleanup.secret_patterns import excerpt, mask
from memories.models import Memory
from memories.states import EVERY_STATE
from memory_site.core.admin.formatting import truncate
from sessions_app.commands import ListingCommand, get_namespace
from sessions_app.long_commands import LongCommand

BATCH = 500
MAX_BEGINNING = 100
READ_FIELDS = ("id", "user_id", "memory_type", "created_at", "content", "summary", "data", "metadata")


class Command(ListingCommand, LongCommand):
    help = (
        "Count what each rule of the clean-up finds, or list what one finds. --look first reads the memories that are"
        " new or have changed, as the console's page does. Changes no memory."
    )
    item_name = "memories"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("rule", nargs="?", choices=[*ASSISTANTS], metavar="RULE", help=", ".join(ASSISTANTS))
        parser.add_argument("--look", action="store_true", help="look for duplicates and secrets first")
        parser.add_argument("--limit", type=int, default=100, help="default: 100")

    def handle(self, *, namespace: str, rule: str | None, look: bool, limit: int, format: str, **_: Any) -> None:
        namespace_id = get_namespace(namespace).pk
        if look:
            self.look(namespace_id)
        rows = count_all(namespace_id) if rule is None else list_found(rule, namespace_id, max(limit, 0))
        self.print_rows(rows, format)

    def look(self, namespace_id: int) -> None:
        counts.reset()
        total = count_not_inspected(namespace_id) or 0
        for _ in self.track_progress(iter_looks(namespace_id), total):
            pass
        find_duplicates(namespace_id)


def iter_looks(namespace_id: int) -> Iterator[None]:
    """Look at the memories that were not looked at since their last change. Yield after each."""
    outdated = select_outdated(Memory.objects.in_namespace(namespace_id, EVERY_STATE)).order_by("pk")
    while ids := list(outdated.values_list("pk", flat=True)[:BATCH]):
        inspect(namespace_id, ids)
        yield from (None for _ in ids)


def count_all(namespace_id: int) -> list[dict[str, Any]]:
    return [
        {"rule": name, "memories": count(name, namespace_id), "means": assistant.title}
        for name, assistant in ASSISTANTS.items()
    ]


def list_found(rule: str, namespace_id: int, limit: int) -> Iterable[dict[str, Any]]:
    """Yield the memories that a rule finds, newest first, with no secret shown whole."""
    memories = select(rule, namespace_id).newest_first()
    winners = dict(Duplicate.objects.filter(namespace=namespace_id).values_list("memory_id", "winner_id"))
    for memory in memories.values(*READ_FIELDS)[:limit]:
        row = {name: memory[name] for name in ("id", "user_id", "memory_type", "created_at")}
        if rule == "duplicate":
            row["replaced_by"] = winners.get(memory["id"])
        text = next(filter(None, map(excerpt, iter_texts(memory))), "") if rule == "secret" else mask(memory["content"])
        yield row | {"content": truncate(text, MAX_BEGINNING)}
