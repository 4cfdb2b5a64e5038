"""`manage.py delete_expired`: delete expired memories."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError

from memories.expiry import ClocksDiffer, ExpiredCount, check_clocks, count_expired, delete_batches
from memories.models import Memory
from sessions_app.commands import EXIT_FAILED, FORMATS, get_namespace
from sessions_app.confirmation import add_confirmation_argument, confirm_deletion
from sessions_app.long_commands import LongCommand
from sessions_app.namespaces import Failures, NamespacesFailed


class Command(LongCommand):
    help = (
        "Delete expired memories. An hourly task does the same; no read has seen them since they expired. Asks before "
        "it deletes more than 10,000 of a namespace, or 1,000 that are more than a fifth of one."
    )
    item_name = "memories"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="only this namespace; default: all")
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")
        parser.add_argument("--format", choices=FORMATS, help="list the namespaces; default: one sentence")
        add_confirmation_argument(parser)

    def handle(
        self, *, namespace: str | None, dry_run: bool, format: str | None, yes_delete: int | None, **options: object
    ) -> None:
        counts = count_expired(None if namespace is None else get_namespace(namespace).pk)
        if not dry_run:
            self.confirm(counts, yes_delete)
        deleted = {} if dry_run else self.delete(counts)
        if format is None:
            self.stdout.write(build_sentence(counts, deleted, dry_run))
        else:
            self.print_rows([build_row(each, deleted) for each in counts], format)

    def confirm(self, counts: Sequence[ExpiredCount], yes_delete: int | None) -> None:
        """Raise CommandError if the clocks differ, or if much would be deleted without a confirmation."""
        try:
            check_clocks()
        except ClocksDiffer as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from error
        much = ", ".join(
            f"{each.expired:,} of {each.memories:,} in {each.namespace}" for each in counts if each.is_much
        )
        total = sum(each.expired for each in counts)
        if much:
            self.messages.print(f"Much has expired: {much}.")
        if much or yes_delete is not None:
            confirm_deletion("delete", "delete", total, yes_delete)

    def delete(self, counts: Sequence[ExpiredCount]) -> dict[int, int]:
        """Return how many were deleted, by namespace. Raises CommandError at the end if some could not be served."""
        deleted: Counter[int] = Counter()
        failures = Failures("Deletion")
        with self.show_progress(sum(each.expired for each in counts)):
            for each in counts:
                with failures.expected(each.namespace_id):
                    for number in delete_batches(each.namespace_id):
                        deleted[each.namespace_id] += number
                        self.advance(number)
        try:
            failures.raise_if_any()
        except NamespacesFailed as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from error
        return deleted


def build_row(each: ExpiredCount, deleted: Mapping[int, int]) -> dict[str, Any]:
    return {
        "namespace": each.namespace,
        "memories": each.memories,
        "expired": each.expired,
        "deleted": deleted.get(each.namespace_id, 0),
    }


def build_sentence(counts: Sequence[ExpiredCount], deleted: Mapping[int, int], dry_run: bool) -> str:
    if dry_run:
        return f"{sum(each.expired for each in counts):,} memories would be deleted."
    left = Memory.objects.filter(namespace__in=[each.namespace_id for each in counts]).expired().count()
    rest = f", {left:,} are in use, or expired meanwhile, and left for the next run" if left else ""
    return f"{sum(deleted.values()):,} memories were deleted{rest}."
