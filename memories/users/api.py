"""/users: who is known, how much there is of them, and a user's memories in one call."""

import base64
import binascii
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from memories.graph.models import UserTotal
from memories.graph.tasks import bell
from memories.users.erasure import belongings, count_rows, erase
from memories.users.schemas import ErasedOut, UserMemoriesOut, UserOut, UserPage
from memories.users.snapshot import user_memories
from memories.users.statistics import statistics, total_out, totals
from memory_site.core.http.fields import Label, storable
from memory_site.core.http.problems import Problem, invalid
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes

router = Router(tags=["users"])
AFTER, BEFORE = "after", "before"


@router.get("/users", auth=reads, response={200: UserPage, **PROBLEMS})
def list_users(request: HttpRequest, limit: int = Query(20, ge=1, le=100), cursor: str | None = None):
    """Everyone of whom something is remembered, by user id, with the totals of now."""
    return answer(page_by_name(UserTotal.objects.sums(request.auth.namespace_id), limit, cursor))


def page_by_name(rows: QuerySet, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of totals in the order of their user ids. Raises Problem 422 for a bad cursor."""
    direction, name = decoded(cursor) if cursor else (AFTER, "")
    back = direction == BEFORE
    rows = rows.filter(user_id__lt=name).order_by("-user_id") if back else rows.filter(user_id__gt=name)
    found = list(rows[: limit + 1])
    more, found = len(found) > limit, found[:limit][:: -1 if back else 1]
    following = found and (back or more) and encoded(AFTER, found[-1]["user_id"])
    previous = found and (more if back else cursor is not None) and encoded(BEFORE, found[0]["user_id"])
    return {"results": [total_out(row) for row in found], "next": following or None, "previous": previous or None}


def encoded(direction: str, name: str) -> str:
    return base64.urlsafe_b64encode(f"{direction} {name}".encode()).decode().rstrip("=")


def decoded(cursor: str) -> tuple[str, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        direction, _, name = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(" ")
        if direction not in (AFTER, BEFORE):
            raise ValueError
        return direction, storable(name)
    except (ValueError, binascii.Error) as error:
        raise invalid("cursor", "is not one this server gave out") from error


@router.get("/users/{path:user_id}/memories", auth=reads, response={200: UserMemoriesOut, **PROBLEMS})
def load_user(request: HttpRequest, user_id: Label):
    """A user's newest 1,000 memories and the relationships among them, the strongest 10,000; nothing for who is not
    known."""
    return HttpResponse(user_memories(request.auth.namespace_id, user_id), content_type="application/json")


# Below the longer address, which an id would otherwise swallow.
@router.get("/users/{path:user_id}", auth=reads, response={200: UserOut, **PROBLEMS})
def get_user(request: HttpRequest, user_id: Label):
    """A user's totals as of now, and the statistics of the last refresh."""
    now = totals(request.auth.namespace_id, user_id)
    if now is None:
        raise Problem(404, "Nothing is known of this user.")
    return answer(now | {"statistics": statistics(request.auth.namespace_id, user_id)})


@router.delete("/users/{path:user_id}", auth=writes, response={200: ErasedOut, **PROBLEMS})
def erase_user(request: HttpRequest, user_id: Label, dry_run: bool = False):
    """Erase everything of a user: memories, vectors, relationships, conversations, the sessions that are his alone.
    `dry_run` counts and erases nothing."""
    whose = (request.auth.namespace_id, user_id)
    found = count_rows(belongings(*whose)) if dry_run else erase(*whose, by=f"mem_{request.auth.key_id}")
    if not found:
        raise Problem(404, "Nothing is known of this user.")
    if not dry_run:
        bell.ring()
    return answer({"user_id": user_id, "matched": found, "erased": {} if dry_run else found})
