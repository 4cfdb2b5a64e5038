"""Targets of both kinds, and backups to copy."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.memory_site.operations.backups.conftest import copy as copy
from tests.memory_site.operations.backups.conftest import folder as folder
from tests.memory_site.operations.backups.conftest import originals as originals
from tests.s3 import BUCKET, running_s3

numbers = count()


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    with running_s3() as environment:
        yield environment


@pytest.fixture(params=["folder", "s3"])
def url(request, settings, tmp_path, monkeypatch) -> str:
    """An empty target: BACKUP_TARGET is its URL."""
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        settings.BACKUP_TARGET = f"s3://{BUCKET}/site/{next(numbers)}"
    else:
        settings.BACKUP_TARGET = f"file://{tmp_path}/elsewhere"
    return settings.BACKUP_TARGET
