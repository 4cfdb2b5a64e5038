"""`manage.py pitr`: the database of any time, from base backups and the archive of its log."""

import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from memory_site.embedded.data_dir import DataDirectory, DataDirectoryError, DataDirectoryInUse
from memory_site.embedded.postgres import MB, Postgres
from memory_site.embedded.running_site import ensure_services_for_command, find_running_site
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.backups.folder import get_directory
from memory_site.operations.commands import RecoveryCommand
from memory_site.operations.erasures.carry import carry_erasures
from memory_site.operations.pitr.archive_check import find_damage, force_segment, measure_archive
from memory_site.operations.pitr.base_backup import take_base
from memory_site.operations.pitr.drill import run_drill
from memory_site.operations.pitr.enabling import (
    continue_timeline,
    disable,
    is_archiving,
    prepare_archive,
    restart_served_database,
)
from memory_site.operations.pitr.exclusive import exclusive_work
from memory_site.operations.pitr.facts import get_pitr_facts
from memory_site.operations.pitr.problems import PitrProblem, UsageProblem
from memory_site.operations.pitr.recovery import Plan, Recovery
from memory_site.operations.pitr.repository import Repository
from memory_site.operations.pitr.restore import Restored, check_target, replace_database, restore_beside
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.server import connect_superuser, read_max_wal_bytes, read_position
from memory_site.operations.pitr.status import build_status_rows
from sessions_app.commands import EXIT_CHECK_FAILED, FORMATS, get_first_line

OWN_SERVER = (
    "`pitr` works in embedded mode. Your own PostgreSQL is archived by pgBackRest or Barman: "
    "see docs/operations/point-in-time-recovery.md."
)
NOT_ENABLED = "Recovery to a moment is not enabled: run `manage.py pitr enable`."
LATEST = "latest"
#: Seconds for the last of the log to reach the archive before a recovery; what does not is taken from the server's own.
LAST_SEGMENT_SECONDS = 20
DEFAULT_MAX_WAITING_MB, DEFAULT_ARCHIVE_TIMEOUT, DEFAULT_KEEP_BASES = 4096, 300, 2


