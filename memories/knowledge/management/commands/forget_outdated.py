"""`manage.py forget_outdated`: list or delete outdated memories, and have them deleted every night."""

from argparse import ArgumentParser

from django.core.management.base import CommandError
from django.db.models import F

from memories.knowledge.retention import forget_outdated
from memories.models import LAST_USED, Memory, MemoryQuerySet
from sessions_app.commands import EXIT_USAGE_ERROR, FORMATS, MemoryCommand, get_namespace
from sessions_app.models import Namespace
from sessions_app.namespaces import for_each_namespace

LISTED_COLUMNS = ("id", "namespace", "tonight", "last used", "importance", "content")


class Command(MemoryCommand):
    help = (
        "Delete memories of LOW importance or less that were used less than three times, and neither stored, changed, "
        "found by a search nor used for 90 days. Memories tagged preserve or important, or with metadata.important, "
        "stay. A nightly task does the same in the namespaces where --nightly on was said."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all")
        parser.add_argument("--nightly", choices=["on", "off"], help="switch the nightly task in --namespace; no more")
        parser.add_argument("--dry-run", action="store_true", help="only list, and say which ones go tonight")
        parser.add_argument("--limit", type=int, default=100, help="how many to list (default: 100)")
        parser.add_argument("--format", choices=FORMATS, default="table", help="of the list (default: table)")

    def handle(
        self, *, namespace: str | None, nightly: str | None, dry_run: bool, limit: int, format: str, **options: object
    ) -> None:
        if nightly is not None:
            self.switch_nightly(namespace, nightly == "on")
            return
        namespaces = Namespace.objects.all() if namespace is None else [get_namespace(namespace)]
        if dry_run:
            rows = Memory.objects.alive().filter(namespace__in=namespaces)
            self.list_outdated(rows.outdated(), max(limit, 0), format)
        else:
            total = for_each_namespace(forget_outdated, [each.pk for each in namespaces])
            self.stdout.write(f"{total} memories were forgotten.")

    def switch_nightly(self, namespace: str | None, on: bool) -> None:
        if namespace is None:
            raise CommandError("--nightly needs --namespace.", returncode=EXIT_USAGE_ERROR)
        Namespace.objects.filter(pk=get_namespace(namespace).pk).update(forgets_outdated=on)
        state = "are deleted every night" if on else "are not deleted by themselves"
        self.stdout.write(f"Outdated memories of {namespace} {state}.")

    def list_outdated(self, outdated: MemoryQuerySet, limit: int, output_format: str) -> None:
        tonight = outdated.filter(namespace__forgets_outdated=True).count()
        listed = outdated.annotate(last_used=LAST_USED).order_by("last_used", "pk")
        columns = listed.values_list(
            "pk", "namespace__name", F("namespace__forgets_outdated"), "last_used", "importance", "content"
        )
        self.print_rows([dict(zip(LISTED_COLUMNS, row, strict=True)) for row in columns[:limit]], output_format)
        self.stderr.write(f"{outdated.count()} memories would be forgotten; the nightly task forgets {tonight}.")
