"""Settings of a site that nothing is sent to."""

import pytest
from memory_hooks import events, queue
from memory_hooks.settings import Settings, read_settings


@pytest.fixture
def patience(monkeypatch) -> None:
    """The hooks are in a hurry, and a machine that runs tests may be busy."""
    monkeypatch.setattr(events, "SEND_SECONDS", 60.0)
    monkeypatch.setattr(queue, "LOCK_SECONDS", 60.0)


@pytest.fixture
def settings(tmp_path, patience) -> Settings:
    settings = read_settings(
        {"MEMORY_URL": "http://127.0.0.1:9/", "MEMORY_KEY": "k", "MEMORY_QUEUE_DIR": str(tmp_path / "queue")}
    )
    return settings._replace(seconds=60.0)
