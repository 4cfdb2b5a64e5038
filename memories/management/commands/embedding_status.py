"""`manage.py embedding_status`: which models made the vectors, and what is still to come."""

from django.db.models import Count, Max

from memories.embeddings import get_embedder
from memories.models import Embedding, Memory
from memory_site.operations.commands import ListingCommand, namespace_named


class Command(ListingCommand):
    help = "Show vectors by model, the backlog, and the texts the embedder refuses."

    def handle(self, *, namespace: str, format: str, **options: object) -> None:
        owner, current = namespace_named(namespace), get_embedder().model
        memories = Memory.objects.in_namespace(owner.pk)
        vectors = (
            Embedding.objects.in_namespace(owner.pk).values("model").annotate(n=Count("pk"), newest=Max("created_at"))
        )
        rows = [
            row(
                f"model {each['model']}",
                each["n"],
                "in use" if each["model"] == current else "not searched: made by another model",
                each["newest"],
            )
            for each in vectors.order_by("-n")
        ]
        rows.append(row("waiting", memories.waiting().count(), "for their vector", None))
        for refused in memories.refused().values("due__error").annotate(n=Count("pk")).order_by("-n")[:20]:
            rows.append(row("refused", refused["n"], refused["due__error"], None))
        self.print_rows(rows, format)


def row(what: str, memories: int, note: str, newest: object) -> dict[str, object]:
    return {"what": what, "memories": memories, "note": note, "newest": newest}
