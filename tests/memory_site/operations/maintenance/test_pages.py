"""A damaged page: what reads of it answer, and how it is found and named."""

import json
from pathlib import Path

import psycopg
import pytest
from django.conf import settings as project
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from psycopg import sql

from memory_site.operations.health.integrity import check_integrity
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.maintenance import files
from memory_site.operations.maintenance.findings import execute, fetch
from memory_site.operations.models import MaintenanceReport
from tests.conftest import Api
from tests.databases import execute_when_free

pytestmark = pytest.mark.django_db(transaction=True)
CLONE = "test_damaged"
PAGE_BYTES = 8192


@pytest.fixture
def clone(api):
    """A copy of the test's database whose pages are not in the server's buffers, used in place of it.

    As after a restart of the server, but quicker: the files are copied.
    """
    execute(
        "CREATE TABLE crates AS SELECT n AS number, repeat(md5(n::text), 3) AS label FROM generate_series(1, 500) n",
        "CREATE TABLE letters (number int, text text)",
        "INSERT INTO letters SELECT 1, string_agg(md5(n::text), '') FROM generate_series(1, 1000) n",
        "ALTER TABLE letters ALTER text SET STORAGE EXTERNAL",
        "INSERT INTO letters SELECT 2, string_agg(md5(n::text), '') FROM generate_series(1, 1000) n",
        "CREATE INDEX crates_number ON crates (number)",
    )
    api.add("The harbour opens at nine.")
    original = connection.settings_dict["NAME"]
    connection.close()
    run_beside("CREATE DATABASE {clone} TEMPLATE {original} STRATEGY file_copy", original)
    connection.settings_dict["NAME"] = CLONE
    yield
    connection.close()
    connection.settings_dict["NAME"] = original
    run_beside("DROP DATABASE {clone} WITH (FORCE)", original)
    execute("DROP TABLE crates, letters")


def run_beside(statement: str, original: str) -> None:
    names = {"clone": sql.Identifier(CLONE), "original": sql.Identifier(original)}
    ours = project.HOME.database
    with psycopg.connect(
        host=ours["HOST"], dbname="postgres", user=ours["USER"], password=ours["PASSWORD"], autocommit=True
    ) as other:
        execute_when_free(other, sql.SQL(statement).format(**names))


def damage(relation: str, *blocks: int, column: str = "oid") -> None:
    """Flip a bit in pages of a relation on the disk; of its TOAST, if the column is `reltoastrelid`."""
    [(path,)] = fetch(f"SELECT pg_relation_filepath({column}) FROM pg_class WHERE relname = %(name)s", name=relation)
    with Path(project.HOME.path, "postgres", path).open("r+b") as file:
        for block in blocks:
            file.seek(block * PAGE_BYTES + 5_000)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))


def check(capsys) -> tuple[int, dict[tuple[str, str], str]]:
    """Return exit code, and message and command of each damaged page, by name and beginning of the message."""
    code = 0
    try:
        call_command("maintain", "--check-pages", "--format", "json")
    except CommandError as error:
        code = error.returncode
    findings = json.loads(capsys.readouterr().out)["findings"]
    damaged = [finding for finding in findings if finding["kind"] == "damaged page"]
    return code, {(each["object"], each["message"].partition(" is damaged")[0]): each["command"] for each in damaged}


def test_tables_are_read_without_the_right_to_read_files(clone, capsys, monkeypatch):
    """Neighbouring pages are read at once: an error names the first one only."""

    def refuse() -> None:
        raise files.FilesNotChecked("no right")

    monkeypatch.setattr(files, "find_access", refuse)
    damage("crates", 0, 2, 3, 6)
    damage("letters", 1, column="reltoastrelid")
    code, found = check(capsys)
    assert code == 3
    assert [name for name, _ in found] == ["crates"] * 4 + ["letters"]
    assert [page for _, page in found] == ["Page 0", "Page 2", "Page 3", "Page 6", "Page 1 of the TOAST"]
    assert set(found.values()) == {f"python manage.py restore latest --replace {CLONE}"}
    report = MaintenanceReport.objects.latest_page_check()
    assert len(report.problems) == 5
    assert report.score <= 40


def test_files_of_indexes_are_compared_with_their_checksums(clone, capsys):
    damage("crates_number", 1)
    code, found = check(capsys)
    mend = "python manage.py maintain --reindex crates_number"
    assert (code, found) == (3, {("crates_number", "Page 1 of the index"): mend})
    assert check_integrity()[0] is HealthStatus.UNHEALTHY
    call_command(*mend.split()[2:])
    assert check_integrity()[0] is HealthStatus.UNHEALTHY  # PostgreSQL counts failures, not repairs
    capsys.readouterr()
    assert check(capsys) == (0, {})
    assert MaintenanceReport.objects.latest_page_check().score > 80
    assert check_integrity()[0] is HealthStatus.HEALTHY


def test_a_request_that_meets_a_damaged_page_says_so_and_names_the_command(clone, api: Api, caplog):
    damage("memories_memory", 0)
    response = api.get("/memories")
    assert response.status_code == 500
    assert response.json()["detail"].startswith("A page of the database is damaged, so this cannot be read")
    assert "maintain --check-pages" in response.json()["detail"]
    assert "Retry-After" not in response.headers
    assert 'met a damaged page: invalid page in block 0 of relation "base/' in caplog.text
    with pytest.raises(CommandError, match=r"is damaged.*invalid page in block 0 of relation"):
        call_command("recent", "--namespace", "ours")
