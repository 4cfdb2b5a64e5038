"""Times in Session-Buddy's files: without an offset, in the zone of the machine that wrote them.

Session-Buddy stores `datetime.now(UTC)` into a column of type TIMESTAMP, which DuckDB converts to the local time.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

LOCAL_TIME_FILE = Path("/etc/localtime")
#: Clocks differ, and the zone may be a wrong one: a time this far ahead is taken as now.
MAX_TIME_AHEAD = timedelta(days=1)


def get_machine_timezone() -> tzinfo:
    """Return the zone that the environment variable TZ names, else that of the machine, else UTC."""
    name = settings.MACHINE_TIME_ZONE.removeprefix(":") or os.path.realpath(LOCAL_TIME_FILE).partition("/zoneinfo/")[2]
    with suppress(LookupError, ValueError, OSError):
        return ZoneInfo(name)
    with suppress(ValueError, OSError), LOCAL_TIME_FILE.open("rb") as file:
        return ZoneInfo.from_file(file)
    return UTC


def parse_local_datetime(text: Any, zone: tzinfo) -> Any:
    """Parse an ISO 8601 time; one without an offset is of this zone. Other values are returned unchanged."""
    if not isinstance(text, str):
        return text
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a valid time") from None


def clip_to_now(moment: Any) -> Any:
    """Return now for a time that is at most MAX_TIME_AHEAD ahead."""
    now = datetime.now(UTC)
    return now if isinstance(moment, datetime) and now < moment <= now + MAX_TIME_AHEAD else moment


def format_local_datetime(when: datetime | None, zone: tzinfo) -> str | None:
    """Return the time in this zone without an offset, as the files have it."""
    return when.astimezone(zone).replace(tzinfo=None).isoformat() if when else None
