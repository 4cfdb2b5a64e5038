"""The client's wheel, and what importing it costs."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from math import inf
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from memory_site import client_archive

FOLDER = settings.BASE_DIR / "memory_client"
#: With what they import themselves they are two thirds of the import.
NEEDED = "httpx2, msgspec"
MOST_MODULES = 450
MEASURE = f"""
import sys, time
begun = time.process_time()
import {NEEDED}
needed = time.process_time()
import memory_client
ended = time.process_time()
print((ended - needed) / (needed - begun), len(sys.modules), *{{name.partition(".")[0] for name in sys.modules}})
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from what a site gives to agents on other machines."""
    folder = tmp_path_factory.mktemp("wheel")
    archive = folder / "memory-site-client.tar.gz"
    archive.write_bytes(Client().get("/client/memory-site-client.tar.gz").content)
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*argv, "--wheel-dir", str(folder), str(archive)], check=True, timeout=200)
    (path,) = folder.glob("memory_site_client-0.1.0-py3-none-any.whl")
    return zipfile.ZipFile(path)


def test_wheel_has_every_module_and_nothing_else(wheel):
    modules = {path.relative_to(FOLDER.parent) for path in FOLDER.rglob("*.py")}
    packed = {Path(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == modules | {Path("memory_client/py.typed")}


def test_site_serves_the_client_without_a_key_and_nothing_beside_it():
    answer = Client().get("/client/memory-site-client.tar.gz")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/gzip")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = set(archive.getnames())
    files = {path.relative_to(FOLDER) for path in FOLDER.rglob("*") if "__pycache__" not in path.parts}
    files = {path for path in files if (FOLDER / path).is_file()}
    assert names == {f"memory-site-client/{path}" for path in files}
    assert Client().get("/client/memory-site-client.tar.gz").content == answer.content
    for path in ("/client/", "/client/../manage.py", "/client/pyproject.toml"):
        assert Client().get(path).status_code == 404
    assert Client().post("/client/memory-site-client.tar.gz")["Allow"] == "GET, HEAD"


def test_archive_has_neither_hidden_files_nor_what_links_lead_to(tmp_path, monkeypatch):
    folder, secret = tmp_path / "client", tmp_path / "secret.py"
    for name in ("memory.py", ".venv/lib/other.py", ".notes.md", "hybrid/.draft.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
    secret.write_text("SECRET")
    (folder / "linked.py").symlink_to(secret)
    (folder / "folder.py").mkdir()
    monkeypatch.setattr(client_archive, "CLIENT_DIR", folder)
    with tarfile.open(fileobj=io.BytesIO(client_archive.pack_client.__wrapped__())) as archive:
        assert archive.getnames() == ["memory-site-client/memory.py"]


def test_wheel_s_metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert (metadata["Name"], metadata["Version"], metadata["Requires-Python"]) == (
        "memory-site-client",
        "0.1.0",
        ">=3.11",
    )
    needed = [each for each in metadata.get_all("Requires-Dist") if "extra ==" not in each]
    assert [each.partition("<")[0].partition(">")[0] for each in needed] == ["httpx2", "msgspec"]
    assert "MemoryClient" in metadata.get_payload()
    assert sum(each.file_size for each in wheel.infolist()) < 1_500_000


def test_import_is_quick_and_brings_no_framework():
    """It takes less time than what it needs takes, on any machine."""
    environment = {"PATH": os.environ["PATH"]}
    runs = [inf]
    while min(runs) >= 1 and len(runs) < 30:  # of a busy machine the best run says what importing takes
        argv = [sys.executable, "-c", MEASURE]
        answer = subprocess.run(argv, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=True)
        part, count, *modules = answer.stdout.split()
        runs.append(float(part))
    assert min(runs) < 1 and int(count) < MOST_MODULES
    assert {"httpx2", "msgspec"} < set(modules)
    assert not set(modules) & {"django", "pydantic", "memory_site", "langchain_core", "langgraph", "agents", "sqlite3"}
