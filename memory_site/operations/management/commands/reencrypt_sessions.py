"""`manage.py reencrypt_sessions`: encrypt all histories with the first key, or decrypt them for good."""

from argparse import ArgumentParser
from collections import Counter
from uuid import UUID

from django.conf import settings
from django.core.management.base import CommandError

from memory_site.operations.models import Heartbeat
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_FAILED, EXIT_USAGE_ERROR, FORMATS, get_namespace
from sessions_app.encryption import HistoryUnreadable
from sessions_app.key_rotation import (
    KeyRole,
    count_sessions_by_key,
    iterate_histories,
    name_first_key,
    reencrypt_session,
    select_sessions,
)
from sessions_app.long_commands import LongCommand
from sessions_app.models import SessionMemory

NO_KEYS = (
    "SESSION_ENCRYPTION_KEYS is empty: there is no key to encrypt with. Use --plain to decrypt histories for good."
)
#: In each, those are encrypted that other processes wrote during the one before; the last must find nothing.
MAX_PASSES = 3
BACKUPS = "unless you may restore a backup from before"


class Command(LongCommand):
    help = (
        "Encrypt every stored interaction with the first of SESSION_ENCRYPTION_KEYS, while the site serves, and say "
        "whether the other keys may be removed. To rotate the key: put the new one first, restart all processes, run "
        "this command, then remove the old key. May be interrupted and repeated."
    )
    item_name = "sessions"

    def add_arguments(self, parser: ArgumentParser) -> None:
        work = parser.add_mutually_exclusive_group()
        work.add_argument(
            "--plain", action="store_true", help="decrypt all of them; the keys can be removed afterwards"
        )
        work.add_argument(
            "--check", action="store_true", help="only say which keys are needed; exit code 3 if one but the first is"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count them")
        parser.add_argument("--namespace", help="only this namespace; default: all")
        parser.add_argument("--format", choices=FORMATS, default="table", help="of --check; default: table")

    def handle(
        self, *, plain: bool, check: bool, dry_run: bool, namespace: str | None, format: str, **options: object
    ) -> None:
        if not (plain or check or settings.SESSION_ENCRYPTION_KEYS):
            raise CommandError(NO_KEYS, returncode=EXIT_USAGE_ERROR)
        self.unreadable: set[UUID] = set()
        self.namespace_id = None if namespace is None else get_namespace(namespace).pk
        if check:
            self.check_keys(format)
        else:
            self.reencrypt(plain, dry_run)

    # Which keys are needed

    def check_keys(self, output_format: str) -> None:
        """Print the keys with the number of their sessions. Raises CommandError while one but the first is needed."""
        histories = self.track_progress(
            iterate_histories(self.namespace_id), select_sessions(self.namespace_id).count()
        )
        counts = count_sessions_by_key(histories)
        rows = [{"role": use.role.value, "key": use.key, "sessions": counts[use]} for use in sorted(counts)]
        self.print_rows(rows, output_format)
        wanted = KeyRole.FIRST if settings.SESSION_ENCRYPTION_KEYS else KeyRole.PLAIN
        if any(use.role is not wanted for use in counts):
            raise CommandError("Not every history is encrypted with the first key.", returncode=EXIT_CHECK_FAILED)

    # Encryption

    def reencrypt(self, plain: bool, dry_run: bool) -> None:
        counts = self.run_pass(plain, dry_run)
        found = counts["changed"]
        for _ in range(MAX_PASSES - 1 if found and not dry_run else 0):
            if not (found := self.run_pass(plain, dry_run)["changed"]):
                break
            counts["changed"] += found
        done = f"{'would be ' if dry_run else ''}{'decrypted' if plain else 'encrypted'}"
        unchanged, skipped = counts["unchanged"], counts["unreadable"]
        self.stdout.write(f"{counts['changed']:,} sessions {done}, {unchanged:,} were already, {skipped:,} skipped.")
        if skipped:
            message = f"{skipped:,} sessions cannot be decrypted with any key: their key is missing. Remove no key."
            raise CommandError(message, returncode=EXIT_FAILED)
        if not dry_run:
            self.conclude(plain, found)

    def run_pass(self, plain: bool, dry_run: bool) -> Counter[str]:
        """Return how many sessions were `changed`, `unchanged`, and `unreadable`, which are left as they are."""
        sessions = select_sessions(self.namespace_id)
        keys = sessions.order_by("pk").values_list("namespace_id", "pk")
        counts: Counter[str] = Counter()
        for namespace_id, pk in self.track_progress(keys.iterator(), sessions.count()):
            counts[self.process(namespace_id, pk, plain, dry_run)] += 1
        return counts

    def process(self, namespace_id: int, pk: UUID, plain: bool, dry_run: bool) -> str:
        try:
            changed = reencrypt_session(namespace_id, pk, plain=plain, dry_run=dry_run)
        except HistoryUnreadable as error:
            if pk not in self.unreadable:
                self.unreadable.add(pk)
                self.messages.print(f"{name_session(namespace_id, pk)}: {error}")
            return "unreadable"
        return "unchanged" if changed is None else "changed"

    def conclude(self, plain: bool, found: int) -> None:
        """Say whether the other keys may be removed: no history needs them, and no process will write one that does.

        Raises CommandError if they may not.
        """
        wanted = "" if plain else name_first_key()
        others = list_processes_with_another_key(wanted)
        if found or others:
            names = f" ({', '.join(others)})" if others else ""
            message = (
                f"Remove no key yet: processes still write with another key, or none{names}. Restart all of them with "
                "the present SESSION_ENCRYPTION_KEYS, and run this command again."
            )
            raise CommandError(message, returncode=EXIT_CHECK_FAILED)
        if self.namespace_id is not None:
            return  # of the others nothing is known
        if plain:
            self.stdout.write(f"No history is encrypted: all keys may be removed, {BACKUPS}.")
        elif len(settings.SESSION_ENCRYPTION_KEYS) > 1:
            self.stdout.write(f"Every history needs only the key {wanted}: the others may be removed, {BACKUPS}.")


def name_session(namespace_id: int, pk: UUID) -> str:
    names = SessionMemory.objects.values_list("session_id", "namespace__name")
    session, namespace = names.filter(namespace_id=namespace_id, pk=pk).first() or (str(pk), "")
    return f"{session!r} in the namespace {namespace!r}"


def list_processes_with_another_key(wanted: str) -> list[str]:
    """Return the names of the processes at work that encrypt with another key, or do not where they should."""
    alive = Heartbeat.objects.alive().exclude(process="")  # beat's own row is of no process
    return list(alive.exclude(session_key=wanted).order_by("name").values_list("name", flat=True))
