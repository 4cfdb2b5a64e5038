"""`manage.py migrate`: Django's, one process at a time, and the server's settings with the database role."""

import time
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as PlainCommand
from django.db import Error, NotSupportedError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from memory_site.core.db.server_settings import SettingsNotStored, renew_pooled_connections, store_settings
from memory_site.core.db.setup_lock import setup_lock
from memory_site.core.releases.compatibility import find_release, note_release, shut_out_older_releases
from memory_site.operations.erasures.carry import replay_ledger
from memory_site.operations.erasures.ledger import LedgerProblem
from memory_site.operations.health.database import connect_as_web_server
from memory_site.operations.health.migrations import (
    count_missing_migrations,
    describe_unknown_migrations,
    find_unknown_migrations,
)
from memory_site.operations.heartbeats import HEARTBEAT_INTERVAL_SECONDS
from memory_site.operations.models import Heartbeat
from memory_site.operations.sql_page.role import RoleProblem, prepare_role
from sessions_app.commands import EXIT_FAILED, get_first_line

WAITING = "Another process prepares the database; waiting for it …"

#: In which every process has looked at the release of the database.
NOTICE_SECONDS = HEARTBEAT_INTERVAL_SECONDS + 5


class Command(PlainCommand):
    #: Whether it repeats the erasures that the ledger has and the database has not; a restore does it itself.
    erases_again = True

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except NotSupportedError as error:  # it is older than MIN_POSTGRESQL_VERSION
            raise CommandError(f"The database cannot be used: {get_first_line(error)}") from error

    def handle(self, *args: Any, **options: Any) -> None:
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        with setup_lock(lambda: self.report(WAITING)):
            refuse_newer_database()
            self.shut_out_older_releases()
            super().handle(*args, **options)
            if options["app_label"] is None:
                note_release()
            if self.erases_again:
                self.erase_again()
            self.store_settings(connection, settings.SERVER_SETTINGS)
            if settings.WEB_DATABASE:
                self.store_web_settings()
            if options["app_label"] is None:
                self.prepare_sql_page()

    def shut_out_older_releases(self) -> None:
        """Have processes of an older release, with which the new tables do not work, stop before anything changes."""
        if shut_out_older_releases() and Heartbeat.objects.alive().exists():
            self.report(f"Processes of older releases stop within {NOTICE_SECONDS} seconds; waiting …")
            time.sleep(NOTICE_SECONDS)

    def erase_again(self) -> None:
        """Erase what an earlier state of the database has brought back, however it was brought back."""
        if count_missing_migrations():  # only a part was migrated
            return
        try:
            if erased := replay_ledger():
                self.report(f"Erased again, as the ledger of erasures says: {erased:,} erasures.")
        except LedgerProblem as error:
            self.report(str(error))

    def prepare_sql_page(self) -> None:
        """Give the role of the SQL page its grants, which new tables need too."""
        try:
            prepare_role()
        except (RoleProblem, Error, psycopg.Error) as error:
            self.report(str(error) if isinstance(error, RoleProblem) else f"The SQL page: {get_first_line(error)}")

    def report(self, text: str) -> None:
        self.stderr.write(text, lambda text: text)

    def store_settings(self, connection: BaseDatabaseWrapper, wanted: dict[str, str]) -> None:
        try:
            changed = store_settings(connection, wanted)
        except SettingsNotStored as error:
            self.report(f"The server's settings were not stored: {error}")
            return
        if changed and settings.DATABASE_POOLER:
            renew_pooled_connections(connection)

    def store_web_settings(self) -> None:
        """Store the web server's settings, unless it has the role of everything else, which has its own."""
        try:
            with connect_as_web_server() as web:
                if get_role(web) != get_role(connection):
                    self.store_settings(web, settings.WEB_SERVER_SETTINGS)
        except Error as error:
            self.report(f"WEB_DATABASE_URL cannot be used: {get_first_line(error)}")


def refuse_newer_database() -> None:
    """Raise CommandError if a newer release migrated the database: this one does not know what it would change."""
    found, unknown = find_release(), find_unknown_migrations()
    if found is not None and found.is_newer:
        raise CommandError(f"{found.explain()} Nothing was migrated.", returncode=EXIT_FAILED)
    if unknown:
        raise CommandError(describe_unknown_migrations(unknown), returncode=EXIT_FAILED)


def get_role(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]
