"""Compare a restored database with the manifest of its backup."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg

from memory_site.operations.backups.contents import (
    LIST_INVALID_INDEXES_SQL,
    list_sequences,
    prepare_session,
    read_contents,
)
from memory_site.operations.backups.database import connect
from memory_site.operations.backups.manifest import Manifest


def compare_with_manifest(
    database: str, manifest: Manifest, on_share: Callable[[float], None] = lambda share: None, *, parallel: bool = True
) -> list[str]:
    """Return what differs, a sentence each; none: the database has every row, as it was when the backup was made.

    Rows are counted and hashed, constraints and indexes must be valid, migrations and kinds of objects the same.
    """
    with connect(database) as opened, opened.transaction():
        prepare_session(opened, parallel=parallel)
        found = read_contents(opened, on_share)
        return [
            *compare_tables(found, manifest),
            *compare_migrations(found["migrations"], manifest["migrations"]),
            *compare_objects(found["objects"], manifest["objects"]),
            *compare_sequences(list_sequences(opened), manifest["sequences"]),
            *find_unvalidated(found["unvalidated"], manifest["unvalidated"]),
            *find_invalid_indexes(opened),
        ]


def compare_tables(found: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    """Hashes of a PostgreSQL that computes others for the same text say nothing; counts do."""
    has_same_hashes = found["hash_probe"] == manifest["hash_probe"]
    expected, tables = manifest["tables"], found["tables"]
    yield from (f"The table {name} is missing." for name in sorted(expected.keys() - tables.keys()))
    yield from (f"The table {name} was not in the database." for name in sorted(tables.keys() - expected.keys()))
    for name in sorted(expected.keys() & tables.keys()):
        if tables[name]["rows"] != expected[name]["rows"]:
            yield f"{name} has {tables[name]['rows']:,} rows instead of {expected[name]['rows']:,}."
        elif has_same_hashes and tables[name]["hash"] != expected[name]["hash"]:
            yield f"{name} has as many rows, {expected[name]['rows']:,}, but not the same ones."


def compare_migrations(found: list[str], expected: list[str]) -> Iterator[str]:
    if differing := sorted({*found} ^ {*expected}):
        yield f"The migrations differ: {', '.join(differing[:5])}."


def compare_objects(found: Mapping[str, int], expected: Mapping[str, int]) -> Iterator[str]:
    for kind, number in expected.items():
        if found.get(kind) != number:
            yield f"There are {found.get(kind, 0)} {kind} instead of {number}."


def compare_sequences(found: Mapping[str, int | None], expected: Mapping[str, int | None]) -> Iterator[str]:
    """Find sequences that are behind, which give ids that are taken. One that is ahead went on during the dump."""
    for name, value in expected.items():
        if name not in found:
            yield f"The sequence {name} is missing."
        elif value is not None and (found[name] or 0) < value:
            yield f"The sequence {name} is at {found[name]} instead of {value}."


def find_unvalidated(found: list[str], expected: list[str]) -> Iterator[str]:
    yield from (f"The constraint {name} is not validated." for name in sorted(set(found) - set(expected)))


def find_invalid_indexes(opened: psycopg.Connection[Any]) -> Iterator[str]:
    for (name,) in opened.execute(LIST_INVALID_INDEXES_SQL, []).fetchall():
        yield f"The index {name} is not valid."
