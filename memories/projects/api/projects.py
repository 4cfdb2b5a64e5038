"""/projects: groups, dependencies, search, sharing and patterns of projects."""

from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone
from ninja import Body, Query, Router

from memories import tasks
from memories.expiry import purge_expired_memories
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
from memories.projects.schemas.sharing import SharedOut, ShareIn, ShareKnownIn, ShareTextIn
from memories.projects.sharing import share_stored_insight, share_text
from memories.projects.storage import map_redacted_names, upsert_project_record
from memories.projects.visibility import VisibleToProjectFilters, build_project_ranking
from memories.projects.word_patterns import fetch_project_patterns
from memories.schemas import OUT_COLUMNS, to_memory_out
from memories.search.execute import TimedSearch
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.write_operations import write_operation

router = Router(tags=["projects"])
PROJECT_GROUP_COLUMNS, PROJECT_DEPENDENCY_COLUMNS = tuple(GroupOut.model_fields), tuple(DependencyOut.model_fields)


def group_not_found() -> Problem:
    return Problem(404, "There is no such group.")


def upsert_group(request: ApiRequest, name: str, values: dict[str, Any]) -> HttpResponse:
    """Insert a group or set the given values of the group of this name; return the response."""
    values |= {"redacted_names": map_redacted_names(values["projects"])}
    with transaction.atomic():  # the row cannot be deleted before it is read
        pk, created = upsert_project_record(ProjectGroup, request.auth.namespace_id, {"name": name}, values)
        rows = ProjectGroup.objects.in_namespace(request.auth.namespace_id).values(*PROJECT_GROUP_COLUMNS)
        return json_response(rows.get(pk=pk), 201 if created else 200)


@router.post("/projects/groups", auth=change_access, response={200: GroupOut, 201: GroupOut, **PROBLEMS})
@write_operation
def add_group(request: ApiRequest, payload: GroupIn):
    """Create a group of projects; each member sees the memories and insights of the others. If a group of this name
    exists, it is updated: 200 instead of 201."""
    return upsert_group(request, payload.name, payload.model_dump(exclude_unset=True, exclude={"name"}))


