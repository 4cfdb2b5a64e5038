"""How relevant a memory is now: what it was worth, less what time took, plus what a late use gave back.

relevance = base × 0.5^(age / half-life) + 0.3 × 0.5^(hours since it was last used / 2), never below 0.05 nor above 1.
Its age counts from when it was last told; a use counts for a day. Of these figures SQL is made, and nothing else.
"""

from typing import Any

from django.db.models import F, FloatField
from django.db.models.expressions import Expression

from memories.types import MemoryType

NEVER = float("inf")
#: Hours until a memory is worth half.
HALF_LIFE = {
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
    MemoryType.INSIGHT: NEVER,
    MemoryType.PROJECT: NEVER,
    MemoryType.RAG: NEVER,
    MemoryType.BUSINESS_FACT: NEVER,
    MemoryType.STRATEGIC_INSIGHT: NEVER,
    MemoryType.USER_PREFERENCE: NEVER,
    MemoryType.PROCESS_KNOWLEDGE: NEVER,
    MemoryType.MARKET_INTELLIGENCE: NEVER,
    MemoryType.TECHNICAL_KNOWLEDGE: NEVER,
    MemoryType.RELATIONSHIP: NEVER,
}
PERMANENT = frozenset(kind for kind, hours in HALF_LIFE.items() if hours == NEVER)
LEAST, MOST = 0.05, 1
BOOST, BOOST_HALF_LIFE, BOOST_HOURS = 0.3, 2, 24

COLUMNS = ("memory_type", "base_relevance", "created_at", "last_updated", "last_accessed_at")
NOW = "statement_timestamp()"
AGE = f"greatest(extract(epoch FROM {NOW} - coalesce({{last_updated}}, {{created_at}})), 0)::float8 / 3600"
SINCE_ACCESS = f"greatest(extract(epoch FROM {NOW} - {{last_accessed_at}}), 0)::float8 / 3600"
CASES = " ".join(f"WHEN '{kind}' THEN '{hours}'::float8" for kind, hours in HALF_LIFE.items())
# PostgreSQL refuses products too small to be written, those of a memory of the year 2000: sixty half-lives leave
# nothing.
SQL = f"""least(greatest(
    greatest({{base_relevance}}, 1e-9) * 0.5::float8 ^ least({AGE} / CASE {{memory_type}} {CASES} END, 60)
    + CASE WHEN {{last_accessed_at}} > {NOW} - interval '{BOOST_HOURS} hours'
      THEN {BOOST} * 0.5::float8 ^ ({SINCE_ACCESS} / {BOOST_HALF_LIFE}) ELSE 0 END,
{LEAST}), {MOST})"""


def relevance(memory: str) -> str:
    """The expression for a statement of our own, where the memory goes by this name."""
    return SQL.format(**{column: f"{memory}.{column}" for column in COLUMNS})


def age(memory: str) -> str:
    """Hours since the memory was last told, in the same way."""
    return AGE.format(**{column: f"{memory}.{column}" for column in COLUMNS})


class Relevance(Expression):
    """The same for a queryset of memories: `.annotate(relevance=Relevance())`."""

    def __init__(self) -> None:
        super().__init__(output_field=FloatField())
        self.columns: list[Any] = [F(column) for column in COLUMNS]

    def get_source_expressions(self) -> list[Any]:
        return self.columns

    def set_source_expressions(self, exprs: list[Any]) -> None:
        self.columns = exprs

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list]:
        names = dict(zip(COLUMNS, [compiler.compile(column)[0] for column in self.columns], strict=True))
        return SQL.format(**names), []
