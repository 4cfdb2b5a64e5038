"""Which folders callers of the API may have read into memories."""

import os
from pathlib import Path

from django.conf import settings


def is_within_roots(folder: str | Path) -> bool:
    """Whether it lies inside INGESTION_ROOTS, with links resolved, as they are now."""
    # Not Path.resolve, which complains of loops, and so would tell of those outside.
    found = Path(os.path.realpath(folder))
    return any(found.is_relative_to(os.path.realpath(root)) for root in settings.INGESTION_ROOTS)
