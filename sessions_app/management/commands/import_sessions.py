"""`manage.py import_sessions URL`: import sessions from a Redis or Valkey server."""

import os
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR, add_namespace_argument, get_first_line, get_namespace
from sessions_app.encryption import HistoryUnreadable
from sessions_app.long_commands import LongCommand
from sessions_app.models.sessions import MAX_TTL_HOURS
from sessions_app.redis_import import InvalidSession, fetch_values, merge_session, parse_interactions, parse_session_id

READ_BATCH_SIZE, TIMEOUT_SECONDS = 50, 5.0
#: Schemes of addresses as Celery and others spell them, and those of the client.
SCHEMES = {
    **{scheme: scheme for scheme in ("redis://", "rediss://", "unix://")},
    **{"redis+socket://": "unix://", "valkey://": "redis://", "valkeys://": "rediss://"},
}
INVALID_ADDRESS = f"This is not the address of a Redis or Valkey server: it must begin with one of {' '.join(SCHEMES)}"
HELP = """Import sessions from a Redis or Valkey server.

The id of a session is its key without the prefix. A value is a list of JSON objects or a string with a JSON array of
them, each {query, answer, timestamp?}; other fields are ignored. Times without an offset are taken as UTC, numbers as
seconds since 1970. Lists may be in either order: interactions are sorted by time and, where times are missing, taken
as oldest first. Existing interactions are not added again, so the import may be interrupted and repeated. A session is
imported whole or, when something in it is wrong, not at all. Nothing on the other server is changed."""


class Command(LongCommand):
    help = HELP
    item_name = "sessions"

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument(
            "url", help="redis://[:password@]host[:port][/database], unix:///path, redis+socket:///path"
        )
        parser.add_argument(
            "--pattern", default="session:*", help="pattern of the keys to import (default: %(default)s)"
        )
        parser.add_argument(
            "--prefix", default="session:", help="part of a key before the session id (default: %(default)s)"
        )
        parser.add_argument(
            "--ttl-hours",
            type=float,
            help="minimum time to live of these sessions; without it, interactions older than the default are skipped",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count what would be added")

    def handle(self, *, url: str, namespace: str, ttl_hours: float | None, dry_run: bool, **options: Any) -> None:
        if ttl_hours is not None and not 0 < ttl_hours <= MAX_TTL_HOURS:
            raise CommandError(f"--ttl-hours must be above 0 and at most {MAX_TTL_HOURS}.", returncode=EXIT_USAGE_ERROR)
        self.options = {"namespace_id": get_namespace(namespace).pk, "ttl_hours": ttl_hours, "dry_run": dry_run}
        self.counts: Counter[str] = Counter()
        client = connect(url)
        try:
            keys = sorted(set(client.scan_iter(match=os.fsencode(options["pattern"]), count=1000)))
            for key, kind, value in self.track_progress(self.read(client, keys), len(keys)):
                self.import_session(key, kind, value, os.fsencode(options["prefix"]))
        except (RedisError, OSError) as error:
            raise CommandError(f"The server failed ({self.progress_text}): {get_first_line(error)}") from None
        finally:
            client.close()
        self.summarize(dry_run)

    def read(self, client: Redis, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Any, Any]]:
        for start in range(0, len(keys), READ_BATCH_SIZE):
            yield from fetch_values(client, keys[start : start + READ_BATCH_SIZE])

    def import_session(self, key: bytes, kind: Any, value: Any, prefix: bytes) -> None:
        try:
            session_id, interactions = parse_session_id(key, prefix), parse_interactions(kind, value)
            self.counts += merge_session(session_id=session_id, interactions=interactions, **self.options)
            self.counts["sessions"] += 1
        except (InvalidSession, HistoryUnreadable) as error:
            self.counts["skipped"] += 1
            for sentence in error.args:
                self.messages.print(f"{key.decode(errors='backslashreplace')!r}: {sentence}")

    def summarize(self, dry_run: bool) -> None:
        counts = self.counts
        self.stdout.write(
            f"{counts['sessions']:,} sessions: {counts['added']:,} interactions {'would be ' if dry_run else ''}added, "
            f"{counts['existing']:,} already existed, {counts['expired']:,} too old, {counts['surplus']:,} over the "
            f"history limit; {counts['skipped']:,} skipped."
        )
        if counts["skipped"]:
            raise CommandError(
                f"{counts['skipped']:,} keys were skipped; see the messages above.", returncode=EXIT_FAILED
            )


def connect(url: str) -> Redis:
    """Return a client whose server has answered a ping.

    Raise CommandError, which never repeats the address: it may contain a password. Uses RESP2, which every version of
    the server supports, and turns off the client's own retries, which would delay a refusal by half a minute.
    """
    timeouts = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    try:
        client = Redis.from_url(normalize_url(url), **timeouts, retry=Retry(NoBackoff(), 0), protocol=2)
        client.ping()
    except (RedisError, OSError) as error:
        raise CommandError(f"The server cannot be used: {get_first_line(error)}", returncode=EXIT_FAILED) from None
    except (TypeError, ValueError):  # raised by the client for unknown options and invalid ports
        raise CommandError(INVALID_ADDRESS, returncode=EXIT_USAGE_ERROR) from None
    return client


def normalize_url(url: str) -> str:
    """Return the address as the client spells it. Raise ValueError."""
    scheme = next((scheme for scheme in SCHEMES if url.startswith(scheme)), None)
    if scheme is None:
        raise ValueError("no known scheme")
    address = SCHEMES[scheme] + url.removeprefix(scheme).replace("?virtual_host=", "?db=")
    # The client reads a database that is not a number as number 0.
    if SCHEMES[scheme] != "unix://" and not re.fullmatch(r"/?[0-9]*", urlsplit(address).path):
        raise ValueError("no database")
    return address
