"""The site that serves the data directory, if one runs, and the services that a command needs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from memory_site.embedded.services import ensure_services


@contextmanager
def ensure_services_for_command() -> Iterator[None]:
    """Provide the embedded services inside the block. Raises DataDirectoryError.

    The services of a running site are used as they are: waiting for unhealthy ones would block a command for minutes,
    and `doctor` could not examine them. Without a running site they are started for the time of the block.
    """
    if settings.HOME is None or find_running_site():
        yield
        return
    with ensure_services(settings.HOME):
        yield


def find_running_site() -> str | None:
    """Return the address of the site that serves the data directory, or None."""
    if settings.HOME is None:
        return None
    try:
        url = json.loads((settings.HOME.path / "lock").read_text())["url"]
    except (OSError, ValueError, KeyError):
        return None
    return url if url and is_live(url) else None


def is_live(url: str) -> bool:
    """Return whether a site answers there, whatever its health."""
    import urllib3  # noqa: PLC0415  (30 ms of every command's start)

    try:
        return urllib3.request("GET", f"{url}/health/live", timeout=2, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
