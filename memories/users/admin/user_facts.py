"""The figures on a user's page: totals, types, memories over time, and what else is kept of the user."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from memories.console_urls import build_memories_url
from memories.counts import count_unembedded, count_user_over_time
from memories.knowledge.models import Pattern, Preference
from memory_site.core.admin.charts import Bar, Cell, Chart, build_bars, draw_chart
from memory_site.core.admin.formatting import format_datetime, format_number, replace_underscores
from sessions_app.models import Conversation

#: Of the drawing over time: a year in weeks, which begin on Mondays.
STEP, STEPS = timedelta(days=7), 53
ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
#: What else is kept of a user, each with a list that filters by user.
RELATED: dict[str, type[Model]] = {"preferences": Preference, "patterns": Pattern, "conversations": Conversation}
#: Lists of apps that depend on this one: their rows are not counted here.
RELATED_LISTS = {"workflow runs": "ingestion_workflowexecution"}


def build_facts_context(
    now: dict[str, Any], known: dict[str, Any] | None, namespace_id: int, user_id: str
) -> dict[str, Any]:
    """Return current totals, and entities, types and times as of the last refresh."""
    mine = {"namespace": namespace_id, "user_id": user_id}
    return {
        "memories": build_memories_url(**mine),
        "cards": list(build_cards(now, known, namespace_id, user_id)),
        "types": build_type_bars(known["types"], mine) if known else [],
        "timeline": draw_timeline(namespace_id, user_id),
        "related": list(count_related(namespace_id, user_id)),
        "refreshed_at": known and format_datetime(known["refreshed_at"]),
    }


def build_cards(
    now: dict[str, Any], known: dict[str, Any] | None, namespace_id: int, user_id: str
) -> Iterator[tuple[str, Any]]:
    waiting = count_unembedded([(namespace_id, user_id)]).get((namespace_id, user_id), 0)
    yield "Memories", format_number(now["memories"])
    yield "Without a vector", format_number(waiting)
    yield "Relationships", format_number(now["relationships"])
    yield "Entities", format_number(known["entities"]) if known else "-"
    yield "First", format_datetime(known["first_at"]) if known else "-"
    yield "Latest", format_datetime(known["latest_at"]) if known else "-"


def build_type_bars(types: dict[str, int], mine: dict[str, Any]) -> list[Bar]:
    return build_bars(
        [
            {"label": replace_underscores(kind), "value": count, "url": build_memories_url(**mine, memory_type=kind)}
            for kind, count in sorted(types.items(), key=lambda each: -each[1])
        ]
    )


def draw_timeline(namespace_id: int, user_id: str) -> Chart | None:
    """Draw the memories of each week of the last year, or nothing if there are none."""
    latest = ORIGIN + (timezone.now() - ORIGIN) // STEP * STEP
    starts = [latest - ago * STEP for ago in reversed(range(STEPS))]
    counts = count_user_over_time(namespace_id, user_id, starts[0], STEP)
    if not counts:
        return None
    rows = [
        (f"{start:%Y-%m-%d}", [Cell(counts.get(start, 0), build_week_url(namespace_id, user_id, start))])
        for start in starts
    ]
    summary = f"Memories created in each week of the last year: {sum(counts.values()):,} in all."
    numbers = {"memories": [counts.get(start, 0) for start in starts]}
    return draw_chart(summary, [f"{start:%m-%d}" for start in starts], numbers, rows, "week of")


def build_week_url(namespace_id: int, user_id: str, start: datetime) -> str:
    end = start + STEP - timedelta(days=1)  # the filter includes its last day
    times = {"created_from": f"{start:%Y-%m-%d}", "created_to": f"{end:%Y-%m-%d}"}
    return build_memories_url(namespace=namespace_id, user_id=user_id, **times)


def count_related(namespace_id: int, user_id: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, number and list of what else is kept of a user; without a number where it is not counted."""
    query = urlencode({"namespace": namespace_id, "user_id": user_id})
    for name, model in RELATED.items():
        if count := model._default_manager.filter(namespace=namespace_id, user_id=user_id).count():
            list_name = f"{model._meta.app_label}_{model._meta.model_name}"
            yield name, format_number(count), f"{reverse(f'admin:{list_name}_changelist')}?{query}"
    for name, list_name in RELATED_LISTS.items():
        yield name, "", f"{reverse(f'admin:{list_name}_changelist')}?{query}"
