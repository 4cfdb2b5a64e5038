"""Repositories: the documents with the same repo_id, and the runs that read them."""

from django.db import connection

from ingestion.models import Document, Ingestion
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.errors import Conflict
from memory_site.core.leases.leases import hold_lease

RUN_IS_OPEN = "An ingestion of this repository is open. Delete it when the run has ended."
NO_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 0"


def name_repository_lease(namespace_id: int, repo_id: str) -> str:
    return f"ingestion {namespace_id} {repo_id}"


def delete_repository(namespace_id: int, repo_id: str) -> bool:
    """Delete a repository's documents with their chunks. Return whether there were any.

    Its runs stay, as a log. Raises Conflict while one is open: it would store the documents again.
    """
    repository = {"namespace_id": namespace_id, "repo_id": repo_id}
    try:
        with hold_lease(name_repository_lease(namespace_id, repo_id)) as lease, lease.transaction():
            if Ingestion.objects.open().filter(**repository).exists():
                raise Conflict(RUN_IS_OPEN)
            with connection.cursor() as cursor:
                cursor.execute(NO_STATEMENT_TIMEOUT)
            return bool(Document.objects.filter(**repository).delete()[0])
    except AlreadyRunning:
        raise Conflict(RUN_IS_OPEN) from None
