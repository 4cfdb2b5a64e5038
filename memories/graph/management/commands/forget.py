"""`manage.py forget`: delete memories by user, type or age, everything about a user, or whole namespaces."""

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError

from memories.jobs.actions.delete import Delete
from memories.jobs.create import create_job
from memories.jobs.run import run_to_end
from memories.memory_types import MemoryType
from memories.models import Memory, MemoryQuerySet
from memories.search.list_filters import ListFilters
from memories.search.selection import Selection
from memories.states import State
from memories.users import statistics
from memories.users.erasure import (
    collect_namespace_rows,
    count_rows,
    count_user_rows,
    erase,
    erase_namespace,
    record_erasure,
)
from memory_site.core.db.actor import get_actor
from sessions_app.commands import (
    EXIT_USAGE_ERROR,
    MemoryCommand,
    add_namespace_argument,
    get_namespace,
    make_printable,
    parse_age,
)
from sessions_app.confirmation import add_confirmation_argument, confirm_deletion
from sessions_app.models import Namespace

NOTHING_SELECTED_MESSAGE = (
    "Select what to delete: --user, --type, --older-than (they combine), --memories or --everything."
)
REQUESTED_BY = "command line"
NOTED_MESSAGE = "It is noted: what an earlier backup has of this user is erased when the backup is restored."
EXCLUSIVE_OPTIONS_MESSAGE = "--everything and --memories cannot be combined with other options."
ALL_NAMESPACES_MESSAGE = "--all-namespaces needs --everything or --memories."
ALL_NAMESPACES = "all namespaces"


@dataclass
class DeletionPlan:
    """The numbers of rows by kind, and the function that deletes them."""

    counts: dict[str, int]
    execute: Callable[[], object]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def join_plans(plans: dict[str, DeletionPlan]) -> DeletionPlan:
    """Return the plan of all, by the namespace's name and kind; each namespace goes by itself."""
    counts = {
        f"{kind} in {make_printable(name)}": number
        for name, plan in plans.items()
        for kind, number in plan.counts.items()
    }
    return DeletionPlan(counts, lambda: [plan.execute() for plan in plans.values() if plan.total])


class Command(MemoryCommand):
    help = (
        "Count, ask and delete. --user alone erases everything about that user: memories, conversations, sessions and "
        "more. With --older-than, memories tagged preserve or important stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("--user")
        parser.add_argument("--type", choices=[kind.value for kind in MemoryType], metavar="TYPE")
        parser.add_argument("--older-than", metavar="AGE", help="for example 90d, 12h or 2w")
        parser.add_argument("--memories", action="store_true", help="all memories of the namespace")
        parser.add_argument("--everything", action="store_true", help="all rows of the namespace except its API keys")
        parser.add_argument(
            "--all-namespaces", action="store_true", help="with --everything or --memories: of every namespace"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count")
        add_confirmation_argument(parser)

    def handle(self, *, namespace: str, dry_run: bool, yes_delete: int | None, **options: Any) -> None:
        if options["all_namespaces"]:
            target = f"the words {ALL_NAMESPACES}", ALL_NAMESPACES
            plan = build_plan_of_all(options)
        else:
            owner = get_namespace(namespace)
            target = f"the namespace's name, {owner.name}", owner.name
            plan = build_plan(owner.pk, options)
        for kind, number in plan.counts.items():
            self.stdout.write(f"{number:>12,}  {kind.replace('_', ' ')}")
        if not plan.total:
            self.stdout.write("There is nothing to delete.")
            if (
                not options["all_namespaces"]
                and options["user"]
                and not (options["type"] or options["older_than"] or dry_run)
            ):
                record_erasure(owner.pk, options["user"], REQUESTED_BY, {})
                self.stderr.write(NOTED_MESSAGE)
        elif dry_run:
            self.stdout.write(f"{plan.total:,} rows would be deleted.")
        else:
            confirm_deletion(*target, plan.total, yes_delete)
            plan.execute()
            statistics.refresh_statistics_view()
            self.stdout.write("Deleted.")


def build_plan_of_all(options: dict[str, Any]) -> DeletionPlan:
    """Build the plan of these options for every namespace. Raises CommandError."""
    if not (options["everything"] or options["memories"]):
        raise CommandError(ALL_NAMESPACES_MESSAGE, returncode=EXIT_USAGE_ERROR)
    return join_plans({owner.name: build_plan(owner.pk, options) for owner in Namespace.objects.order_by("name")})


def build_plan(namespace_id: int, options: dict[str, Any]) -> DeletionPlan:
    """Build the plan of these options. Raises CommandError when they select nothing, or exclude each other."""
    user, kind, age = options["user"], options["type"], options["older_than"]
    selections = [options["everything"], options["memories"], user or kind or age]
    if sum(map(bool, selections)) != 1:
        message = EXCLUSIVE_OPTIONS_MESSAGE if any(selections[:2]) else NOTHING_SELECTED_MESSAGE
        raise CommandError(message, returncode=EXIT_USAGE_ERROR)
    if options["everything"]:
        return DeletionPlan(count_rows(collect_namespace_rows(namespace_id)), lambda: erase_namespace(namespace_id))
    if user and not (kind or age):
        return DeletionPlan(count_user_rows(namespace_id, user), lambda: erase(namespace_id, user, REQUESTED_BY))
    rows = Memory.objects.filter(namespace_id=namespace_id)
    rows = rows.filter(user_id=user) if user else rows
    rows = rows.filter(memory_type=kind) if kind else rows
    if age:
        rows = rows.stale(parse_age(age))
        return DeletionPlan(count_rows({"memories": rows}), rows.delete)
    filters = ListFilters.model_validate({"user_id": user, "memory_types": [kind] if kind else None})
    return DeletionPlan(count_rows({"memories": rows}), lambda: delete_by_job(namespace_id, filters, rows))


def delete_by_job(namespace_id: int, filters: ListFilters, rows: MemoryQuerySet) -> None:
    """Delete memories of every state by a job, which locks a few at a time and can be undone; then the expired ones,
    which no job sees."""
    selection = Selection(namespace_id, filters.model_copy(update={"states": list(State)}))
    run_to_end(create_job(namespace_id, Delete.name, {}, selection, get_actor().name))
    rows.expired().delete()
