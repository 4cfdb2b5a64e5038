"""GET /memories/values: which values a part of the metadata has."""

import json
from typing import Annotated, Any

from django.db import connection
from django.db.models.expressions import RawSQL
from ninja import Query, Router, Schema
from pydantic import BeforeValidator, Field

from memories.api.memories import FilterParameters, ensure_list
from memories.models import Memory
from memories.search.filters import Filters
from memory_site.core.http.fields import Label
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access

router = Router(tags=["memories"])
#: The values are those of so many memories, the newest.
MAX_MEMORIES = 100_000
MAX_PATH = 8
Path = Annotated[list[Label], BeforeValidator(ensure_list), Field(max_length=MAX_PATH)]
PATH = Query([], description="The names that lead to the value, one in the other; none: the whole metadata.")

SELECT_VALUES_SQL = """
WITH newest AS MATERIALIZED ({rows})
SELECT value::text, count(*), (SELECT count(*) FROM newest) FROM newest GROUP BY value ORDER BY value NULLS FIRST
LIMIT {limit}
"""


class MetadataValueOut(Schema):
    value: Any = Field(description="A value that at least one memory has there: any JSON.")
    memories: int = Field(description="How many memories have it.")


class MetadataValuesOut(Schema):
    results: list[MetadataValueOut] = Field(description="The values, in PostgreSQL's order of JSON.")
    complete: bool = Field(description="Whether these are all, of all memories that match.")


@router.get("/memories/values", auth=read_access, response={200: MetadataValuesOut, **PROBLEMS})
def list_metadata_values(
    request: ApiRequest,
    filters: Query[FilterParameters],
    path: Path = PATH,
    limit: int = Query(1_000, ge=1, le=10_000),
):
    """List the distinct values of a part of the metadata, of the newest 100,000 memories that match."""
    found, read = fetch_values(request.auth.namespace_id, filters, path, limit + 2)
    complete = len(found) <= limit and read <= MAX_MEMORIES
    return json_response({"results": found[:limit], "complete": complete})


def fetch_values(namespace_id: int, filters: Filters, path: list[str], limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return {value, memories} by value, at most `limit` with those that have none, and of how many memories: one more
    than MAX_MEMORIES if there are more."""
    matching = Memory.objects.in_namespace(namespace_id, filters.states).matching(filters).newest_first()
    value = RawSQL('"memories_memory"."metadata" #> %s::text[]', [path])
    rows, parameters = matching.annotate(value=value).values("value")[: MAX_MEMORIES + 1].query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(SELECT_VALUES_SQL.format(rows=rows, limit=limit), parameters)
        found = cursor.fetchall()
    read = found[0][2] if found else 0
    # NULL is no value, unlike JSON's null.
    return [{"value": json.loads(text), "memories": number} for text, number, _ in found if text is not None], read
