"""The health check of the migrations."""

from collections.abc import Iterator
from importlib.util import find_spec
from pkgutil import iter_modules

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from memory_site.core.releases.compatibility import RELEASE, find_release
from memory_site.operations.health.results import CheckResult, HealthStatus

#: Of a newer release's migrations.
MAX_NAMED_MIGRATIONS = 3
UPGRADE_ADVICE = "replace this release by the newer one, see docs/upgrade.md"


def check_migrations() -> CheckResult:
    """Check that the database has all migrations of this release, and is of no release that this one does not fit."""
    found, unknown = find_release(), find_unknown_migrations()
    if found is not None and found.refuses_us:
        return HealthStatus.UNHEALTHY, found.explain(), UPGRADE_ADVICE
    if found is not None and found.is_newer:
        return HealthStatus.DEGRADED, found.explain(), UPGRADE_ADVICE
    if unknown:
        return HealthStatus.DEGRADED, describe_unknown_migrations(unknown), UPGRADE_ADVICE
    if missing := count_missing_migrations():
        return HealthStatus.UNHEALTHY, f"{missing} migrations are missing."
    return HealthStatus.HEALTHY, "All applied."


def find_unknown_migrations() -> list[str]:
    """Return the migrations that were applied and that this release does not have, by name."""
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{label}.{name}" for label, name in applied.keys() - set(list_migration_files()))


def describe_unknown_migrations(unknown: list[str]) -> str:
    names = ", ".join(unknown[:MAX_NAMED_MIGRATIONS])
    more = f" and {len(unknown) - MAX_NAMED_MIGRATIONS} more" if len(unknown) > MAX_NAMED_MIGRATIONS else ""
    return f"The database is of a newer release: it has {names}{more}, which release {RELEASE} does not know."


def count_missing_migrations() -> int:
    """Count migrations that `migrate` would apply.

    Importing all of them takes a second on a busy machine, so it is done only if a file's name is not recorded.
    """
    recorded = MigrationRecorder(connection).applied_migrations()
    if all((label, name) in recorded for label, name in list_migration_files()):
        return 0
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def list_migration_files() -> Iterator[tuple[str, str]]:
    """Yield app label and name of each migration of the installed apps."""
    for app in apps.get_app_configs():
        module, _ = MigrationLoader.migrations_module(app.label)
        spec = find_spec(module) if module else None
        for file in iter_modules(spec.submodule_search_locations if spec else ()):
            if not file.ispkg and file.name[0] not in "_~":
                yield app.label, file.name
