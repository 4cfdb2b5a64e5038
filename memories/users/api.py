"""/users: who is known, how much there is of them, and a user's memories in one call."""

import base64
import binascii
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router

from memories.graph.models import UserTotal
from memories.graph.tasks import statistics_trigger
from memories.users.erasure import collect_user_rows, count_rows, erase
from memories.users.schemas import ErasedOut, UserMemoriesOut, UserOut, UserPage
from memories.users.snapshot import load_user_snapshot
from memories.users.statistics import get_statistics, get_totals, total_out
from memory_site.core.http.fields import Label, check_storable
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.models import KEY_PREFIX

router = Router(tags=["users"])
DIRECTION_AFTER, DIRECTION_BEFORE = "after", "before"


@router.get("/users", auth=read_access, response={200: UserPage, **PROBLEMS})
def list_users(request: ApiRequest, limit: int = Query(20, ge=1, le=100), cursor: str | None = None):
    """Everyone of whom something is remembered, by user id, with the totals of now."""
    return json_response(paginate_by_user_id(UserTotal.objects.sum_by_user(request.auth.namespace_id), limit, cursor))


def paginate_by_user_id(rows: QuerySet, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of totals in the order of their user ids. Raises Problem 422 for a bad cursor."""
    direction, name = decode_cursor(cursor) if cursor else (DIRECTION_AFTER, "")
    back = direction == DIRECTION_BEFORE
    rows = rows.filter(user_id__lt=name).order_by("-user_id") if back else rows.filter(user_id__gt=name)
    found = list(rows[: limit + 1])
    more, found = len(found) > limit, found[:limit][:: -1 if back else 1]
    following = found and (back or more) and encode_cursor(DIRECTION_AFTER, found[-1]["user_id"])
    previous = found and (more if back else cursor is not None) and encode_cursor(DIRECTION_BEFORE, found[0]["user_id"])
    return {"results": [total_out(row) for row in found], "next": following or None, "previous": previous or None}


def encode_cursor(direction: str, name: str) -> str:
    return base64.urlsafe_b64encode(f"{direction} {name}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[str, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        direction, _, name = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        if direction not in (DIRECTION_AFTER, DIRECTION_BEFORE):
            raise ValueError
        return direction, check_storable(name)
    except (ValueError, binascii.Error) as error:
        raise invalid_field("cursor", "is not one this server gave out") from error


@router.get("/users/{path:user_id}/memories", auth=read_access, response={200: UserMemoriesOut, **PROBLEMS})
def load_user(request: ApiRequest, user_id: Label):
    """A user's newest 1,000 memories and the relationships among them, the strongest 10,000; nothing for who is not
    known."""
    return HttpResponse(load_user_snapshot(request.auth.namespace_id, user_id), content_type="application/json")


# Below the longer address, which an id would otherwise swallow.
@router.get("/users/{path:user_id}", auth=read_access, response={200: UserOut, **PROBLEMS})
def get_user(request: ApiRequest, user_id: Label):
    """A user's totals as of now, and the statistics of the last refresh."""
    now = get_totals(request.auth.namespace_id, user_id)
    if now is None:
        raise Problem(404, "Nothing is known of this user.")
    return json_response(now | {"statistics": get_statistics(request.auth.namespace_id, user_id)})


@router.delete("/users/{path:user_id}", auth=write_access, response={200: ErasedOut, **PROBLEMS})
def erase_user(request: ApiRequest, user_id: Label, dry_run: bool = False):
    """Erase everything of a user: memories, vectors, relationships, conversations, the sessions that are his alone.
    `dry_run` counts and erases nothing."""
    whose = (request.auth.namespace_id, user_id)
    found = (
        count_rows(collect_user_rows(*whose))
        if dry_run
        else erase(*whose, requested_by=f"{KEY_PREFIX}{request.auth.key_id}")
    )
    if not found:
        raise Problem(404, "Nothing is known of this user.")
    if not dry_run:
        statistics_trigger.notify_on_commit()
    return json_response({"user_id": user_id, "matched": found, "erased": {} if dry_run else found})
