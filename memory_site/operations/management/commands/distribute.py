"""`manage.py distribute`: divide the tables by namespace, over the nodes of Citus or into partitions."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from memory_site.core.db.cluster import list_nodes
from memory_site.core.db.setup_lock import setup_lock
from memory_site.operations.distribution.cluster_checks import find_cluster_obstacles
from memory_site.operations.distribution.distribute import (
    count_rows,
    distribute_tables,
    list_tables_to_distribute,
    store_cluster_settings,
)
from memory_site.operations.distribution.partitions import (
    MAX_PARTITIONS,
    CannotPartition,
    count_partitions,
    describe_size,
    find_obstacles,
    partition_tables,
)
from memory_site.operations.distribution.tables import LARGE_TABLES
from memory_site.operations.health.migrations import count_missing_migrations
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_USAGE_ERROR, NOT_MIGRATED
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace

OUT_OF_RANGE = f"--partitions must be 0, for plain tables, or from 2 to {MAX_PARTITIONS}."


class Command(LongCommand):
    help = (
        "Distribute the tables by namespace over the nodes of a Citus cluster; a run after an upgrade distributes what "
        "the release added. With --partitions divide memories, vectors and the embedding queue of one server instead. "
        "Stop the site first. A run that is interrupted changes nothing."
    )
    item_name = "tables"
    interruption_advice = "Nothing was changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say what stands in the way; change nothing")
        parser.add_argument(
            "--partitions", type=int, metavar="N", help="into how many partitions; 0 makes plain tables again"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done; like --check")

    def handle(self, *, check: bool, partitions: int | None, dry_run: bool, **options: object) -> None:
        if partitions is not None:
            self.partition(partitions, dry_run or check)
        else:
            self.divide_among_nodes(dry_run or check)

    def divide_among_nodes(self, dry_run: bool) -> None:
        if obstacles := find_cluster_obstacles():
            raise CommandError("\n".join(obstacles), returncode=EXIT_CHECK_FAILED)
        if dry_run:
            self.report_plan()
        else:
            self.distribute()

    def report_plan(self) -> None:
        tables = list_tables_to_distribute()
        rows = sum(count_rows(tables).values())
        self.stdout.write(f"Nothing stands in the way; {len(tables)} tables with {rows:,} rows are to be distributed.")
        self.report_nodes()

    def distribute(self) -> None:
        store_cluster_settings(settings.SERVER_SETTINGS)
        with setup_lock(), transaction.atomic():
            tables = list_tables_to_distribute()
            for _ in self.track_progress(distribute_tables(tables), len(tables)):
                pass
        self.report_nodes()

    def report_nodes(self) -> None:
        for node in list_nodes():
            if node.has_shards:
                self.stdout.write(f"{node.address}: {node.namespaces} namespaces")

    def partition(self, partitions: int, dry_run: bool) -> None:
        if partitions not in (0, *range(2, MAX_PARTITIONS + 1)):
            raise CommandError(OUT_OF_RANGE, returncode=EXIT_USAGE_ERROR)
        if count_missing_migrations():
            raise CommandError(NOT_MIGRATED, returncode=EXIT_CHECK_FAILED)
        tables = [table for table in LARGE_TABLES if count_partitions(table) != partitions]
        if not tables:
            self.stdout.write(f"Nothing to do: {describe(partitions)} already.")
            return
        try:
            self.rebuild(tables, partitions, dry_run)
        except CannotPartition as error:
            raise CommandError(f"{error}\nNothing was changed.", returncode=EXIT_CHECK_FAILED) from None

    def rebuild(self, tables: list[str], partitions: int, dry_run: bool) -> None:
        if obstacles := find_obstacles(tables):
            raise CannotPartition("\n".join(obstacles))
        if dry_run:
            self.report_partitions(tables, partitions)
            return
        self.item_name = "units of work"
        with setup_lock(), transaction.atomic():
            steps = partition_tables(tables, partitions)
            _, total = next(steps)
            with self.show_progress(total):
                for done, _ in steps:
                    self.advance(done - self.done)
        self.stdout.write(f"Done: {describe(partitions)}.")

    def report_partitions(self, tables: list[str], partitions: int) -> None:
        for table in tables:
            before, after = describe_table(count_partitions(table)), describe_table(partitions)
            self.stdout.write(f"{table} ({describe_size(table)}): {before} would become {after}")
        if partitions:
            self.stdout.write(f"{Namespace.objects.count():,} namespaces share the partitions; each is in one of them.")
        self.stdout.write("Free space for a second copy of these tables is needed. Nothing was changed.")


def describe(partitions: int) -> str:
    return f"the tables have {partitions} partitions each" if partitions else "the tables are not partitioned"


def describe_table(partitions: int) -> str:
    return f"{partitions} partitions" if partitions else "a plain table"
