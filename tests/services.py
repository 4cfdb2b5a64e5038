"""Where the real PostgreSQL and broker of a test run live, and what makes its processes begin quickly.

Loaded as a plugin, before the settings are read.
"""

import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests import NEW_SITE_VARIABLE

# What is started in the background of a shell ignores SIGINT, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Short: a Unix socket's path has little room.
SERVICES_DIRECTORY = Path(tempfile.mkdtemp(prefix="memory-site-tests-"))
for name in ("DATABASE_URL", "MEMORY_PG_HOST", "REDIS_URL", "EMBEDDING_MODEL", "EMBEDDING_MODEL_DIR", "BACKUP_DIR"):
    os.environ.pop(name, None)
os.environ |= {"DATA_DIR": str(SERVICES_DIRECTORY / "data"), "EMBEDDER": "hashing", "DEBUG": "false"}
# That of the process which started the others.
os.environ.setdefault(NEW_SITE_VARIABLE, str(SERVICES_DIRECTORY))
# The suite starts the product in some two hundred processes: it is compiled once, whatever this machine's habit.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Thousands of tests and schemas are here to stay: the search for garbage among them took a third of the collection.
gc.set_threshold(50_000, 20, 20)


def pytest_collection_finish() -> None:
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(SERVICES_DIRECTORY, ignore_errors=True)
