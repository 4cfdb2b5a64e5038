"""`manage.py workflow_report`: how workflows went, by adapter, agent and repository."""

from argparse import ArgumentParser, ArgumentTypeError

from ingestion.workflows import DAYS, LONGEST_DAYS, report
from sessions_app.commands import ListingCommand, namespace_named


def number_of_days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LONGEST_DAYS):
        raise ArgumentTypeError(f"must be a number from 1 to {LONGEST_DAYS}")
    return int(text)


class Command(ListingCommand):
    help = "Report the executions of workflows by adapter, agent and repository, the newest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--days", type=number_of_days, default=DAYS, help="default: %(default)s")

    def handle(self, *, namespace: str, days: int, format: str, **options: object) -> None:
        self.print_rows(report(namespace_named(namespace).pk, days), format)
