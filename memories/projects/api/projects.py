"""/projects: groups, dependencies, what a project sees, and sharing among projects."""

import time
from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Body, Query, Router

from memories import tasks
from memories.expiry import making_way
from memories.insights.models import Insight, ProjectDependency, ProjectGroup
from memories.models import Memory
from memories.projects.schemas.projects import (
    DependencyIn,
    DependencyKind,
    DependencyOut,
    DependencyPage,
    DirectedPage,
    GroupIn,
    GroupOut,
    GroupPage,
    GroupPatch,
    PatternsOut,
    ProjectSearchIn,
    ProjectSearchOut,
    RegisterIn,
)
from memories.projects.schemas.sharing import SharedOut, ShareIn, ShareKnownIn
from memories.projects.visibility import InSight, masks_of, share, share_text, told, weighed
from memories.projects.word_patterns import project_patterns
from memories.schemas import OUT_COLUMNS, memory_out
from memories.search.execute import find
from memories.search.query import Search
from memories.search.query_embedding import search_vector
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent

router = Router(tags=["projects"])
GROUP, DEPENDENCY = tuple(GroupOut.model_fields), tuple(DependencyOut.model_fields)


def mine(kind: type[Model], request: HttpRequest) -> QuerySet:
    return kind.objects.in_namespace(request.auth.namespace_id)


def no_group() -> Problem:
    return Problem(404, "There is no such group.")


def group_answer(request: HttpRequest, name: str, said: dict[str, Any]) -> HttpResponse:
    """Keep a group or change what is said of it."""
    said |= {"masks": masks_of(said["projects"])}
    with transaction.atomic():  # until its row is read nobody deletes it
        pk, created = told(ProjectGroup, request.auth.namespace_id, {"name": name}, said)
        return answer(ProjectGroup.objects.values(*GROUP).get(pk=pk), 201 if created else 200)


