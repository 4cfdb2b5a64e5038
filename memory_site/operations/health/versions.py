"""The health check of the versions: which lack fixes of security faults. Read again at each release."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import django
from django.conf import settings
from django.db import connection

from memory_site.operations.health.processes import Broker, read_broker
from memory_site.operations.health.results import CheckResult, HealthStatus

Version = tuple[int, ...]

#: 46 security fixes within the series, the last ones of November 2026.
DJANGO_FLOOR: Version = (5, 2, 19)
#: The releases of August 2026, by major version. CVE-2026-14662 writes out of bounds in full-text search.
POSTGRESQL_FLOORS: Mapping[int, int] = {15: 19, 16: 15, 17: 11, 18: 6}
#: CVE-2026-27623 and CVE-2026-21863, by series.
VALKEY_FLOORS: Mapping[Version, Version] = {
    (7, 2): (7, 2, 12),
    (8, 0): (8, 0, 7),
    (8, 1): (8, 1, 6),
    (9, 0): (9, 0, 3),
}
#: CVE-2026-23479: use after free in blocking commands, which workers use; since 7.2.0.
REDIS_FLOOR: Version = (8, 6, 3)
#: CVE-2025-49844: remote code by Lua.
OLD_REDIS_FLOOR: Version = (6, 2, 20)

WHEEL_ADVICE = "if that matters here: DATABASE_URL of a PostgreSQL of your own, see docs/deployment.md"


class Behind(NamedTuple):
    """A program that lacks fixes: its status, a sentence, and what mends it."""

    status: HealthStatus
    message: str
    mend: str


def check_versions() -> CheckResult:
    """Check Django, PostgreSQL and the broker against the versions with the latest security fixes.

    The bundled PostgreSQL cannot be upgraded by the operator, and only this site reaches it: advice, no fault. So is an
    old broker, because distributors fix theirs without a new version.
    """
    found = list(find_behind())
    if not found:
        return HealthStatus.HEALTHY, "None is known to lack a security fix."
    worst = max(found, key=lambda each: each.status)
    return worst.status, " ".join(each.message for each in found), worst.mend


def find_behind() -> Iterator[Behind]:
    if django.VERSION[:3] < DJANGO_FLOOR:
        message = f"Django {django.__version__} lacks the security fixes of {format_version(DJANGO_FLOOR)}."
        yield Behind(HealthStatus.DEGRADED, message, "pip install -r requirements.txt")
    yield from find_behind_postgresql(read_postgresql_version())
    yield from find_behind_broker(read_broker())


def read_postgresql_version() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int")
        return cursor.fetchone()[0]


def find_behind_postgresql(number: int) -> Iterator[Behind]:
    """Yield a PostgreSQL below its floor. `number` is server_version_num, such as 180004."""
    major, minor = divmod(number, 10_000)
    floor = POSTGRESQL_FLOORS.get(major, 0)
    if minor < floor:
        message = f"PostgreSQL {major}.{minor} lacks the security fixes of {major}.{floor}."
        upgrade = f"upgrade PostgreSQL to {major}.{floor} or later"
        yield (
            Behind(HealthStatus.HEALTHY, message.replace(" lacks", " of the wheel lacks"), WHEEL_ADVICE)
            if settings.EMBEDDED
            else Behind(HealthStatus.DEGRADED, message, upgrade)
        )


def find_behind_broker(broker: Broker) -> Iterator[Behind]:
    floor = find_broker_floor(broker)
    if broker.version < floor:
        name = f"{broker.name} {format_version(broker.version)}"
        message = f"{name} is older than {format_version(floor)}, unless its distributor has fixed it."
        yield Behind(HealthStatus.HEALTHY, message, f"upgrade {broker.name} to {format_version(floor)} or later")


def find_broker_floor(broker: Broker) -> Version:
    if broker.name == "Valkey":
        return VALKEY_FLOORS.get(broker.version[:2], ())
    return REDIS_FLOOR if broker.version >= (7, 2) else OLD_REDIS_FLOOR


def format_version(version: Version) -> str:
    return ".".join(map(str, version))
