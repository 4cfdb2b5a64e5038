"""Documents, whose chunks are memories."""

from django.db import models
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now

from memories.models import Memory
from memories.states import not_expired
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models import namespace_key


class DocumentQuerySet(models.QuerySet["Document"]):
    def in_namespace(self, namespace_id: int) -> "DocumentQuerySet":
        return self.filter(namespace_id=namespace_id)

    def with_chunks(self, namespace_id: int | None) -> "DocumentQuerySet":
        """Annotate `chunks`, the number of live chunks. Chunks are memories, which are also deleted on their own.
        `namespace_id` is the namespace that the documents were selected of, if it was one."""
        return self.annotate(chunks=count_live_chunks(namespace_id))

    def with_all_chunks(self, namespace_id: int) -> "DocumentQuerySet":
        """Select the documents of which no chunk was deleted. Of any other, a run reads the file again."""
        return self.alias(chunks=count_live_chunks(namespace_id)).filter(chunks=F("chunk_count"))


def count_live_chunks(namespace_id: int | None) -> Coalesce:
    """Return an expression for the number of chunks of a document that have not expired, in every state: a hidden one
    is not missing. With a namespace the statement names it."""
    namespace = OuterRef("namespace") if namespace_id is None else namespace_id
    memories = Memory.objects.filter(not_expired(), namespace=namespace, document_id=OuterRef("pk"))
    chunks = memories.order_by().values("document_id")
    return Coalesce(Subquery(chunks.values(number=Count("pk"))), 0)


class Document(NamespacedModel):
    """A text that is stored in chunks: a file of a repository, identified by its path, or a text posted to the API.

    The chunks are memories of type rag; deleting the document deletes them.
    """

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    repo_id = models.CharField("repository", max_length=255, null=True, blank=True)
    path = models.TextField(null=True, blank=True)
    title = models.CharField(max_length=255, null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # SHA-256 of the bytes: an unchanged file is recognised by one hash.
    digest = models.BinaryField()
    size = models.PositiveIntegerField(help_text="bytes")
    # When it was stored; `with_chunks` counts those that are left.
    chunk_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    objects = DocumentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "repo_id", "path"], name="document_is_one_file"),
            models.UniqueConstraint(
                fields=["namespace", "repo_id", "digest"],
                condition=Q(path=None),
                nulls_distinct=False,
                name="posted_document_is_kept_once",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="document_newest"),
            models.Index(F("created_at").desc(), F("id").desc(), name="document_newest_of_all"),
        ]

    def __str__(self) -> str:
        return self.path or self.title or str(self.pk)
