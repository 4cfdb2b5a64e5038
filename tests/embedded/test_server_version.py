"""A PostgreSQL server older than the oldest supported one is refused with a sentence."""

import json

import pytest

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.services import ensure_services
from memory_site.operations.selftest.scratch_site import find_free_port
from tests.stack.stack import create_short_directory, run_manage

REFUSAL = "PostgreSQL 99 or later is required (found 18."
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.old_server_settings", "EMBEDDER": "hashing"}


@pytest.fixture(scope="module")
def served():
    with create_short_directory() as directory, ensure_services(DataDirectory(directory / "home")):
        yield SETTINGS | {"DATA_DIR": str(directory / "home")}


def test_serve_refuses_it(home):
    result = run_manage("serve", "--port", str(find_free_port()), DATA_DIR=str(home.path), **SETTINGS)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"CommandError: The database cannot be used: {REFUSAL}")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["recent", "migrate"])
def test_commands_refuse_it(served, command):
    result = run_manage(command, **served)
    assert result.returncode == 1
    assert REFUSAL in result.stderr.splitlines()[-1]


def test_doctor_tells_it(served):
    result = run_manage("doctor", "--format", "json", **served)
    assert result.returncode == 3
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["database"]["status"] == "unhealthy"
    assert rows["database"]["message"].startswith(REFUSAL)
