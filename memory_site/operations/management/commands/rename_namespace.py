"""`manage.py rename_namespace OLD NEW`: give a namespace another name."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from memory_site.operations.namespaces.names import NamespaceProblem, rename_namespace
from sessions_app.commands import EXIT_FAILED, MemoryCommand, get_namespace, make_printable


class Command(MemoryCommand):
    help = "Give a namespace another name. Its API keys and rows stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("new_name")

    def handle(self, *, name: str, new_name: str, **options: object) -> None:
        namespace = get_namespace(name)
        try:
            rename_namespace(namespace, new_name)
        except NamespaceProblem as error:
            raise CommandError(f"{error} Nothing was changed.", returncode=EXIT_FAILED) from None
        self.stderr.write(f"{make_printable(name)} is called {make_printable(new_name)} now.")
