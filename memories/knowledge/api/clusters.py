"""/clusters: memories that have the same tags."""

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from memories.knowledge.clusters import CLUSTER_COLUMNS, cluster_out
from memories.knowledge.models import Cluster, ClusterQuerySet, members_of
from memories.knowledge.schemas.clusters import ClusterIn, ClusterPatch, TaggedClusterOut, TaggedClusterPage
from memories.schemas import OUT_COLUMNS, MemoryPage, memory_out
from memories.types import MemoryType
from memory_site.core.db.ids import uuid7
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.fields import Tag
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent

router = Router(tags=["clusters"])
# What is not said stays; the name always is.
ADD = """
INSERT INTO knowledge_cluster AS kept
    (id, namespace_id, memory_type, tags, name, description, topics, confidence, told)
VALUES (%(id)s::uuid, %(namespace)s, %(memory_type)s, %(tags)s::varchar[], %(name)s, %(description)s::text,
        coalesce(%(topics)s::varchar[], '{}'), coalesce(%(confidence)s::float8, 1), true)
ON CONFLICT (namespace_id, memory_type, key) DO UPDATE SET
    name = excluded.name,
    description = coalesce(excluded.description, kept.description),
    topics = coalesce(%(topics)s::varchar[], kept.topics),
    confidence = coalesce(%(confidence)s::float8, kept.confidence),
    told = true,
    updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING id
"""


def the_cluster(request: HttpRequest, cluster_id: UUID) -> ClusterQuerySet:
    """The caller's cluster, if there is one."""
    return Cluster.objects.in_namespace(request.auth.namespace_id).filter(pk=cluster_id)


def missing() -> Problem:
    return Problem(404, "There is no such cluster.")


def whole(request: HttpRequest, cluster_id: UUID) -> dict[str, Any]:
    """TaggedClusterOut. Raises Problem 404."""
    row = the_cluster(request, cluster_id).weighed().with_members().values(*CLUSTER_COLUMNS).first()
    if row is None:
        raise missing()
    return cluster_out(row)


@router.post("/clusters", auth=writes, response={200: TaggedClusterOut, 201: TaggedClusterOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def add_cluster(request: HttpRequest, payload: ClusterIn):
    """Name the memories of a type that have exactly these tags, those to come too. 200 when the cluster is there
    already, as it is once there are such memories: what is said of it is changed."""
    given = payload.model_dump()
    given |= dict.fromkeys({"topics", "confidence"} - payload.model_fields_set)
    asked = given | {"id": uuid7(), "namespace": request.auth.namespace_id, "memory_type": str(payload.memory_type)}
    with connection.cursor() as cursor:
        cursor.execute(ADD, asked)
        kept = cursor.fetchone()[0]
    return answer(whole(request, kept), 201 if kept == asked["id"] else 200)


@router.get("/clusters", auth=reads, response={200: TaggedClusterPage, **PROBLEMS})
def list_clusters(
    request: HttpRequest,
    memory_type: MemoryType | None = None,
    tag: Tag | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Clusters, the newest first."""
    rows = Cluster.objects.in_namespace(request.auth.namespace_id)
    if memory_type is not None:
        rows = rows.filter(memory_type=memory_type)
    if tag is not None:
        rows = rows.filter(tags__contains=[tag])
    return answer(page(rows.weighed().with_members(), CLUSTER_COLUMNS, limit, cursor, cluster_out))


@router.get("/clusters/{cluster_id}", auth=reads, response={200: TaggedClusterOut, **PROBLEMS})
def get_cluster(request: HttpRequest, cluster_id: UUID):
    """One cluster."""
    return answer(whole(request, cluster_id))


@router.get("/clusters/{cluster_id}/members", auth=reads, response={200: MemoryPage, **PROBLEMS})
def list_members(
    request: HttpRequest, cluster_id: UUID, limit: int = Query(20, ge=1, le=100), cursor: str | None = None
):
    """The memories of a cluster, newest first."""
    identity = the_cluster(request, cluster_id).values_list("namespace_id", "memory_type", "key").first()
    if identity is None:
        raise missing()
    return answer(page(members_of(*identity), OUT_COLUMNS, limit, cursor, memory_out))


@router.patch("/clusters/{cluster_id}", auth=writes, response={200: TaggedClusterOut, **PROBLEMS})
@surviving_deadlocks
def update_cluster(request: HttpRequest, cluster_id: UUID, payload: ClusterPatch):
    """Change the named fields. A cluster's type and tags are what makes it, and stay."""
    said = payload.model_dump(exclude_unset=True)
    the_cluster(request, cluster_id).update(**said, told=True, updated_at=Now())
    return answer(whole(request, cluster_id))


@router.delete("/clusters/{cluster_id}", auth=writes, response={204: None, **PROBLEMS})
@surviving_deadlocks
def delete_cluster(request: HttpRequest, cluster_id: UUID):
    """Forget what was said of a cluster. Its memories stay; the next one with the same tags makes it anew, unnamed."""
    if not the_cluster(request, cluster_id).delete()[0]:
        raise missing()
    return HttpResponse(status=204)