class Command(RecoveryCommand):
    help = "Recover the database of any time: base backups and an archive of the write-ahead log (embedded mode)."
    usage_problems = (UsageProblem,)
    problems = (PitrProblem, DataDirectoryError, *RecoveryCommand.problems)
    place = "The archive"
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(
            dest="verb", required=True, metavar="enable|disable|base|status|check|restore|drill"
        )
        enable = verbs.add_parser("enable", help="archive the log from now on, and make the first base backup")
        enable.add_argument("--max-waiting-mb", type=int, default=DEFAULT_MAX_WAITING_MB, metavar="N")
        enable.add_argument("--archive-timeout", type=int, default=DEFAULT_ARCHIVE_TIMEOUT, metavar="SECONDS")
        enable.add_argument("--keep-bases", type=int, default=DEFAULT_KEEP_BASES, metavar="N")
        verbs.add_parser("disable", help="archive nothing more; what is archived stays")
        verbs.add_parser("base", help="make a base backup now")
        status = verbs.add_parser("status", help="show what can be recovered")
        status.add_argument("--format", choices=FORMATS, default="table", help="default: table")
        check = verbs.add_parser("check", help="force a segment through the archive, and read all that it holds")
        check.add_argument("--quick", action="store_true", help="only force a segment through")
        restore = verbs.add_parser("restore", help="recover the database of a time")
        restore.add_argument("--to", required=True, metavar="TIME", help="such as 2026-11-30T10:15:00Z, or `latest`")
        place = restore.add_mutually_exclusive_group(required=True)
        place.add_argument("--target", type=Path, metavar="DIR", help="into a new directory")
        place.add_argument("--replace", action="store_true", help="in the place of the database; the site must not run")
        verbs.add_parser("drill", help="store, delete, recover beside the server, compare, throw away")

    def provide_services(self) -> AbstractContextManager[None]:
        return nullcontext()  # `restore` works when the database does not

    def handle(self, *, verb: str, **options: Any) -> None:
        if not settings.EMBEDDED:
            raise CommandError(OWN_SERVER)
        self.home: DataDirectory = settings.HOME
        handlers: dict[str, Callable[..., None]] = {
            "enable": self.enable,
            "disable": self.disable,
            "base": self.take_base,
            "status": self.print_status,
            "check": self.check_archive,
            "restore": self.restore,
            "drill": self.drill,
        }
        self.interruption_advice = "Nothing was changed." if verb == "restore" else "Run it again."
        handlers[verb](options)

    def report(self, text: str) -> None:
        self.stderr.write(text, lambda text: text)
        self.stderr.flush()

    def require_settings(self) -> ArchiveSettings:
        stored = ArchiveSettings.read(self.home)
        if stored is None or not stored.enabled:
            raise PitrProblem(NOT_ENABLED)
        return stored

    def enable(self, options: dict[str, Any]) -> None:
        check_options(options)
        with ensure_services_for_command(), connect_superuser(self.home) as connection:
            stored = self.store_settings(connection, options)
            archives = is_archiving(connection)
        if not archives and find_running_site():
            self.report("Restarting PostgreSQL; requests get 503 for a moment")
            restart_served_database(self.home)
        with ensure_services_for_command():  # a server of this command starts again with the stored settings
            self.require_archiving()
            arrival = force_segment(self.home, Repository(Path(stored.archive)))
            self.stdout.write(
                f"The log is archived in {stored.archive} ({arrival.segment} took {arrival.seconds:.1f} s)."
            )
            self.make_base(stored)

    def require_archiving(self) -> None:
        with connect_superuser(self.home) as connection:
            if not is_archiving(connection):
                raise PitrProblem("Another command uses the database: repeat this when it has ended.")

    def store_settings(self, connection: psycopg.Connection, options: dict[str, Any]) -> ArchiveSettings:
        position = read_position(connection)
        archive = get_archive_directory()
        prepare_archive(self.home, archive, position.system_identifier)
        continue_timeline(archive, position.segment.timeline)
        stored = ArchiveSettings(
            enabled=True,
            archive=str(archive),
            system_identifier=position.system_identifier,
            max_waiting_bytes=options["max_waiting_mb"] * MB,
            max_wal_bytes=read_max_wal_bytes(connection),
            archive_timeout=options["archive_timeout"],
            keep_bases=options["keep_bases"],
        )
        stored.write(self.home)
        return stored

    def disable(self, options: dict[str, Any]) -> None:
        if not disable(self.home):
            raise PitrProblem(NOT_ENABLED)
        self.stdout.write("Nothing more is archived. The archive stays: what it holds can still be recovered.")

    def take_base(self, options: dict[str, Any]) -> None:
        stored = self.require_settings()
        with ensure_services_for_command():
            self.make_base(stored)

    def make_base(self, stored: ArchiveSettings) -> None:
        self.item_name = "MB"
        with exclusive_work(self.home), self.show_progress(0):
            base = take_base(self.home, stored, self.show_base_progress)
        size = base.manifest["size"] // MB
        self.stdout.write(
            f"{base.name}: {size:,} MB, checked. Times from {base.written_at.isoformat()} can be recovered."
        )

    def show_base_progress(self, done: int, total: int) -> None:
        self.set_total(total // MB)
        self.advance(done // MB - self.done)

    def print_status(self, options: dict[str, Any]) -> None:
        facts = get_pitr_facts()
        self.print_rows(build_status_rows(facts), options["format"])
        if facts.enabled and (
            facts.lost_since_base or not facts.windows or (facts.archiver and facts.archiver.failing)
        ):
            raise CommandError("Recovery to a moment needs attention.", returncode=EXIT_CHECK_FAILED)

    def check_archive(self, options: dict[str, Any]) -> None:
        stored = self.require_settings()
        repository = Repository(Path(stored.archive))
        with ensure_services_for_command():
            arrival = force_segment(self.home, repository)
            self.stdout.write(f"{arrival.segment} was archived and read back in {arrival.seconds:.1f} s.")
        if not options["quick"]:
            self.read_archive(repository)

    def read_archive(self, repository: Repository) -> None:
        self.item_name = "MB"
        damage: list[str] = []
        read = 0

        def advance(size: int) -> None:
            nonlocal read
            read += size
            self.advance(read // MB - self.done)

        with self.show_progress(measure_archive(repository) // MB):
            damage.extend(find_damage(repository, advance))
        if damage:
            lines = "\n".join(damage)
            raise CommandError(
                f"{lines}\n{len(damage)} files are not as they were written.", returncode=EXIT_CHECK_FAILED
            )
        self.stdout.write("Every file of the archive is as it was written.")

    def restore(self, options: dict[str, Any]) -> None:
        time = parse_time(options["to"])
        recovery = Recovery(self.home, self.find_archive(), self.report)
        if options["target"]:
            check_target(recovery, options["target"])
        with self.reserve(options["replace"]):
            plan = recovery.plan(time, self.finish_log(recovery, options["replace"]))
            self.report(f"Recovering {plan.window.base.name} to {options['to']}")
            self.item_name = "segments of the log"
            with self.show_progress(plan.segments):
                restored = self.run_restore(recovery, plan, options)
        self.print_restored(restored, options)

    def find_archive(self) -> Path:
        """Return the archive, also when the data directory that wrote it is lost."""
        stored = ArchiveSettings.read(self.home)
        archive = Path(stored.archive) if stored else get_archive_directory()
        if not archive.is_dir():
            raise PitrProblem(f"{archive} does not exist: there is nothing to recover from.")
        return archive

    @contextmanager
    def reserve(self, replace: bool) -> Iterator[None]:
        """Keep other recoveries out, and for a replacement the site too."""
        with ExitStack() as stack:
            if replace:
                try:
                    stack.enter_context(self.home.lock())
                except DataDirectoryInUse as error:
                    raise PitrProblem(f"{error} Stop it first. Nothing was changed.") from None
            self.home.prepare()
            stack.enter_context(exclusive_work(self.home))
            yield

    def finish_log(self, recovery: Recovery, replace: bool) -> Segment | None:
        """Have the server, if it can start, archive what it wrote last. Return the segment that it writes."""
        if not (self.home.path / "postgres").exists():
            return None
        try:
            with Postgres(self.home) if replace else ensure_services_for_command():
                force_segment(self.home, recovery.repository, LAST_SEGMENT_SECONDS)
                carry_erasures()
                with connect_superuser(self.home) as connection:
                    return read_position(connection).segment
        except (PitrProblem, DataDirectoryError, psycopg.Error, DatabaseError) as error:
            self.report(f"{get_first_line(error)} What is not archived is read from its own log.")
            return None

    def run_restore(self, recovery: Recovery, plan: Plan, options: dict[str, Any]) -> Restored:
        if options["replace"]:
            return replace_database(recovery, plan, self.advance)
        return restore_beside(recovery, plan, options["target"].absolute(), self.advance)

    def print_restored(self, restored: Restored, options: dict[str, Any]) -> None:
        recovered = restored.recovered
        last = recovered.last_transaction_at.isoformat() if recovered.last_transaction_at else "in the base backup"
        self.stdout.write(f"Recovered in {recovered.seconds:.1f} s; the last transaction: {last}.")
        if restored.erasures:
            self.stdout.write(f"{restored.erasures} erasures of later were repeated.")
        if options["target"]:
            self.stdout.write(f"It is in {options['target']}, and no server runs there.")
        if options["replace"] and not is_enabled(self.home):
            self.stdout.write("Nothing is archived here yet: run `manage.py pitr enable` when the site runs.")
        if restored.old_directory:
            self.stdout.write(
                f"The database before it is kept in {restored.old_directory}: delete it when you are sure."
            )

    def drill(self, options: dict[str, Any]) -> None:
        stored = self.require_settings()
        self.item_name = "segments of the log"
        with ensure_services_for_command(), exclusive_work(self.home):
            result = run_drill(self.home, stored, self.report)
        self.stdout.write(f"{result.tables} tables with {result.rows:,} rows, recovered in {result.seconds} s.")
        if not result.ok:
            raise CommandError(result.message, returncode=EXIT_CHECK_FAILED)
        self.stdout.write(result.message)


def is_enabled(home: DataDirectory) -> bool:
    stored = ArchiveSettings.read(home)
    return stored is not None and stored.enabled


def get_archive_directory() -> Path:
    return get_directory() / "pitr"


def check_options(options: dict[str, Any]) -> None:
    """Raise UsageProblem for a limit that makes no sense."""
    limits = {"max_waiting_mb": (16, 1 << 24), "archive_timeout": (10, 86_400), "keep_bases": (1, 100)}
    for name, (least, most) in limits.items():
        if not least <= options[name] <= most:
            raise UsageProblem(f"--{name.replace('_', '-')} must be from {least} to {most}.")


def parse_time(text: str) -> datetime | None:
    """Return the time, or None for `latest`. Raises UsageProblem."""
    if text == LATEST:
        return None
    try:
        time = datetime.fromisoformat(re.sub(r"\s+", "T", text.strip(), count=1))
    except ValueError:
        raise UsageProblem(f"{text!r} is no time: write it like 2026-11-30T10:15:00Z, or `latest`.") from None
    if time.tzinfo is None:
        raise UsageProblem(f"{text!r} has no offset: write {time.isoformat()}Z, or with an offset such as +02:00.")
    if time > datetime.now(UTC):
        raise UsageProblem(f"{text!r} is in the future.")
    return time
