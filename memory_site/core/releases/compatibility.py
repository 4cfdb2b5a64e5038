"""Whether this release may use the database that it finds.

A database names the release that migrated it and the oldest release that may go on using it: the newer release knows
what it changed, the older one cannot.
"""

import re
from dataclasses import dataclass

from django.db import ProgrammingError
from django.db.models.functions import Now

from memory_site import __version__ as RELEASE  # noqa: N812
from memory_site.core.releases.models import DatabaseRelease

#: The oldest release whose processes may use a database of this release. Raise it with each migration that takes away,
#: renames or changes what older code reads or writes.
OLDEST_RELEASE = "0.1.0"


class NewerDatabase(Exception):
    """A newer release migrated the database, with which this one does not work."""


@dataclass(frozen=True)
class FoundRelease:
    """What the database says of itself."""

    release: str
    oldest_release: str

    @property
    def is_newer(self) -> bool:
        return parse_release(self.release) > parse_release(RELEASE)

    @property
    def refuses_us(self) -> bool:
        return parse_release(self.oldest_release) > parse_release(RELEASE)

    def explain(self) -> str:
        if self.refuses_us:
            return (
                f"The database is of release {self.release}, which works with {self.oldest_release} and later; this is "
                f"release {RELEASE}. Replace it by {self.release}, or restore a backup made before the upgrade."
            )
        return f"The database is of the newer release {self.release}, with which this one, {RELEASE}, works."


def parse_release(text: str) -> tuple[int, ...]:
    """Return the numbers of a release: (0, 1, 0)."""
    return tuple(map(int, re.findall(r"\d+", text)))


def find_release() -> FoundRelease | None:
    """Return what the database says; None before its first migration by a release that notes itself."""
    try:
        row = DatabaseRelease.objects.values_list("release", "oldest_release").first()
    except ProgrammingError:  # there is no such table yet
        return None
    return row and FoundRelease(*row)


def require_fitting_release() -> None:
    """Raise NewerDatabase if this release may not use the database."""
    found = find_release()
    if found is not None and found.refuses_us:
        raise NewerDatabase(found.explain())


def shut_out_older_releases() -> bool:
    """Note which releases may use the database from now on. Return whether these are fewer than before.

    Called before the migrations: processes of an older release stop before anything changes beneath them.
    """
    found = find_release()
    if found is None or parse_release(found.oldest_release) >= parse_release(OLDEST_RELEASE):
        return False
    DatabaseRelease.objects.update(release=RELEASE, oldest_release=OLDEST_RELEASE)
    return True


def note_release() -> None:
    """Note that the database has been migrated by this release, unless that was noted before."""
    if find_release() == FoundRelease(RELEASE, OLDEST_RELEASE):
        return
    values = {"release": RELEASE, "oldest_release": OLDEST_RELEASE, "migrated_at": Now()}
    DatabaseRelease.objects.update_or_create(pk=1, defaults=values)
