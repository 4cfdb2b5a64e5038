"""/repositories: what has been ingested, by repository."""

from django.db.models import Count, Max, Sum
from django.http import HttpResponse
from ninja import Query, Router

from ingestion.models import Document
from ingestion.repositories import delete_repository
from ingestion.schemas.repositories import RepositoryPage
from memory_site.core.errors import NotFound
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import Keyset, paginate_by, parse_text
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["knowledge"])
BY_REPO_ID = Keyset(("repo_id",), parse_text)


@router.get("/repositories", auth=read_access, response={200: RepositoryPage, **PROBLEMS})
def list_repositories(request: ApiRequest, limit: int = Query(20, ge=1, le=100), cursor: str | None = None):
    """List the repositories by id, with their numbers of documents and chunks."""
    namespace_id = request.auth.namespace_id
    documents = Document.objects.in_namespace(namespace_id).exclude(repo_id=None)
    totals = {"documents": Count("pk"), "chunks": Sum("chunks"), "last_change": Max("updated_at")}
    rows = documents.with_chunks(namespace_id).values("repo_id").annotate(**totals)
    return json_response(paginate_by(BY_REPO_ID, rows, limit, cursor, dict))


@router.delete("/repositories/{path:repo_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def forget_repository(request: ApiRequest, repo_id: Label):
    """Delete a repository's documents with their chunks, those of posted texts too. 409 while a run of it is open."""
    if not delete_repository(request.auth.namespace_id, repo_id):
        raise NotFound("There is no such repository.")
    return HttpResponse(status=204)
