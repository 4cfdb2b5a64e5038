#!/usr/bin/env python3
"""Django's command line for Memory Site."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from memory_site.embedded.running_site import ensure_services_for_command

# Django's commands that need the database; those of this project start it themselves.
DATABASE_COMMANDS = {"changepassword", "createsuperuser", "dumpdata", "loaddata", "migrate", "shell", "showmigrations"}


def embedded_services_for(command: str) -> AbstractContextManager:
    """Provide the embedded services to a command that needs them, unless they run already."""
    return ensure_services_for_command() if command in DATABASE_COMMANDS else nullcontext()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
    try:
        with embedded_services_for("".join(sys.argv[1:2])):
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # Wrong settings are for the operator to fix: sentences, not a traceback.
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
