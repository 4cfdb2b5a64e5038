"""`manage.py restore_trash`: bring deleted memories back."""

from argparse import ArgumentParser
from collections import Counter
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import QuerySet
from django.db.models.functions import Now
from pydantic import ValidationError

from memories import tasks
from memories.history.models import MemoryVersion
from memories.history.restore import MAX_BATCH, Restored, restore_deleted
from memories.history.trash import list_newest_ids, list_trash
from memories.memory_types import MemoryType
from memories.search.filters import Filters
from sessions_app.commands import EXIT_USAGE_ERROR, FORMATS, add_namespace_argument, get_namespace, parse_age
from sessions_app.long_commands import LongCommand

LISTED = 20
NOTHING_CHOSEN = "Say which memories: --user, --type, --deleted-within, --job, or --everything."


class Command(LongCommand):
    help = (
        "Bring deleted memories back from the trash, with their ids, relationships and tags. They are embedded again. "
        "Repeating it is harmless: what is there already stays as it is."
    )
    item_name = "memories"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("--user", help="only this user's")
        parser.add_argument("--type", choices=list(MemoryType), help="only of this type")
        parser.add_argument("--deleted-within", metavar="AGE", help="only what was deleted since: 2h, 3d, 1w")
        parser.add_argument("--job", type=UUID, help="only what this job deleted")
        parser.add_argument("--everything", action="store_true", help="all of the trash")
        parser.add_argument("--dry-run", action="store_true", help=f"only count, and list the last {LISTED} deleted")
        parser.add_argument("--format", choices=FORMATS, default="table", help="of what is printed (default: table)")

    def handle(self, *, namespace: str, dry_run: bool, format: str, **options: object) -> None:
        space = get_namespace(namespace).pk
        rows = select_rows(space, options)
        total = rows.count()
        self.stderr.write(f"{total:,} memories of the trash of {namespace} are meant.")
        if dry_run:
            self.print_rows(describe_rows(rows), format)
        else:
            self.print_rows([describe(self.restore(space, rows, total))], format)

    def restore(self, namespace_id: int, rows: QuerySet[MemoryVersion], total: int) -> Restored:
        """Restore in batches, the last deleted ones first. What cannot come back stays in the trash."""
        ids, restored = list_newest_ids(rows, total), Restored()
        with self.show_progress(total):
            for start in range(0, len(ids), MAX_BATCH):
                batch = ids[start : start + MAX_BATCH]
                restored += restore_deleted(namespace_id, batch)
                self.advance(len(batch))
        tasks.embedding_trigger.notify_on_commit()
        return restored


def select_rows(namespace_id: int, options: dict) -> QuerySet[MemoryVersion]:
    """Return the deletions that the options mean. Raises CommandError if they name no condition."""
    chosen = {name: options[name] for name in ("user", "type", "deleted_within", "job") if options[name] is not None}
    if bool(chosen) == bool(options["everything"]):
        raise CommandError(NOTHING_CHOSEN, returncode=EXIT_USAGE_ERROR)
    rows = list_trash(namespace_id, build_filters(chosen))
    if "deleted_within" in chosen:
        rows = rows.filter(changed_at__gte=Now() - parse_age(chosen["deleted_within"], "--deleted-within"))
    return rows.filter(job_id=chosen["job"]) if "job" in chosen else rows


def build_filters(chosen: dict) -> Filters:
    try:
        return Filters(user_id=chosen.get("user"), memory_types=[chosen["type"]] if "type" in chosen else None)
    except ValidationError as error:
        raise CommandError(f"--user {error.errors()[0]['msg']}", returncode=EXIT_USAGE_ERROR) from None


def describe_rows(rows: QuerySet[MemoryVersion]) -> list[dict]:
    return [
        {
            "id": row.memory_id,
            "deleted_at": row.changed_at,
            "deleted_by": row.changed_by,
            "user_id": row.user_id,
            "content": row.row["content"],
        }
        for row in rows.order_by("-changed_at", "-id")[:LISTED]
    ]


def describe(restored: Restored) -> dict:
    reasons = Counter(restored.left.values())
    left = "; ".join(f"{number:,}: {reason}" for reason, number in reasons.most_common())
    return {"restored": len(restored.ids), "existing": len(restored.there), "left": sum(reasons.values()), "why": left}
