"""`manage.py reencrypt_sessions`: seal all histories with the first key, or open them for good."""

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

NO_KEYS = "SESSION_ENCRYPTION_KEYS is empty: there is no key to seal with. --plain opens histories for good."


class Command(LongCommand):
    help = (
        "Seal every stored interaction with the first of SESSION_ENCRYPTION_KEYS. To change the key: put the new one "
        "first, restart everything, run this, then take the old one out. May be interrupted and run again."
    )
    item_name = "sessions"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--plain", action="store_true", help="open all of them; then take the keys out")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *, plain: bool, dry_run: bool, **options: object) -> None:
        if not plain and not settings.SESSION_ENCRYPTION_KEYS:
            raise CommandError(NO_KEYS, returncode=EXIT_USAGE_ERROR)
        counts, sessions = Counter(), SessionMemory.objects.order_by("pk").values_list("pk", flat=True)
        for pk in self.track_progress(sessions.iterator(), sessions.count()):
            counts[self.reencrypt_session(pk, plain, dry_run)] += 1
        done = f"{'would be ' if dry_run else ''}{'opened' if plain else 'sealed'}"
        right, skipped = counts["right"], counts["unreadable"]
        self.stdout.write(f"{counts['changed']:,} sessions {done}, {right:,} were already, {skipped:,} skipped.")
        if skipped:
            raise CommandError(f"{skipped:,} sessions cannot be opened by any key.", returncode=EXIT_FAILED)

    def reencrypt_session(self, pk: UUID, plain: bool, dry_run: bool) -> str:
        """Whether the session was `changed`, `right` already, or `unreadable`, and so left as it is."""
        with transaction.atomic():
            session = SessionMemory.objects.select_for_update().filter(pk=pk).first()
            try:
                history = [reencrypt_interaction(stored, plain) for stored in session.history] if session else None
            except HistoryUnreadable as error:
                namespace = Namespace.objects.get(pk=session.namespace_id)
                self.messages.print(f"{session.session_id!r} in the namespace {namespace.name!r}: {error}")
                return "unreadable"
            if session is None or history == session.history:
                return "right"
            if not dry_run:
                SessionMemory.objects.filter(pk=pk).update(history=history)  # and no other column: it is not renewed
            return "changed"


def reencrypt_interaction(stored: Mapping[str, Any], plain: bool) -> Interaction:
    """Raises HistoryUnreadable."""
    return decrypt(stored) if plain else stored if uses_current_key(stored) else encrypt(decrypt(stored))


def uses_current_key(stored: Mapping[str, Any]) -> bool:
    """Whether the first key opens it."""
    try:
        return bool(Fernet(settings.SESSION_ENCRYPTION_KEYS[0]).decrypt(stored.get("sealed", "")))
    except InvalidToken:
        return False
