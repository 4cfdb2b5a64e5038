"""The version of one memory in requests and answers: its `ETag`, and what If-Match and If-None-Match demand of it."""

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Header

from memories.models import MemoryQuerySet
from memories.reads import select_memory
from memories.schemas import OUT_COLUMNS, to_memory_out
from memory_site.core.errors import NotFound
from memory_site.core.http.preconditions import Preconditions, format_etag
from memory_site.core.http.problems import ProblemOut
from memory_site.core.http.responses import PROBLEMS, json_response

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="Only if the memory still has one of these `ETag`s, or is there at all: `*`. Else 412.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="Only if the memory has none of these `ETag`s, or is not there: `*`."),
]
IfNoneAreThere = Annotated[
    str | None, Header(alias="If-None-Match", description="`*`: only if none of them is there yet. Else 412.")
]
#: Of operations that honour these headers.
CONDITIONAL_PROBLEMS = PROBLEMS | {412: ProblemOut}


def memory_response(memory: dict[str, Any], status: int = 200) -> HttpResponse:
    """Return the answer with one memory, as MemoryOut, and its ETag."""
    response = json_response(memory, status)
    response["ETag"] = format_etag(memory["revision"])
    return response


def read_memory_response(namespace_id: int, memory_id: UUID) -> HttpResponse:
    """Return the answer with a memory that has just been changed. Raises NotFound if it was deleted since."""
    row = select_memory(namespace_id, memory_id).values(*OUT_COLUMNS).first()
    if row is None:
        raise NotFound("There is no such memory.")
    return memory_response(to_memory_out(row))


def memory_response_unless_known(memory: dict[str, Any], conditions: Preconditions) -> HttpResponse:
    """Return the answer to a GET: without a body when the caller has this version. Raises Problem 412."""
    response = memory_response(memory)
    if conditions.has_seen(memory["revision"]):
        return HttpResponse(status=304, headers={"ETag": response["ETag"]})
    conditions.check(memory["revision"])
    return response


def lock_revision(memories: MemoryQuerySet) -> int | None:
    """Lock the one memory that is selected until the transaction ends. Return its revision, or None."""
    return memories.select_for_update().values_list("revision", flat=True).first()
