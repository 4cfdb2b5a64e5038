"""The console's SQL page: off by default, for a permission of its own, with a log of every statement."""

import pytest

from memory_site.operations.models import SqlStatement
from memory_site.operations.sql_page.run import Result, SqlProblem
from tests.console import create_staff_user, fetch_page_text

pytestmark = pytest.mark.django_db
PAGE, LOG = "/admin/operations/sqlstatement/run/", "/admin/operations/sqlstatement/"


@pytest.fixture
def runs(settings, monkeypatch) -> list[tuple[str, int]]:
    """The page is on; statements come here instead of to the database, where test_run.py sends them."""
    settings.SQL_PAGE = True
    sent: list[tuple[str, int]] = []

    def answer(text: str, max_rows: int) -> Result:
        sent.append((text, max_rows))
        if "wrong" in text:
            raise SqlProblem('column "wrong" does not exist')
        return Result(["n", "<b>"], [("1", None), ("=1+1", "-5"), ("<script>", "@x")], True, 0.012)

    monkeypatch.setattr("memory_site.operations.sql_page.log.run_statement", answer)
    return sent


def test_it_is_off_unless_it_is_set(console):
    assert "The SQL page is off" in fetch_page_text(console, PAGE)
    assert "The SQL page is off" in console.post(PAGE, {"statement": "SELECT 1"}).content.decode()
    assert not SqlStatement.objects.exists()


def test_rows_are_shown_and_the_statement_is_logged(runs, console):
    text = console.post(PAGE, {"statement": "SELECT 1"}).content.decode()
    assert all(part in text for part in ("&lt;b&gt;", "NULL", "&lt;script&gt;", "3 and more rows", "12 ms"))
    assert "<script>" not in text[text.index("sql-result") :].partition("</table>")[0]
    entry = SqlStatement.objects.get()
    assert (entry.username, entry.statement, entry.rows, entry.is_cut, entry.error) == (
        "operator",
        "SELECT 1",
        3,
        True,
        "",
    )
    log = fetch_page_text(console, LOG)
    assert "SELECT 1" in log and "12 ms" in log
    assert "SELECT 1" in fetch_page_text(console, PAGE, again=str(entry.pk))


def test_a_refused_statement_is_logged_with_the_reason(runs, console):
    assert (
        "column &quot;wrong&quot; does not exist" in console.post(PAGE, {"statement": "SELECT wrong"}).content.decode()
    )
    assert SqlStatement.objects.get().error == 'column "wrong" does not exist'


def test_csv_has_more_rows_and_no_formulas(runs, console):
    response = console.post(PAGE, {"statement": "SELECT 1", "format": "csv"})
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines == ["n,<b>", "1,", "'=1+1,-5", "<script>,'@x"]
    assert (response["Content-Type"], runs) == ("text/csv; charset=utf-8", [("SELECT 1", 10_000)])


@pytest.mark.parametrize("statement", ["", "\0", "x" * 20_000])
def test_what_is_no_statement_is_a_message(settings, console, statement):
    settings.SQL_PAGE = True
    response = console.post(PAGE, {"statement": statement})
    assert response.status_code == 200 and "Not run to its end" in response.content.decode()


@pytest.mark.parametrize("query", ["again=x", "again=%00", "again=0189dc9f-0000-7000-8000-000000000000", "example=%00"])
def test_no_parameter_breaks_the_page(runs, console, query):
    assert console.get(f"{PAGE}?{query}").status_code == 200


def test_only_its_own_permission_opens_it(runs, client, django_user_model):
    staff = create_staff_user(client, django_user_model, "view_memory", "view_sqlstatement")
    assert staff.get(PAGE).status_code == staff.post(PAGE, {"statement": "SELECT 1"}).status_code == 403
    assert (staff.get(LOG).status_code, runs) == (200, [])


def test_with_it_alone_the_log_stays_closed(runs, client, django_user_model):
    entry = SqlStatement.objects.create(username="other", statement="SELECT 'of another'")
    staff = create_staff_user(client, django_user_model, "run_sql")
    assert "of another" not in fetch_page_text(staff, PAGE, again=str(entry.pk))
    assert staff.get(LOG).status_code == 403
