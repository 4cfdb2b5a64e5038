"""`manage.py maintain`: do what is due in the database, name the rest, and say how healthy it is."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError
from pydantic_core import to_json

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.maintenance.findings import Severity
from memory_site.operations.maintenance.indexes import IndexRefused, find_index
from memory_site.operations.maintenance.page_check import check_pages as read_every_page
from memory_site.operations.maintenance.run import (
    MaintenanceRefused,
    State,
    plan_steps,
    rebuild_index,
    refuse_citus,
    run_maintenance,
)
from memory_site.operations.models import MaintenanceReport
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_FAILED, EXIT_USAGE_ERROR, FORMATS
from sessions_app.long_commands import LongCommand

Steps = Iterator[tuple[int, int, MaintenanceReport]]


class Command(LongCommand):
    help = (
        "Vacuum and analyze where due, mend invalid indexes, and name what else is wrong with the command that mends "
        "it. Reads and writes go on. Exit code 3 if a problem is left. A worker does it every week."
    )
    item_name = "steps"
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        modes = parser.add_mutually_exclusive_group()
        modes.add_argument("--dry-run", action="store_true", help="only say what would be done")
        modes.add_argument("--check-pages", action="store_true", help="instead, read every page and name damaged ones")
        modes.add_argument("--reindex", metavar="INDEX", help="instead, rebuild this index while it is used")
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def handle(self, *, dry_run: bool, check_pages: bool, reindex: str | None, format: str, **_: Any) -> None:
        try:
            refuse_citus()
            if reindex:
                self.reindex(reindex)
            elif dry_run:
                self.report(describe_state(), format)
            else:
                self.run(format, check_pages=check_pages)
        except IndexRefused as error:
            raise CommandError(str(error), returncode=EXIT_USAGE_ERROR) from None
        except (AlreadyRunning, MaintenanceRefused) as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None

    def run(self, format: str, *, check_pages: bool) -> None:
        report = self.check_pages() if check_pages else self.follow(run_maintenance())
        self.report({key: getattr(report, key) for key in ("score", "parts", "done", "findings")}, format)
        if check_pages:  # damage has raised
            self.stderr.write("No page that was read is damaged.")

    def check_pages(self) -> MaintenanceReport:
        self.item_name, self.interruption_advice = "MB", "Run it again from the beginning."
        return self.follow(read_every_page())

    def follow(self, steps: Steps) -> MaintenanceReport:
        """Show the progress of a run. Return its finished report."""
        with self.show_progress(0):
            for done, total, report in steps:
                self.set_total(total)
                self.advance(done - self.done)
                last = report
        return last

    def reindex(self, name: str) -> None:
        index = find_index(name)
        rebuild_index(index)
        self.stdout.write(f"{index.name} on {index.table} is built again.")

    def report(self, state: dict[str, Any], format: str) -> None:
        if format == "table":
            self.print_state(state)
        else:
            self.stdout.write(to_json(state, indent=2 if format == "json" else None).decode())
        problems = [each for each in state["findings"] if each["severity"] == Severity.PROBLEM]
        if problems:
            raise CommandError(f"{len(problems)} problems are left.", returncode=EXIT_CHECK_FAILED)

    def print_state(self, state: dict[str, Any]) -> None:
        self.stdout.write(f"Health score: {state['score']} of 100\n\n")
        self.print_table([format_part(part) for part in state["parts"]])
        for title, key in (("Would be done", "due"), ("Done", "done"), ("Found", "findings")):
            if state.get(key):
                self.stdout.write(f"\n{title}\n\n")
                self.print_table(state[key])


def describe_state() -> dict[str, Any]:
    """Return the score, what a run would do, and what it would only name."""
    state = State()
    score = state.compute_score()
    return {
        "score": score.total,
        "parts": [part.as_dict() for part in score.parts],
        "due": [step.as_dict() for step in plan_steps()],
        "findings": [finding.as_dict() for finding in state.find_faults()],
    }


def format_part(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the score as a row; what improves it only where points are missing."""
    points = "-" if part["points"] is None else f"{part['points']:g} of {part['weight']}"
    is_whole = part["points"] in (None, part["weight"])
    return {
        "part": part["name"],
        "points": points,
        "value": part["value"],
        "improve": "" if is_whole else part["improve"],
    }
