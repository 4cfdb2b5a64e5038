"""`manage.py doctor`: what is wrong, and the one command that mends it."""

import sys
from argparse import ArgumentParser

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from memory_site.embedded.running_site import ensure_services_for_command
from memory_site.operations.health import Component, HealthStatus, check_components
from sessions_app.commands import EXIT_CHECK_FAILED, FORMATS, MemoryCommand


class Command(MemoryCommand):
    help = "Say what is wrong and how to mend it. Exit code 0 when nothing is, 3 otherwise."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def execute(self, *args: object, **options: object) -> object:
        # Whatever keeps the services from starting is a finding here, not a failure.
        return BaseCommand.execute(self, *args, **options)

    def handle(self, *, format: str, **options: object) -> None:
        components = [check_python(), *self.parts()]
        rows = [component.as_dict() for component in components]
        self.print_rows([{key: row[key] for key in ("name", "status", "message", "mend")} for row in rows], format)
        ill = [component for component in components if component.status]
        if ill:
            raise CommandError(f"{len(ill)} of {len(components)} need attention.", returncode=EXIT_CHECK_FAILED)

    def parts(self) -> list[Component]:
        try:
            with ensure_services_for_command():
                return check_components()
        except ImproperlyConfigured as error:
            return [Component("services", HealthStatus.UNHEALTHY, str(error), "see the message")]


def check_python() -> Component:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Component("python", HealthStatus.HEALTHY, f"Python {version}")
