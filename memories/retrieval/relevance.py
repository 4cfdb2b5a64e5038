"""The present relevance of a memory: its base relevance, decayed by age, plus a boost after an access.

relevance = base × 0.5^(age / half-life) + 0.3 × 0.5^(hours since the last access / 2), limited to 0.05 to 1.
Age is measured from the last update. An access boosts relevance for 24 hours. The SQL below is generated from these
constants.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import F, FloatField
from django.db.models.expressions import Combinable, Expression

from memories.memory_types import MemoryType

HALF_LIFE_HOURS = {kind: kind.half_life_hours for kind in MemoryType}
MIN_RELEVANCE, MAX_RELEVANCE = 0.05, 1
ACCESS_BOOST, ACCESS_BOOST_HALF_LIFE_HOURS, ACCESS_BOOST_HOURS = 0.3, 2, 24

RELEVANCE_COLUMNS = ("memory_type", "base_relevance", "created_at", "last_updated", "last_accessed_at")
NOW_SQL = "statement_timestamp()"
AGE_HOURS_SQL = (
    f"greatest(extract(epoch FROM {NOW_SQL} - coalesce({{last_updated}}, {{created_at}})), 0)::float8 / 3600"
)
HOURS_SINCE_ACCESS_SQL = f"greatest(extract(epoch FROM {NOW_SQL} - {{last_accessed_at}}), 0)::float8 / 3600"
HALF_LIFE_CASES_SQL = " ".join(f"WHEN '{kind}' THEN '{hours}'::float8" for kind, hours in HALF_LIFE_HOURS.items())
# PostgreSQL raises an error for products that are too small for a float8, such as those of a memory of the year 2000:
# after sixty half-lives nothing is left.
DECAY_SQL = f"0.5::float8 ^ least({AGE_HOURS_SQL} / CASE {{memory_type}} {HALF_LIFE_CASES_SQL} END, 60)"
ACCESS_BOOST_SQL = f"""CASE WHEN {{last_accessed_at}} > {NOW_SQL} - interval '{ACCESS_BOOST_HOURS} hours'
      THEN {ACCESS_BOOST} * 0.5::float8 ^ ({HOURS_SINCE_ACCESS_SQL} / {ACCESS_BOOST_HALF_LIFE_HOURS}) ELSE 0 END"""
RELEVANCE_SQL = f"""least(greatest(
    greatest({{base_relevance}}, 1e-9)
    * {DECAY_SQL}
    + {ACCESS_BOOST_SQL},
{MIN_RELEVANCE}), {MAX_RELEVANCE})"""


def relevance_sql(memory: str) -> str:
    """Return the expression for a raw statement in which the table of memories has this alias."""
    return RELEVANCE_SQL.format(**{column: f"{memory}.{column}" for column in RELEVANCE_COLUMNS})


class Relevance(Expression):
    """The same expression for a queryset of memories: `.annotate(relevance=Relevance())`. Or one of its parts:
    `Relevance(DECAY_SQL)`, `Relevance(ACCESS_BOOST_SQL)`."""

    def __init__(self, sql: str = RELEVANCE_SQL) -> None:
        super().__init__(output_field=FloatField())
        self.sql = sql
        self.columns: list[Any] = [F(column) for column in RELEVANCE_COLUMNS]

    def get_source_expressions(self) -> list[Any]:
        return self.columns

    def set_source_expressions(self, exprs: Sequence[Combinable | Expression]) -> None:
        self.columns = list(exprs)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        names = dict(zip(RELEVANCE_COLUMNS, [compiler.compile(column)[0] for column in self.columns], strict=True))
        return self.sql.format(**names), ()
