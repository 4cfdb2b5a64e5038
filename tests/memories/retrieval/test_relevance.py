"""The SQL expression of relevance, compared with the formula in Python."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories.memory_types import NO_DECAY, MemoryType
from memories.models import Memory
from memories.retrieval.relevance import HALF_LIFE_HOURS, Relevance, relevance_sql

pytestmark = pytest.mark.django_db
STATED_HALF_LIVES = {
    "temporary_state": 3, "search_result": 6, "tool_output": 8, "conversation_fact": 24, "completed_action": 24,
    "user_selection": 36, "domain_entity": 48, "agent": 12, "workflow": 12, "conversation": 12,
}  # fmt: skip
AGO_SQL = "statement_timestamp() - make_interval(secs => %s)"
RELEVANCE_SQL = f"""SELECT {relevance_sql("memory")} FROM (VALUES (%s, %s::float8, {AGO_SQL}, {AGO_SQL}, {AGO_SQL}))
AS memory (memory_type, base_relevance, created_at, last_updated, last_accessed_at)"""
AGE_HOURS = st.floats(0, 24 * 365 * 30)
SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def compute_relevance(kind: str, base: float, created: float, updated: float | None, accessed: float | None) -> float:
    """Compute the formula with ages in hours."""
    age = created if updated is None else updated
    decayed = base * 0.5 ** (age / STATED_HALF_LIVES[kind]) if kind in STATED_HALF_LIVES else base
    boost = 0.3 * 0.5 ** (accessed / 2) if accessed is not None and accessed < 24 else 0
    return min(max(decayed + boost, 0.05), 1)


def query_relevance(kind: str, base: float, *hours: float | None) -> float:
    seconds = [each if each is None else each * 3600 for each in hours]
    with connection.cursor() as cursor:
        cursor.execute(RELEVANCE_SQL, [kind, base, *seconds])
        return cursor.fetchone()[0]


def test_the_half_life_of_each_type():
    assert set(HALF_LIFE_HOURS) == set(MemoryType)
    assert {str(kind): hours for kind, hours in HALF_LIFE_HOURS.items() if hours != NO_DECAY} == STATED_HALF_LIVES


@settings(max_examples=300, deadline=None, suppress_health_check=SUPPRESSED)
@given(
    kind=st.sampled_from([str(kind) for kind in MemoryType]),
    base=st.floats(0, 1),
    created=AGE_HOURS,
    updated=st.none() | AGE_HOURS,
    accessed=st.none() | AGE_HOURS | st.floats(0, 30),
)
def test_the_sql_expression_equals_the_formula(kind, base, created, updated, accessed):
    accessed = None if accessed is not None and abs(accessed - 24) < 0.001 else accessed
    found = query_relevance(kind, base, created, updated, accessed)
    assert found == pytest.approx(compute_relevance(kind, base, created, updated, accessed), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "base", "created", "updated", "accessed", "expected"),
    [
        ("agent", 1, 0, None, None, 1),
        ("agent", 1, 12, None, None, 0.5),
        ("agent", 1, 1000, 12, None, 0.5),
        ("agent", 0, 0, None, None, 0.05),
        ("agent", 1, 1000, None, 0, 0.3),
        ("agent", 1, 1000, None, 2, 0.15),
        ("agent", 1, 1000, None, 24.1, 0.05),
        ("agent", 1, 0, None, 0, 1),
        ("insight", 0.6, 100_000, None, None, 0.6),
        ("insight", 5e-324, 1, None, None, 0.05),
        ("temporary_state", 5e-324, 227_000, None, 227_000, 0.05),
        ("domain_entity", 0.8, 48, None, None, 0.4),
        ("agent", 1, -1, None, -1, 1),
    ],
)
def test_examples_of_relevance(kind, base, created, updated, accessed, expected):
    assert query_relevance(kind, base, created, updated, accessed) == pytest.approx(expected, abs=1e-5)


def test_a_queryset_annotates_the_same_relevance(api):
    now = datetime.now(UTC)
    kinds, hours = ("agent", "insight", "tool_output"), {"Just now.": 1, "Yesterday at noon.": 20, "Long ago.": 200_000}
    stored = [(kind, text, str(now - timedelta(hours=age))) for kind in kinds for text, age in hours.items()]
    ids = [api.add(text, memory_type=kind, base_relevance=0.9, created_at=at)["id"] for kind, text, at in stored]
    Memory.objects.filter(pk=ids[1]).update(last_accessed_at=now)
    asked = datetime.now(UTC)
    rows = Memory.objects.annotate(relevance=Relevance()).in_bulk(ids)
    for memory in rows.values():
        ages = [(asked - each).total_seconds() / 3600 if each else None
                for each in (memory.created_at, memory.last_updated, memory.last_accessed_at)]  # fmt: skip
        assert memory.relevance == pytest.approx(compute_relevance(memory.memory_type, 0.9, *ages), abs=1e-3)
    assert Memory.objects.annotate(relevance=Relevance()).filter(relevance__gt=0.8).count() == 5
