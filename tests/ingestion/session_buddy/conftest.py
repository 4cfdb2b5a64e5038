"""Fixtures of the exchange with Session-Buddy. Without the optional package `duckdb` there are no tests."""

import io
import json
from datetime import UTC, datetime
from importlib.util import find_spec

import pytest
from django.core.management import CommandError, call_command

from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, save_insights
from tests.ingestion.session_buddy.texts import INSIGHT_TEXT, LONG_AGO, OTHER_TEXT

if find_spec("duckdb") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "buddy.duckdb"


@pytest.fixture
def run(namespace, capsys, settings):
    """Run the command. Return the counts by table and kind, and the text on stderr; the last line says which rows were
    left out."""
    settings.MACHINE_TIME_ZONE = "UTC"

    def command(action: str, file, *more: str) -> tuple[dict, str]:
        out = io.StringIO()
        arguments = [] if "--namespace" in more else ["--namespace", "ours"]
        error = ""
        try:
            call_command("session_buddy", action, str(file), *arguments, "--format", "json", *more, stdout=out)
        except CommandError as left_out:
            error = str(left_out)
            if not error.startswith("Rows left out"):
                raise
        rows = json.loads(out.getvalue())
        counts = {(row.pop("table"), row.pop("kind", "insights")): tuple(row.values()) for row in rows}
        return counts, " ".join([*capsys.readouterr().err.split(), error])

    return command


@pytest.fixture
def filled(path):
    """Return the path of a file with one row of each kind."""
    from tests.ingestion.session_buddy.files import create_filled_file  # noqa: PLC0415  (needs an optional package)

    create_filled_file(path)
    return path


@pytest.fixture
def insight(namespace) -> Insight:
    """Return the first of two insights of the namespace: one of a project, one of the global collection."""
    draft = InsightDraft(
        INSIGHT_TEXT,
        insight_type="gotcha",
        topics=["pools"],
        projects=["site", "shop"],
        confidence=0.7,
        quality=0.6,
        tags=["important"],
        metadata={"seen": 2},
        created_at=LONG_AGO,
        usage_count=4,
        last_used_at=datetime(2024, 6, 1, tzinfo=UTC),
    )
    save_insights(namespace.pk, [draft, InsightDraft(OTHER_TEXT, "global", created_at=LONG_AGO)])
    return Insight.objects.select_related("memory").get(memory__content=INSIGHT_TEXT)
