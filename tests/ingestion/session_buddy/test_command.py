"""Arguments of the command `session_buddy`."""

import importlib
import sys

import pytest
from django.core.management import CommandError, call_command

pytestmark = pytest.mark.django_db


def test_without_duckdb_the_error_names_the_install_command(namespace, filled, monkeypatch):
    command = importlib.import_module("ingestion.management.commands.session_buddy")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for name in [name for name in sys.modules if name.startswith("ingestion.session_buddy")]:
        monkeypatch.delitem(sys.modules, name)
    try:
        importlib.reload(command)
        with pytest.raises(CommandError, match="pip install 'duckdb>=2,<3'") as error:
            call_command("session_buddy", "import", str(filled), "--namespace", "ours")
    finally:
        monkeypatch.undo()
        importlib.reload(command)
    assert error.value.returncode == 1


def test_an_unknown_namespace_is_a_usage_error(filled, db):
    with pytest.raises(CommandError, match="no namespace") as error:
        call_command("session_buddy", "import", str(filled), "--namespace", "nobody")
    assert error.value.returncode == 2


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
def test_the_wait_must_be_a_number_of_seconds(run, filled, wait):
    with pytest.raises(CommandError, match="seconds"):
        run("import", filled, f"--wait={wait}")
