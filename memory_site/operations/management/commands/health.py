"""`manage.py health`: the status of every component."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from memory_site.operations.health.results import HealthStatus, worst_status
from memory_site.operations.health.runner import check_components_in_processes
from sessions_app.commands import EXIT_CHECK_FAILED, FORMATS, MemoryCommand


class Command(MemoryCommand):
    help = "Show the status of every component. Exit code 0 if all are healthy, 3 otherwise."
    needs_fitting_release = False
    max_cell_length = None  # the end of a message may name what is missing

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def handle(self, *, format: str, **options: object) -> None:
        components = check_components_in_processes()
        rows = [component.as_dict() for component in components]
        self.print_rows(
            [{key: row[key] for key in ("name", "status", "message", "latency_ms")} for row in rows], format
        )
        if worst_status(components) is not HealthStatus.HEALTHY:
            raise CommandError(worst_status(components).name.lower(), returncode=EXIT_CHECK_FAILED)
