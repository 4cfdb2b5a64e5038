"""/users: the list of users, the totals of one, a user's memories in one call, and erasure."""

from django.http import HttpResponse
from ninja import Query, Router

from memories.graph.models import UserTotal
from memories.graph.tasks import statistics_trigger
from memories.users.erasure import count_user_rows, erase
from memories.users.schemas import ErasedOut, UserMemoriesOut, UserOut, UserPage
from memories.users.snapshot import load_user_snapshot
from memories.users.statistics import UNKNOWN_USER, get_statistics, get_totals, total_out
from memory_site.core.errors import NotFound
from memory_site.core.http.fields import Label
from memory_site.core.http.json_numbers import mark_floats
from memory_site.core.http.pagination import Keyset, paginate_by, parse_text
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.models import KEY_PREFIX

router = Router(tags=["users"])
BY_USER_ID = Keyset(("user_id",), parse_text)


@router.get("/users", auth=read_access, response={200: UserPage, **PROBLEMS})
def list_users(
    request: ApiRequest,
    user_id: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List the users with memories, by user id, with their current totals; with `user_id`, only this one."""
    namespace_id = request.auth.namespace_id
    rows = UserTotal.objects.filter(namespace=namespace_id).sum_by_user(namespace_id=namespace_id)
    rows = rows if user_id is None else rows.filter(user_id=user_id)
    return json_response(paginate_by(BY_USER_ID, rows, limit, cursor, total_out))


@router.get("/users/{path:user_id}/memories", auth=read_access, response={200: UserMemoriesOut, **PROBLEMS})
def load_user_memories(request: ApiRequest, user_id: Label):
    """Return a user's newest 1,000 memories and the relationships among them, the strongest 10,000; empty lists for an
    unknown user."""
    snapshot = load_user_snapshot(request.auth.namespace_id, user_id)
    return HttpResponse(mark_floats(snapshot.encode()), content_type="application/json")


# After the longer path, which would otherwise be taken for a user id.
@router.get("/users/{path:user_id}", auth=read_access, response={200: UserOut, **PROBLEMS})
def get_user(request: ApiRequest, user_id: Label):
    """Return a user's current totals, and the statistics as of the last refresh."""
    totals = get_totals(request.auth.namespace_id, user_id)
    if totals is None:
        raise NotFound(UNKNOWN_USER)
    return json_response(totals | {"statistics": get_statistics(request.auth.namespace_id, user_id)})


@router.delete("/users", auth=write_access, response={200: ErasedOut, **PROBLEMS})
def erase_any_user(request: ApiRequest, user_id: Label, dry_run: bool = False):
    """Erase everything about a user whose id no path can contain, such as `a/memories`. Otherwise the same as
    `DELETE /users/{user_id}`."""
    return erase_user(request, user_id, dry_run)


@router.delete("/users/{path:user_id}", auth=write_access, response={200: ErasedOut, **PROBLEMS})
def erase_user(request: ApiRequest, user_id: Label, dry_run: bool = False):
    """Erase everything about a user: memories, vectors, relationships, conversations, and the sessions that only this
    user has. `dry_run` counts the rows and erases nothing."""
    namespace_id = request.auth.namespace_id
    if dry_run:
        matched = count_user_rows(namespace_id, user_id)
    else:
        matched = erase(namespace_id, user_id, requested_by=f"{KEY_PREFIX}{request.auth.key_id}")
    if not matched:
        raise NotFound(UNKNOWN_USER)
    if not dry_run:
        statistics_trigger.notify_on_commit()
    return json_response({"user_id": user_id, "matched": matched, "erased": {} if dry_run else matched})
