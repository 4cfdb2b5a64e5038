"""`manage.py mcp`: the MCP server of a running site for clients that start programs, by standard input and output."""

import sys
from argparse import ArgumentParser, Namespace

from django.core.management.base import BaseCommand

from memory_client import mcp_stdio
from memory_site.embedded.running_site import find_running_site


class Command(BaseCommand):
    help = "Pass messages of the Model Context Protocol from standard input to the site, and its answers back."

    # It needs no database, and the client waits for the first answer.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        mcp_stdio.add_arguments(parser, find_running_site())

    def handle(self, **options: object) -> None:
        sys.exit(mcp_stdio.run(Namespace(**options)))
