"""`manage.py run_searches`: run the test searches of a namespace; exit code 3 when an expected memory is missing."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from memories.bench.checks import Result, run_test_searches
from sessions_app.commands import EXIT_CHECK_FAILED, ListingCommand, get_namespace

NONE_YET = "This namespace has no test searches. They are saved on the console's page Memory › Search bench."


class Command(ListingCommand):
    help = "Run the saved test searches: which expected memories are found, at which place. Exits 3 if one is missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--failed", action="store_true", help="print only what is missing")

    def handle(self, *, namespace: str, failed: bool, format: str, **options: object) -> None:
        results = list(run_test_searches(get_namespace(namespace)))
        if not results:
            self.stderr.write(NONE_YET)
            return
        rows = [row for result in results for row in list_rows(result)]
        self.print_rows([row for row in rows if not failed or row["place"] is None], format)
        passed = sum(result.passed for result in results)
        self.stderr.write(f"{passed} of {len(results)} test searches found all that they must find.")
        if passed < len(results):
            sys.exit(EXIT_CHECK_FAILED)


def list_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Return a row for each expected memory; `place` is None when it was not found."""
    for expected in result.expected:
        problem = result.problem or ("" if expected.words is not None else "the memory is gone")
        yield {
            "search": result.search.name,
            "expected": str(expected.id),
            "place": expected.place,
            "words": expected.words,
            "problem": problem,
        }