@router.post("/projects/groups", auth=writes, response={200: GroupOut, 201: GroupOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def add_group(request: HttpRequest, payload: GroupIn):
    """Group projects: each member sees what the others learned. 201, or 200 when a group of this name was there."""
    return group_answer(request, payload.name, payload.model_dump(exclude_unset=True, exclude={"name"}))


@router.get("/projects/groups", auth=reads, response={200: GroupPage, **PROBLEMS})
def list_groups(
    request: HttpRequest,
    project: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Groups, newest first; those of one project when it is named."""
    rows = mine(ProjectGroup, request)
    rows = rows if project is None else rows.filter(projects__contains=[project])
    return answer(page(rows, GROUP, limit, cursor, dict))


@router.post("/projects/register", auth=writes, response={200: GroupOut, 201: GroupOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def register_projects(request: HttpRequest, payload: RegisterIn):
    """Make a group of these repositories, or make these the repositories of the group of this name."""
    said = payload.model_dump(exclude_unset=True, include={"description"}) | {"projects": payload.projects()}
    return group_answer(request, payload.name, said)


@router.post("/projects/dependencies", auth=writes, response={200: DependencyOut, 201: DependencyOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def add_dependency(request: HttpRequest, payload: DependencyIn):
    """Say that one project leans on another; then each sees what the other learned. 201, or 200 when that was known."""
    said = payload.model_dump(exclude_unset=True)
    key = {name: said.pop(name) for name in ("source_project", "target_project", "type")}
    said |= {"masks": masks_of([payload.source_project, payload.target_project])}
    with transaction.atomic():
        pk, created = told(ProjectDependency, request.auth.namespace_id, key, said)
        return answer(ProjectDependency.objects.values(*DEPENDENCY).get(pk=pk), 201 if created else 200)


@router.get("/projects/dependencies", auth=reads, response={200: DependencyPage, **PROBLEMS})
def list_dependencies(
    request: HttpRequest,
    project: Label | None = None,
    type: DependencyKind | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Dependencies, newest first; those of one project, on either side, when it is named."""
    rows = mine(ProjectDependency, request)
    rows = rows if project is None else rows.filter(Q(source_project=project) | Q(target_project=project))
    rows = rows if type is None else rows.filter(type=type)
    return answer(page(rows, DEPENDENCY, limit, cursor, dict))


@router.delete("/projects/dependencies/{dependency_id}", auth=writes, response={204: None, **PROBLEMS})
def delete_dependency(request: HttpRequest, dependency_id: UUID):
    """Take a dependency back."""
    if not mine(ProjectDependency, request).filter(pk=dependency_id).delete()[0]:
        raise Problem(404, "There is no such dependency.")
    return HttpResponse(status=204)


@router.post("/projects/search", auth=reads, response={200: ProjectSearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_projects(request: HttpRequest, payload: ProjectSearchIn):
    """Find what a project sees: its own memories, then those of its dependency neighbours, then those of its groups,
    insights that name one of these included. All other projects are invisible. Changes nothing."""
    started = time.perf_counter()
    caller, (vector, degraded) = request.auth, search_vector(payload, request.auth.embedding_model)
    seen = InSight(namespace_id=caller.namespace_id, project=payload.project, memory_types=payload.memory_types)
    query = None if payload.mode == "vector" else payload.query
    order = weighed(caller.namespace_id, payload.project, 0)
    search = Search(query, vector, caller.embedding_model, payload.limit, payload.min_similarity, order)
    hits = find(caller.namespace_id, seen, search)
    took = round((time.perf_counter() - started) * 1000, 2)
    return answer({"results": hits, "degraded": degraded, "took_ms": took})


@router.post("/projects/share", auth=writes, response={201: SharedOut, **PROBLEMS})
@surviving_deadlocks
@making_way
@idempotent
def share_insight(request: HttpRequest, payload: Body[ShareIn]):
    """Let other projects see an insight: one that is kept now, or is nearly the same as one that was, or one by its id.
    Those that saw it before still do."""
    whose = (request.auth.namespace_id, payload.source_project, payload.targets(), payload.workflow_id)
    with transaction.atomic():
        memory_id = shared(payload, *whose)
        memory = memory_out(Memory.objects.values(*OUT_COLUMNS).get(pk=memory_id))
        projects = Insight.objects.values_list("projects", flat=True).get(pk=memory_id)
    tasks.bell.ring()
    return answer({"memory": memory, "projects": projects}, 201)


def shared(payload: ShareIn, namespace_id: int, *how: Any) -> UUID:
    if isinstance(payload, ShareKnownIn):
        share(namespace_id, payload.insight_id, *how)
        return payload.insight_id
    return share_text(namespace_id, payload.insight, *how)


@router.get("/projects/patterns", auth=reads, response={200: PatternsOut, **PROBLEMS})
def list_patterns(request: HttpRequest, days: int = Query(30, ge=1, le=3650), limit: int = Query(10, ge=1, le=100)):
    """How active the projects were, and which words they have in common."""
    body = project_patterns(request.auth.namespace_id, days, limit)
    return HttpResponse(body, content_type="application/json")


# Before the groups' own address, which would take "dependencies" for an id: a project may be called "groups".
@router.get("/projects/{path:name}/dependencies", auth=reads, response={200: DirectedPage, **PROBLEMS})
def list_dependencies_of(
    request: HttpRequest,
    name: Label,
    direction: Literal["outbound", "inbound", "both"] = "both",
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """What a project leans on (outbound) and what leans on it (inbound), newest first."""
    sides = {"outbound": Q(source_project=name), "inbound": Q(target_project=name)}
    either = sides["outbound"] | sides["inbound"]
    rows = mine(ProjectDependency, request).filter(sides.get(direction, either))

    def directed(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"direction": "outbound" if row["source_project"] == name else "inbound"}

    return answer(page(rows, DEPENDENCY, limit, cursor, directed))


@router.get("/projects/groups/{group_id}", auth=reads, response={200: GroupOut, **PROBLEMS})
def get_group(request: HttpRequest, group_id: UUID):
    """One group."""
    if (row := mine(ProjectGroup, request).filter(pk=group_id).values(*GROUP).first()) is None:
        raise no_group()
    return answer(row)


@router.patch("/projects/groups/{group_id}", auth=writes, response={200: GroupOut, **PROBLEMS})
@surviving_deadlocks
def update_group(request: HttpRequest, group_id: UUID, payload: GroupPatch):
    """Change the named fields."""
    changes = payload.model_dump(exclude_unset=True) | {"updated_at": timezone.now()}
    if "projects" in changes:
        changes["masks"] = masks_of(changes["projects"])
    try:
        with transaction.atomic():
            if not mine(ProjectGroup, request).filter(pk=group_id).update(**changes):
                raise no_group()
    except IntegrityError as error:
        raise Problem(409, "Another group has this name.") from error
    return get_group(request, group_id)


@router.delete("/projects/groups/{group_id}", auth=writes, response={204: None, **PROBLEMS})
def delete_group(request: HttpRequest, group_id: UUID):
    """Part the projects again; they and their memories stay."""
    if not mine(ProjectGroup, request).filter(pk=group_id).delete()[0]:
        raise no_group()
    return HttpResponse(status=204)
