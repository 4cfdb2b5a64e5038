"""The folders that API clients may ingest: those inside INGESTION_ROOTS."""

import os
from pathlib import Path

from django.conf import settings


def is_within_roots(folder: str | Path) -> bool:
    """Return whether the folder lies inside INGESTION_ROOTS, with symbolic links resolved on both sides."""
    # Not Path.resolve: it raises for a loop of links, which would reveal what exists outside the roots.
    resolved = Path(os.path.realpath(folder))
    return any(resolved.is_relative_to(os.path.realpath(root)) for root in settings.INGESTION_ROOTS)
