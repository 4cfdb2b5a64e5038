"""Damaged pages: a statement that meets one fails with an error of PostgreSQL's class XX."""

from psycopg.errors import DataCorrupted, IndexCorrupted

DAMAGED = (
    "A page of the database is damaged, so this cannot be read; trying again does not help. An administrator can find "
    "it: python manage.py maintain --check-pages."
)


def is_damaged(error: Exception) -> bool:
    """Return whether a statement failed because a page's checksum or content is wrong."""
    return isinstance(error.__cause__, (DataCorrupted, IndexCorrupted))
