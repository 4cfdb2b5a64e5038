"""Separate data directories for the tests of the embedded servers."""

import shutil
import tempfile
from pathlib import Path

import psycopg
import pytest

from memory_site.embedded.data_dir import DataDirectory


@pytest.fixture
def directory():
    """A private directory with a short path, as `mktemp -d` makes it: the user `nobody` cannot enter it."""
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home(directory):
    return DataDirectory(directory / "home")


@pytest.fixture
def connect():
    """Connects to the server of a home, by default as Django does."""

    def connect(home, **changes):
        ours = home.database
        names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER", "password": "PASSWORD"}
        return psycopg.connect(**{theirs: ours[name] for theirs, name in names.items()} | changes, autocommit=True)

    return connect
