"""`manage.py doctor`: what is wrong, and the command that fixes it."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from memory_site.embedded.running_site import ensure_services_for_command
from memory_site.operations.health.results import Component, HealthStatus
from memory_site.operations.health.runner import check_components_in_processes
from memory_site.operations.unknown_settings import find_unknown_settings
from sessions_app.commands import EXIT_CHECK_FAILED, FORMATS, MemoryCommand


class Command(MemoryCommand):
    help = "Show what is wrong and how to fix it. Exit code 0 if nothing is, 3 otherwise."
    max_cell_length = None  # the end of a message may name what is missing

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def execute(self, *args: Any, **options: Any) -> str | None:
        # An error at the start of the services is a finding here, not a failure.
        return BaseCommand.execute(self, *args, **options)

    def handle(self, *, format: str, **options: object) -> None:
        components = [check_python(), check_settings(), *self.check_services()]
        rows = [component.as_dict() for component in components]
        self.print_rows([{key: row[key] for key in ("name", "status", "message", "mend")} for row in rows], format)
        failing = [component for component in components if component.status]
        if failing:
            raise CommandError(f"{len(failing)} of {len(components)} need attention.", returncode=EXIT_CHECK_FAILED)

    def check_services(self) -> list[Component]:
        try:
            with ensure_services_for_command():
                return check_components_in_processes()
        except ImproperlyConfigured as error:
            return [Component("services", HealthStatus.UNHEALTHY, str(error), "see the message")]


def check_python() -> Component:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Component("python", HealthStatus.HEALTHY, f"Python {version}")


def check_settings() -> Component:
    if unknown := find_unknown_settings():
        message = " ".join(str(setting) for setting in unknown)
        return Component("settings", HealthStatus.DEGRADED, message, "rename or remove it; see docs/configuration.md")
    return Component("settings", HealthStatus.HEALTHY, "Every name is known.")
