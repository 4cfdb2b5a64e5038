"""GET /labels: which users, agents, sources, tags and so on a namespace has."""

from functools import partial
from typing import Annotated, Any

from ninja import Query, Router, Schema
from pydantic import AfterValidator, Field

from memories.labels import MAX_COUNTED, MAX_TAGGED_MEMORIES, LabelField, fetch_labels
from memory_site.core.http.fields import check_storable
from memory_site.core.http.pagination import Keyset, build_page, parse_text
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access

router = Router(tags=["memories"])
BY_VALUE = Keyset(("value",), parse_text)
Prefix = Annotated[str, AfterValidator(check_storable)]
FIELD = Query(
    description=f"Which label. Tags are those of the newest {MAX_TAGGED_MEMORIES:,} memories; all others are exact."
)
PREFIX = Query("", max_length=255, description="Only values that begin so.")


class LabelOut(Schema):
    value: str = Field(description="A value that at least one memory has.", json_schema_extra={"example": "ada"})
    memories: int = Field(description=f"How many memories have it; counting stops at {MAX_COUNTED:,}.")
    has_more: bool = Field(description="Whether there are more than were counted.")


class LabelPage(Schema):
    results: list[LabelOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


@router.get("/labels", auth=read_access, response={200: LabelPage, **PROBLEMS})
def list_labels(
    request: ApiRequest,
    field: LabelField = FIELD,
    prefix: Prefix = PREFIX,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List the distinct values of a label with the numbers of memories that have them, by value."""
    fetch = partial(fetch_labels, request.auth.namespace_id, field, prefix, limit)
    return json_response(build_page(BY_VALUE, limit, cursor, label_out, fetch))


def label_out(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": row["value"],
        "memories": min(row["memories"], MAX_COUNTED),
        "has_more": row["memories"] > MAX_COUNTED,
    }
