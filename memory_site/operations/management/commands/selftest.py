"""`manage.py selftest`: try on a scratch site what must never happen."""

import signal
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from memory_site.embedded.broker import find_binary
from memory_site.embedded.data_dir import DataDirectoryError
from memory_site.embedded.postgres import find_bin_directory
from memory_site.operations.selftest.backups import run_backups
from memory_site.operations.selftest.faults import OnStep, run_faults
from memory_site.operations.selftest.isolation import run_isolation
from memory_site.operations.selftest.report import Finding
from memory_site.operations.selftest.scratch_site import SiteFailed
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_FAILED, FORMATS, MemoryCommand

SELFTESTS: dict[str, Callable[[bool, OnStep], Iterator[Finding]]] = {
    "faults": run_faults,
    "isolation": run_isolation,
    "backups": run_backups,
}
EXIT_INTERRUPTED = 130


class Command(MemoryCommand):
    help = (
        "Try on a scratch site, which is thrown away, what must never happen: faults (parts are killed, nothing "
        "acknowledged is lost), isolation (no namespace sees another one), backups (a damaged one is found). The site "
        "of this directory is not touched. Exit code 0 if every figure is 0, 3 otherwise."
    )
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("subject", choices=SELFTESTS)
        parser.add_argument("--short", action="store_true", help="the essential trials, in about two minutes")
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def execute(self, *args: Any, **options: Any) -> str | None:
        # The services of this directory's site are not needed, and not started.
        return BaseCommand.execute(self, *args, **options)

    def handle(self, *, subject: str, short: bool, format: str, **options: object) -> None:
        started = time.monotonic()
        findings = self.run(subject, short)
        self.print_rows([finding.as_row() for finding in findings], format)
        failed = sum(not finding.passed for finding in findings)
        if failed:
            message = f"{failed} of {len(findings)} trials failed: keep the output, and report it."
            raise CommandError(message, returncode=EXIT_CHECK_FAILED)
        self.stderr.write(f"All {len(findings)} trials passed in {time.monotonic() - started:.0f} s.")

    def run(self, subject: str, short: bool) -> list[Finding]:
        """Run one self-test; a signal ends it after the scratch site is removed."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            find_bin_directory(), find_binary()
            return list(SELFTESTS[subject](short, self.report_step))
        except (DataDirectoryError, SiteFailed) as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; the scratch site is removed.", returncode=EXIT_INTERRUPTED) from None

    def report_step(self, step: str) -> None:
        self.stderr.write(f"{step} …", lambda text: text)
        self.stderr.flush()
