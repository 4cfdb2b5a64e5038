"""/clusters: groups of memories with the same type and tags."""

from typing import Any
from uuid import UUID

from django.db.models.functions import Now
from django.http import HttpResponse
from ninja import Query, Router

from memories.knowledge.clusters import CLUSTER_COLUMNS, to_cluster_out, upsert_cluster
from memories.knowledge.models import Cluster, ClusterQuerySet, get_members_queryset
from memories.knowledge.schemas.clusters import ClusterIn, ClusterPatch, TaggedClusterOut, TaggedClusterPage
from memories.memory_types import MemoryType
from memories.schemas import OUT_COLUMNS, MemoryPage, to_memory_out
from memory_site.core.http.fields import Tag
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["clusters"])


def get_cluster_queryset(request: ApiRequest, cluster_id: UUID) -> ClusterQuerySet:
    """Return the caller's cluster of this id as a queryset of at most one row."""
    return Cluster.objects.in_namespace(request.auth.namespace_id).filter(pk=cluster_id)


def cluster_not_found() -> Problem:
    return Problem(404, "There is no such cluster.")


def add_members(request: ApiRequest, rows: ClusterQuerySet) -> ClusterQuerySet:
    """Annotate what depends on the members: importance, their number, and the newest."""
    namespace_id = request.auth.namespace_id
    return rows.with_importance(namespace_id).with_members(namespace_id)


def fetch_cluster(request: ApiRequest, cluster_id: UUID) -> dict[str, Any]:
    """Return the fields of TaggedClusterOut. Raises Problem 404."""
    rows = add_members(request, get_cluster_queryset(request, cluster_id))
    row = rows.values(*CLUSTER_COLUMNS).first()
    if row is None:
        raise cluster_not_found()
    return to_cluster_out(row)


@router.post("/clusters", auth=change_access, response={200: TaggedClusterOut, 201: TaggedClusterOut, **PROBLEMS})
@write_operation
def add_cluster(request: ApiRequest, payload: ClusterIn):
    """Name and describe the memories of a type that have exactly these tags, present and future ones. Returns 200 when
    the cluster exists already, as it does once there is such a memory; the given fields are then changed."""
    cluster_id, created = upsert_cluster(request.auth.namespace_id, payload)
    return json_response(fetch_cluster(request, cluster_id), 201 if created else 200)


@router.get("/clusters", auth=read_access, response={200: TaggedClusterPage, **PROBLEMS})
def list_clusters(
    request: ApiRequest,
    memory_type: MemoryType | None = None,
    tag: Tag | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List clusters, newest first."""
    rows = Cluster.objects.in_namespace(request.auth.namespace_id)
    if memory_type is not None:
        rows = rows.filter(memory_type=memory_type)
    if tag is not None:
        rows = rows.filter(tags__contains=[tag])
    return json_response(paginate(add_members(request, rows), CLUSTER_COLUMNS, limit, cursor, to_cluster_out))


@router.get("/clusters/{cluster_id}", auth=read_access, response={200: TaggedClusterOut, **PROBLEMS})
def get_cluster(request: ApiRequest, cluster_id: UUID):
    """Return one cluster."""
    return json_response(fetch_cluster(request, cluster_id))


@router.get("/clusters/{cluster_id}/members", auth=read_access, response={200: MemoryPage, **PROBLEMS})
def list_members(
    request: ApiRequest, cluster_id: UUID, limit: int = Query(20, ge=1, le=100), cursor: str | None = None
):
    """List the memories of a cluster, newest first."""
    identity = get_cluster_queryset(request, cluster_id).values_list("memory_type", "key").first()
    if identity is None:
        raise cluster_not_found()
    members = get_members_queryset(request.auth.namespace_id, *identity)
    return json_response(paginate(members, OUT_COLUMNS, limit, cursor, to_memory_out))


@router.patch("/clusters/{cluster_id}", auth=change_access, response={200: TaggedClusterOut, **PROBLEMS})
@write_operation
def update_cluster(request: ApiRequest, cluster_id: UUID, payload: ClusterPatch):
    """Change the given fields. The type and tags identify a cluster and cannot be changed."""
    changes = payload.model_dump(exclude_unset=True)
    get_cluster_queryset(request, cluster_id).update(**changes, is_explicit=True, updated_at=Now())
    return json_response(fetch_cluster(request, cluster_id))


@router.delete("/clusters/{cluster_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_cluster(request: ApiRequest, cluster_id: UUID):
    """Delete a cluster with its name and description. Its memories stay; the next one with the same tags creates an
    unnamed cluster."""
    if not get_cluster_queryset(request, cluster_id).delete()[0]:
        raise cluster_not_found()
    return HttpResponse(status=204)
