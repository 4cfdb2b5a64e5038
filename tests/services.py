"""Where the real PostgreSQL and broker of a test run live. Loaded as a plugin, before the settings are read."""

import os
import shutil
import tempfile
from pathlib import Path

from tests import NEW_SITE_VARIABLE

# Short: a Unix socket's path has little room.
SERVICES_DIRECTORY = Path(tempfile.mkdtemp(prefix="memory-site-tests-"))
for name in ("DATABASE_URL", "MEMORY_PG_HOST", "REDIS_URL", "EMBEDDING_MODEL", "EMBEDDING_MODEL_DIR", "BACKUP_DIR"):
    os.environ.pop(name, None)
os.environ |= {"DATA_DIR": str(SERVICES_DIRECTORY / "data"), "EMBEDDER": "hashing", "DEBUG": "false"}
# That of the process which started the others.
os.environ.setdefault(NEW_SITE_VARIABLE, str(SERVICES_DIRECTORY))


def pytest_unconfigure() -> None:
    shutil.rmtree(SERVICES_DIRECTORY, ignore_errors=True)
