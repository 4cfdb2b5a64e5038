#!/usr/bin/env python3
"""Django's command line for Memory Site."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # Wrong settings are the operator's to mend: the sentences, not a traceback.
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
