"""The databases of a restore: the draft that it fills, and those that a restore has replaced."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups.database import (
    MAX_NAME_BYTES,
    connect,
    connect_to_server,
    drop_database,
    get_database_name,
)

log = logging.getLogger(__name__)
DRAFT_SUFFIX, KEPT_INFIX = "_restoring", "_before_"
TIME_FORMAT = "%Y%m%d_%H%M%S"
#: Comments that distinguish these databases from others of such a name.
DRAFT_COMMENT, KEPT_COMMENT = "Memory Site: a restore fills it.", "Memory Site: replaced by the restore of {}."
DROP_COMMAND = "python manage.py restore --drop {}"
ADDRESS = ("HOST", "PORT", "USER", "PASSWORD")
BUSY = "Another restore is at work. Nothing was done."
LOCK_SQL = "SELECT pg_try_advisory_lock(hashtextextended('memory-site restore ' || %s, 0))"
LIST_SQL = """
SELECT datname, pg_database_size(oid), shobj_description(oid, 'pg_database') FROM pg_database
WHERE starts_with(datname, %s) ORDER BY datname
"""
HAS_TABLES_SQL = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema'))"
EXISTS_SQL = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)"


@dataclass(frozen=True)
class KeptDatabase:
    """A database that a restore has replaced. It stays until an operator drops it."""

    name: str
    size_bytes: int


def name_draft(live: str) -> str:
    return cut(live, len(DRAFT_SUFFIX)) + DRAFT_SUFFIX


def name_kept(live: str, at: datetime) -> str:
    ending = f"{KEPT_INFIX}{at.strftime(TIME_FORMAT)}"
    return cut(live, len(ending)) + ending


def cut(name: str, room: int) -> str:
    """Return the beginning of a name that leaves so much room of a PostgreSQL name."""
    return name.encode()[: MAX_NAME_BYTES - room].decode(errors="ignore")


def exists(name: str) -> bool:
    with connect_to_server() as opened:
        row = opened.execute(EXISTS_SQL, [name]).fetchone()
    return bool(row and row[0])


def is_blank(name: str) -> bool:
    """Return whether a database has no tables: it was just created, and is nothing to keep."""
    with connect(name) as opened:
        return opened.execute(HAS_TABLES_SQL).fetchone() == (False,)


def list_kept() -> list[KeptDatabase]:
    """Return the databases that restores of this site have replaced, oldest first."""
    prefix = f"{get_database_name()[:20]}"
    with connect_to_server() as opened:
        rows = opened.execute(LIST_SQL, [prefix]).fetchall()
    return [KeptDatabase(name, size) for name, size, comment in rows if is_kept(name, comment)]


def is_kept(name: str, comment: str | None) -> bool:
    return KEPT_INFIX in name and (comment or "").startswith(KEPT_COMMENT.partition("{")[0])


def drop_draft(live: str) -> bool:
    """Drop what a killed restore left. Return whether there was something. A database that is not ours stays."""
    name = name_draft(live)
    with connect_to_server() as opened:
        rows = opened.execute(LIST_SQL, [name]).fetchall()
    is_ours = any(found == name and comment == DRAFT_COMMENT for found, _, comment in rows)
    if is_ours:
        drop_database(name)
    return is_ours


@contextmanager
def hold_draft(live: str) -> Iterator[None]:
    """Keep other restores out. The lock ends with the session, and so with this process. Raises AlreadyRunning."""
    with connect_to_server() as keeper:
        if keeper.execute(LOCK_SQL, [live]).fetchone() != (True,):
            raise AlreadyRunning(BUSY)
        yield


def drop_left_draft() -> None:
    """Drop what a killed restore left, unless a restore is at work: its rows would escape later erasures."""
    live = get_database_name()
    with suppress(AlreadyRunning), hold_draft(live):
        if drop_draft(live):
            log.warning("%s was dropped, which a killed restore had left.", name_draft(live))


def build_direct_settings(site: dict[str, Any]) -> dict[str, Any]:
    """Return what BACKUP_DATABASE_URL changes of the site's settings."""
    options = site["OPTIONS"] | {"pool": False}
    if settings.BACKUP_DATABASE is None:
        return {"OPTIONS": options}
    described = {name: value for name, value in settings.BACKUP_DATABASE.items() if name in ADDRESS}
    role = f"{options.get('options', '')} -c role={site['USER']}"
    return described | {"OPTIONS": options | settings.BACKUP_DATABASE["OPTIONS"] | {"options": role}}


@contextmanager
def use_database(name: str) -> Iterator[None]:
    """Have this thread's code work on another database of the site's server inside the block, as the site's role, by a
    direct connection."""
    outer = connections["default"]
    inner = outer.copy()
    inner.settings_dict |= {"NAME": name} | build_direct_settings(outer.settings_dict)
    connections["default"] = inner
    ContentType.objects.clear_cache()
    try:
        yield
    finally:
        connection.close()
        connections["default"] = outer
        ContentType.objects.clear_cache()