@router.get("/projects/groups", auth=read_access, response={200: GroupPage, **PROBLEMS})
def list_groups(
    request: ApiRequest,
    project: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List groups, newest first; with `project`, only its groups."""
    rows = ProjectGroup.objects.in_namespace(request.auth.namespace_id)
    rows = rows if project is None else rows.filter(projects__contains=[project])
    return json_response(paginate(rows, PROJECT_GROUP_COLUMNS, limit, cursor, dict))


@router.post("/projects/register", auth=change_access, response={200: GroupOut, 201: GroupOut, **PROBLEMS})
@write_operation
def register_projects(request: ApiRequest, payload: RegisterIn):
    """Create a group of these repositories. If a group of this name exists, these become its repositories. Of a path or
    URL the base name is the project: `/srv/repositories/shop-api` is `shop-api`."""
    values = payload.model_dump(exclude_unset=True, include={"description"}) | {"projects": payload.projects()}
    return upsert_group(request, payload.name, values)


@router.post(
    "/projects/dependencies", auth=change_access, response={200: DependencyOut, 201: DependencyOut, **PROBLEMS}
)
@write_operation
def add_dependency(request: ApiRequest, payload: DependencyIn):
    """Record that one project depends on another; each sees the memories and insights of the other. If this dependency
    exists, it is updated: 200 instead of 201."""
    values = payload.model_dump(exclude_unset=True)
    key = {name: values.pop(name) for name in ("source_project", "target_project", "type")}
    values |= {"redacted_names": map_redacted_names([payload.source_project, payload.target_project])}
    with transaction.atomic():
        pk, created = upsert_project_record(ProjectDependency, request.auth.namespace_id, key, values)
        rows = ProjectDependency.objects.in_namespace(request.auth.namespace_id).values(*PROJECT_DEPENDENCY_COLUMNS)
        return json_response(rows.get(pk=pk), 201 if created else 200)


@router.get("/projects/dependencies", auth=read_access, response={200: DependencyPage, **PROBLEMS})
def list_dependencies(
    request: ApiRequest,
    project: Label | None = None,
    type: DependencyKind | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List dependencies, newest first; with `project`, only those from or to it."""
    rows = ProjectDependency.objects.in_namespace(request.auth.namespace_id)
    rows = rows if project is None else rows.filter(Q(source_project=project) | Q(target_project=project))
    rows = rows if type is None else rows.filter(type=type)
    return json_response(paginate(rows, PROJECT_DEPENDENCY_COLUMNS, limit, cursor, dict))


# Before the paths with an id, which would match these too: a project may be called groups or dependencies.
@router.get("/projects/{path:name}/dependencies", auth=read_access, response={200: DirectedPage, **PROBLEMS})
def list_dependencies_of(
    request: ApiRequest,
    name: Label,
    direction: Literal["outbound", "inbound", "both"] = "both",
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List the dependencies of a project (outbound) and those of others on it (inbound), newest first."""
    sides = {"outbound": Q(source_project=name), "inbound": Q(target_project=name)}
    either = sides["outbound"] | sides["inbound"]
    rows = ProjectDependency.objects.in_namespace(request.auth.namespace_id).filter(sides.get(direction, either))

    def add_direction(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"direction": "outbound" if row["source_project"] == name else "inbound"}

    return json_response(paginate(rows, PROJECT_DEPENDENCY_COLUMNS, limit, cursor, add_direction))


@router.delete("/projects/dependencies/{dependency_id}", auth=write_access, response={204: None, **PROBLEMS})
def delete_dependency(request: ApiRequest, dependency_id: UUID):
    """Delete a dependency."""
    if not ProjectDependency.objects.in_namespace(request.auth.namespace_id).filter(pk=dependency_id).delete()[0]:
        raise Problem(404, "There is no such dependency.")
    return HttpResponse(status=204)


@router.post("/projects/search", auth=read_access, response={200: ProjectSearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_projects(request: ApiRequest, payload: ProjectSearchIn):
    """Search what a project sees: its own memories, then those of its dependencies in either direction, then those of
    its groups, and global insights. Insights belong to each project they name. Changes nothing."""
    caller = request.auth
    search = TimedSearch(payload, caller.embedding_model)
    filters = VisibleToProjectFilters(
        namespace_id=caller.namespace_id, project=payload.project, memory_types=payload.memory_types
    )
    ranking = build_project_ranking(caller.namespace_id, payload.project, 0)
    hits = search.find(caller.namespace_id, filters, threshold=payload.min_similarity, ranking=ranking)
    return json_response({"results": hits} | search.report())


@router.post("/projects/share", auth=change_access, response={201: SharedOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def share_insight(request: ApiRequest, payload: Body[ShareIn]):
    """Share an insight with other projects: one by its id, or a text, which is stored or merged into the same insight.
    Projects that saw it before still do."""
    namespace_id = request.auth.namespace_id
    with transaction.atomic():
        memory_id = apply_share(namespace_id, payload)
        memory = to_memory_out(Memory.objects.values(*OUT_COLUMNS).get(namespace=namespace_id, pk=memory_id))
        projects = Insight.objects.values_list("projects", flat=True).get(namespace=namespace_id, pk=memory_id)
    tasks.embedding_trigger.notify_on_commit()
    return json_response({"memory": memory, "projects": projects}, 201)


def apply_share(namespace_id: int, payload: ShareTextIn | ShareKnownIn) -> UUID:
    """Share the insight; return its memory's id."""
    options = (payload.source_project, payload.targets(), payload.workflow_id)
    if isinstance(payload, ShareKnownIn):
        share_stored_insight(namespace_id, payload.insight_id, *options)
        return payload.insight_id
    return share_text(namespace_id, payload.insight, *options)


@router.get("/projects/patterns", auth=read_access, response={200: PatternsOut, **PROBLEMS})
def list_project_patterns(
    request: ApiRequest, days: int = Query(30, ge=1, le=3650), limit: int = Query(10, ge=1, le=100)
):
    """Return the activity of projects, and the words that several have in common."""
    body = fetch_project_patterns(request.auth.namespace_id, days, limit)
    return HttpResponse(body, content_type="application/json")


@router.get("/projects/groups/{group_id}", auth=read_access, response={200: GroupOut, **PROBLEMS})
def get_group(request: ApiRequest, group_id: UUID):
    """Return one group."""
    rows = ProjectGroup.objects.in_namespace(request.auth.namespace_id).filter(pk=group_id)
    if (row := rows.values(*PROJECT_GROUP_COLUMNS).first()) is None:
        raise group_not_found()
    return json_response(row)


@router.patch("/projects/groups/{group_id}", auth=change_access, response={200: GroupOut, **PROBLEMS})
@write_operation
def update_group(request: ApiRequest, group_id: UUID, payload: GroupPatch):
    """Change the named fields."""
    changes = payload.model_dump(exclude_unset=True) | {"updated_at": timezone.now()}
    if "projects" in changes:
        changes["redacted_names"] = map_redacted_names(changes["projects"])
    try:
        with transaction.atomic():
            rows = ProjectGroup.objects.in_namespace(request.auth.namespace_id)
            if not rows.filter(pk=group_id).update(**changes):
                raise group_not_found()
    except IntegrityError as error:
        raise Problem(409, "Another group has this name.") from error
    return get_group(request, group_id)


@router.delete("/projects/groups/{group_id}", auth=write_access, response={204: None, **PROBLEMS})
def delete_group(request: ApiRequest, group_id: UUID):
    """Delete a group; its projects and their memories stay."""
    if not ProjectGroup.objects.in_namespace(request.auth.namespace_id).filter(pk=group_id).delete()[0]:
        raise group_not_found()
    return HttpResponse(status=204)
