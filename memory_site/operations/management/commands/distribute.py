"""`manage.py distribute`: divide the tables by namespace."""

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
    free_coordinator,
    list_tables_to_distribute,
    store_cluster_settings,
)
from sessions_app.commands import EXIT_CHECK_FAILED
from sessions_app.long_commands import LongCommand


class Command(LongCommand):
    help = (
        "Distribute the tables by namespace over the nodes of a Citus cluster. Stop the site first. A run that is "
        "interrupted changes nothing; a run after an upgrade distributes what the release added."
    )
    item_name = "tables"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say what stands in the way; change nothing")

    def handle(self, *, check: bool, **options: object) -> None:
        if obstacles := find_cluster_obstacles():
            raise CommandError("\n".join(obstacles), returncode=EXIT_CHECK_FAILED)
        if check:
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
        free_coordinator(tables)
        self.report_nodes()

    def report_nodes(self) -> None:
        for node in list_nodes():
            if node.has_shards:
                self.stdout.write(f"{node.address}: {node.namespaces} namespaces")
