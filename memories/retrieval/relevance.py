"""How relevant a memory is now: what it was worth, less what time took, plus what a late use gave back.

relevance = base × 0.5^(age / half-life) + 0.3 × 0.5^(hours since it was last used / 2), never below 0.05 nor above 1.
Its age counts from when it was last told; a use counts for a day. Of these figures SQL is made, and nothing else.
"""

from typing import Any

from django.db.models import F, FloatField
from django.db.models.expressions import Expression

from memories.types import MemoryType

NO_DECAY = float("inf")
#: Hours until a memory is worth half.
HALF_LIFE_HOURS = {
    MemoryType.TEMPORARY_STATE: 3,  # what is just going on: another one by the next meeting
    MemoryType.SEARCH_RESULT: 6,  # good for the search at hand, and that ends with half a working day
    MemoryType.TOOL_OUTPUT: 8,  # true of the moment the tool ran: a working day
    MemoryType.CONVERSATION_FACT: 24,  # what was said yesterday is still spoken of
    MemoryType.COMPLETED_ACTION: 24,  # so is what was done
    MemoryType.USER_SELECTION: 36,  # a choice stands a little longer than the talk about it
    MemoryType.DOMAIN_ENTITY: 48,  # a record of another system changes in days
    # All others that nobody declared to be knowledge: half a day.
    MemoryType.AGENT: 12,
    MemoryType.WORKFLOW: 12,
    MemoryType.CONVERSATION: 12,
    # Knowledge is as true tomorrow as it is today.
    MemoryType.INSIGHT: NO_DECAY,
    MemoryType.PROJECT: NO_DECAY,
    MemoryType.RAG: NO_DECAY,
    MemoryType.BUSINESS_FACT: NO_DECAY,
    MemoryType.STRATEGIC_INSIGHT: NO_DECAY,
    MemoryType.USER_PREFERENCE: NO_DECAY,
    MemoryType.PROCESS_KNOWLEDGE: NO_DECAY,
    MemoryType.MARKET_INTELLIGENCE: NO_DECAY,
    MemoryType.TECHNICAL_KNOWLEDGE: NO_DECAY,
    MemoryType.RELATIONSHIP: NO_DECAY,
}
PERMANENT_TYPES = frozenset(kind for kind, hours in HALF_LIFE_HOURS.items() if hours == NO_DECAY)
MIN_RELEVANCE, MAX_RELEVANCE = 0.05, 1
ACCESS_BOOST, ACCESS_BOOST_HALF_LIFE_HOURS, ACCESS_BOOST_HOURS = 0.3, 2, 24

RELEVANCE_COLUMNS = ("memory_type", "base_relevance", "created_at", "last_updated", "last_accessed_at")
NOW_SQL = "statement_timestamp()"
AGE_HOURS_SQL = (
    f"greatest(extract(epoch FROM {NOW_SQL} - coalesce({{last_updated}}, {{created_at}})), 0)::float8 / 3600"
)
HOURS_SINCE_ACCESS_SQL = f"greatest(extract(epoch FROM {NOW_SQL} - {{last_accessed_at}}), 0)::float8 / 3600"
HALF_LIFE_CASES_SQL = " ".join(f"WHEN '{kind}' THEN '{hours}'::float8" for kind, hours in HALF_LIFE_HOURS.items())
# PostgreSQL refuses products too small to be written, those of a memory of the year 2000: sixty half-lives leave
# nothing.
RELEVANCE_SQL = f"""least(greatest(
    greatest({{base_relevance}}, 1e-9) * 0.5::float8 ^ least({AGE_HOURS_SQL} / CASE {{memory_type}} {HALF_LIFE_CASES_SQL} END, 60)
    + CASE WHEN {{last_accessed_at}} > {NOW_SQL} - interval '{ACCESS_BOOST_HOURS} hours'
      THEN {ACCESS_BOOST} * 0.5::float8 ^ ({HOURS_SINCE_ACCESS_SQL} / {ACCESS_BOOST_HALF_LIFE_HOURS}) ELSE 0 END,
{MIN_RELEVANCE}), {MAX_RELEVANCE})"""


def relevance_sql(memory: str) -> str:
    """The expression for a statement of our own, where the memory goes by this name."""
    return RELEVANCE_SQL.format(**{column: f"{memory}.{column}" for column in RELEVANCE_COLUMNS})


def age_hours_sql(memory: str) -> str:
    """Hours since the memory was last told, in the same way."""
    return AGE_HOURS_SQL.format(**{column: f"{memory}.{column}" for column in RELEVANCE_COLUMNS})


class Relevance(Expression):
    """The same for a queryset of memories: `.annotate(relevance=Relevance())`."""

    def __init__(self) -> None:
        super().__init__(output_field=FloatField())
        self.columns: list[Any] = [F(column) for column in RELEVANCE_COLUMNS]

    def get_source_expressions(self) -> list[Any]:
        return self.columns

    def set_source_expressions(self, exprs: list[Any]) -> None:
        self.columns = exprs

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list]:
        names = dict(zip(RELEVANCE_COLUMNS, [compiler.compile(column)[0] for column in self.columns], strict=True))
        return RELEVANCE_SQL.format(**names), []
