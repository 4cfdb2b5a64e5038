"""`manage.py dbshell`: psql on the site's database, with the services that it needs."""

import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from django.core.management.commands.dbshell import Command as DatabaseShell
from django.db.backends.postgresql.client import DatabaseClient

from memory_site.embedded.postgres import find_bin_directory
from memory_site.embedded.processes import NotInstalled
from memory_site.embedded.running_site import ensure_services_for_command


class Command(DatabaseShell):
    help = "Open psql on the database; what follows -- is psql's. An embedded server that is not running is started."

    def handle(self, **options: Any) -> None:
        DatabaseClient.executable_name = find_psql()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)
        with ensure_services_for_command():
            super().handle(**options)


def find_psql() -> str:
    """Return the bundled psql, which knows every server up to its own version, or the name of the system's."""
    with suppress(NotInstalled):
        bundled = find_bin_directory() / "psql"
        if bundled.exists():
            return str(bundled)
    return "psql"


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End psql and the services by an exception: without one, psql would outlive this process."""
    sys.exit(128 + number)
