"""`manage.py workflow_report`: executions of workflows by adapter, agent and repository."""

from argparse import ArgumentParser, ArgumentTypeError

from ingestion.workflows import DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, fetch_report
from sessions_app.commands import ListingCommand, get_namespace


def parse_days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_REPORT_DAYS):
        raise ArgumentTypeError(f"must be a number from 1 to {MAX_REPORT_DAYS}")
    return int(text)


class Command(ListingCommand):
    help = "Report the executions of workflows by adapter, agent and repository, the latest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--days", type=parse_days, default=DEFAULT_REPORT_DAYS, help="period in days (default: %(default)s)"
        )

    def handle(self, *, namespace: str, days: int, format: str, **options: object) -> None:
        self.print_rows(fetch_report(get_namespace(namespace).pk, days), format)
