"""The site that runs on our data directory, if one does, and the services a command uses with it or without."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from django.conf import settings

from memory_site.embedded.services import ensure_services


@contextmanager
def ensure_services_for_command() -> Iterator[None]:
    """The database can be asked inside the block, unless it is ill. Raises HomeError.

    A running site's services are used as they are: waiting for them to be well would keep a command for minutes, and
    the doctor from seeing the patient. Where none runs, the embedded services are lent for as long as the block lasts.
    """
    if not settings.EMBEDDED or find_running_site():
        yield
        return
    with ensure_services(settings.HOME):
        yield


def find_running_site() -> str | None:
    """Where our data directory is being served, if it is."""
    if not settings.EMBEDDED:
        return None
    try:
        url = json.loads((settings.HOME.path / "lock").read_text())["url"]
    except (OSError, ValueError, KeyError):
        return None
    return url if url and is_live(url) else None


def is_live(url: str) -> bool:
    """Whether a site answers there, ill or well."""
    try:
        return urllib3.request("GET", f"{url}/health/live", timeout=2, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
