"""The statement of a search and its plan, both without the numbers of vectors."""

import re
from typing import Any

from django.db import connection

from memories.bench.run import Outcome, bounded_statements
from memories.embeddings import get_embedder
from memories.search.execute import HIT_COLUMNS, build_scope
from memories.search.statement import build_statement
from sessions_app.models import Namespace

VECTOR = re.compile(r"\[(?:\s*-?\d[\d.eE+-]*\s*,){7,}[^\]]*\]")
#: A common table expression and the time of its node.
CTE_TIME = re.compile(r"CTE (\w+)\n[^\n]*actual time=[\d.]+\.\.([\d.]+) rows=([\d.]+)")
TOTAL_TIME = re.compile(r"(Planning|Execution) Time: ([\d.]+) ms")


def explain_statement(namespace: Namespace, outcome: Outcome) -> dict[str, Any]:
    """Return `statement`, `parameters`, `plan` and `stages`: (name, milliseconds, rows). Runs the statement once.

    Needs the right to see stored data: the plan names values. Raises SearchFailed when it takes too long.
    """
    search = outcome.search
    scope = build_scope(namespace.pk, outcome.setting.filters, search.model or get_embedder().model)
    sql, parameters = build_statement(scope, search, HIT_COLUMNS, None)
    with bounded_statements(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", parameters)
        plan = VECTOR.sub("[…]", "\n".join(line for (line,) in cursor.fetchall()))
    return {
        "statement": sql,
        "parameters": {name: describe_parameter(value) for name, value in parameters.items()},
        "plan": plan,
        "stages": list_stages(plan),
    }


def describe_parameter(value: Any) -> str:
    text = VECTOR.sub("[…]", str(value))
    return "a vector" if "HalfVector" in text or "[…]" in text else text


def list_stages(plan: str) -> list[tuple[str, float, int]]:
    """Return the slowest first; a stage includes those that it reads for the first time."""
    stages = [(name, float(ms), round(float(rows))) for name, ms, rows in CTE_TIME.findall(plan)]
    totals = [(f"{name.lower()} in all", float(ms), 0) for name, ms in TOTAL_TIME.findall(plan)]
    return totals + sorted(stages, key=lambda stage: -stage[1])
