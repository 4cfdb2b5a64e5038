"""`manage.py reencrypt_sessions`: encrypt all histories with the first key, or decrypt them for good."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR
from sessions_app.encryption import HistoryUnreadable, Interaction, decrypt, encrypt
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace, SessionMemory

NO_KEYS = (
    "SESSION_ENCRYPTION_KEYS is empty: there is no key to encrypt with. Use --plain to decrypt histories for good."
)


class Command(LongCommand):
    help = (
        "Encrypt every stored interaction with the first of SESSION_ENCRYPTION_KEYS. To rotate the key: put the new "
        "one first, restart all processes, run this command, then remove the old key. May be interrupted and repeated."
    )
    item_name = "sessions"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--plain", action="store_true", help="decrypt all of them; the keys can be removed afterwards"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *, plain: bool, dry_run: bool, **options: object) -> None:
        if not plain and not settings.SESSION_ENCRYPTION_KEYS:
            raise CommandError(NO_KEYS, returncode=EXIT_USAGE_ERROR)
        counts: Counter[str] = Counter()
        sessions = SessionMemory.objects.order_by("pk").values_list("namespace_id", "pk")
        for namespace_id, pk in self.track_progress(sessions.iterator(), sessions.count()):
            counts[self.reencrypt_session(namespace_id, pk, plain, dry_run)] += 1
        done = f"{'would be ' if dry_run else ''}{'decrypted' if plain else 'encrypted'}"
        unchanged, skipped = counts["unchanged"], counts["unreadable"]
        self.stdout.write(f"{counts['changed']:,} sessions {done}, {unchanged:,} were already, {skipped:,} skipped.")
        if skipped:
            raise CommandError(f"{skipped:,} sessions cannot be decrypted with any key.", returncode=EXIT_FAILED)

    def reencrypt_session(self, namespace_id: int, pk: UUID, plain: bool, dry_run: bool) -> str:
        """Return whether the session was `changed`, was `unchanged`, or is `unreadable` and left as it is."""
        rows = SessionMemory.objects.filter(namespace_id=namespace_id, pk=pk)
        with transaction.atomic():
            session = rows.select_for_update().first()
            if session is None:  # cleared meanwhile
                return "unchanged"
            try:
                history = [reencrypt_interaction(stored, plain) for stored in session.history]
            except HistoryUnreadable as error:
                namespace = Namespace.objects.get(pk=namespace_id)
                self.messages.print(f"{session.session_id!r} in the namespace {namespace.name!r}: {error}")
                return "unreadable"
            if history == session.history:
                return "unchanged"
            if not dry_run:
                rows.update(history=history)  # updated_at stays: this is not a renewal
            return "changed"


def reencrypt_interaction(stored: Mapping[str, Any], plain: bool) -> Interaction:
    """Return the interaction in plain text, or encrypted with the first key. Raise HistoryUnreadable."""
    if plain:
        return decrypt(stored)
    return dict(stored) if uses_current_key(stored) else encrypt(decrypt(stored))


def uses_current_key(stored: Mapping[str, Any]) -> bool:
    """Return whether the first key decrypts it."""
    try:
        return bool(Fernet(settings.SESSION_ENCRYPTION_KEYS[0]).decrypt(stored.get("sealed", "")))
    except InvalidToken:
        return False
