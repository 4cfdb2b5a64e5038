"""Where the programs of a `serve` count."""

import os
import tempfile
from pathlib import Path

import pytest

from memory_site.operations.metrics.shared_directory import TEMPORARY_PREFIX, VARIABLE, hold, share_directory


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "before")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_directory_of_the_settings_is_made_and_named(settings, tmp_path):
    settings.METRICS_DIRECTORY = tmp_path / "data" / "metrics"
    with share_directory() as path:
        assert path == settings.METRICS_DIRECTORY
        assert os.environ[VARIABLE] == str(path)
        assert path.stat().st_mode & 0o777 == 0o700
    assert path.is_dir()


def test_without_one_it_is_temporary(settings, tmp_path):
    settings.METRICS_DIRECTORY = None
    with share_directory() as path:
        assert (path.parent, path.name.startswith(TEMPORARY_PREFIX)) == (tmp_path, True)
        assert path.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


def test_a_serve_that_was_killed_leaves_no_temporary_directory_for_ever(settings, tmp_path):
    settings.METRICS_DIRECTORY = None
    killed, running = (tmp_path / f"{TEMPORARY_PREFIX}{name}" for name in ("killed", "running"))
    for directory in (killed, running):
        directory.mkdir()
        with hold(directory):
            """The lock ends with its process."""
    with hold(running), share_directory():
        assert (killed.exists(), running.exists()) == (False, True)


def test_a_directory_that_cannot_be_used_is_an_error(settings, tmp_path):
    settings.METRICS_DIRECTORY = tmp_path / "file" / "metrics"
    (tmp_path / "file").touch()
    with pytest.raises(OSError), share_directory():
        """Never reached."""
