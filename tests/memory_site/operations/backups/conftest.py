"""A store of real rows, and its backups, made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from memories.add import add_many
from memories.embeddings import get_embedder
from memories.models import Embedding, Memory
from memories.schemas import MemoryIn
from memory_site.operations.backups.folder import StoredBackup, read_stored
from memory_site.operations.backups.make import make_backup
from sessions_app.models import Namespace
from tests.conftest import empty_tables

KEY = b"k" * 32
WORDS = ["harbour", "lighthouse", "granary", "orchard", "viaduct", "quarry", "windmill", "causeway"]
DELETE_ONE_SQL = """
DELETE FROM memories_embedding WHERE memory_id = (SELECT id FROM memories_memory ORDER BY id LIMIT 1)
"""
CHANGE_ONE_SQL = """
UPDATE memories_memory SET importance = 5 WHERE id = (SELECT id FROM memories_memory ORDER BY id DESC LIMIT 1)
"""


def fill() -> None:
    """Forty memories with their vectors, and a row of another kind."""
    namespace = Namespace.objects.create(name="kept")
    texts = [f"The {word} opens at {hour}, “{word}”." for word in WORDS for hour in range(5)]
    ids, _ = add_many(namespace.pk, [MemoryIn(content=text, tags=["a,b", text[:9]]) for text in texts])
    embedder = get_embedder()
    hashes = dict(Memory.objects.values_list("pk", "content_hash"))
    made = [(pk, bytes(hashes[pk]), vector) for pk, vector in zip(ids, embedder.embed(texts), strict=True)]
    assert Embedding.objects.write(namespace.pk, embedder.model, made) == len(texts)
    Session.objects.create(session_key="one", session_data="é", expire_date=timezone.now())


@pytest.fixture(scope="session")
def originals(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A plain backup, an encrypted one, and one that was made after two rows had changed."""
    directory = tmp_path_factory.mktemp("backups")
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.BACKUP_DIR", directory)
        fill()
        plain = make_backup()
        patch.setattr("django.conf.settings.BACKUP_ENCRYPTION_KEYS", [KEY])
        encrypted = make_backup()
        patch.setattr("django.conf.settings.BACKUP_ENCRYPTION_KEYS", [])
        with connection.cursor() as cursor:
            cursor.execute(DELETE_ONE_SQL)
            cursor.execute(CHANGE_ONE_SQL)
        changed = make_backup()
        empty_tables()
    yield SimpleNamespace(plain=plain, encrypted=encrypted, changed=changed)


@pytest.fixture
def folder(tmp_path, settings) -> Path:
    """An empty folder of backups."""
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_DIR.mkdir(mode=0o700)
    return settings.BACKUP_DIR


@pytest.fixture
def copy(folder, originals):
    """Copy one of the originals into the test's folder."""

    def copy(kind: str) -> StoredBackup:
        original = getattr(originals, kind)
        for path in (original.path, original.manifest_path):
            shutil.copy(path, folder)
        return read_stored(folder, original.name)

    return copy
