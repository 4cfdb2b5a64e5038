"""`manage.py embedding_status`: which models made the vectors, and what is still to come."""

from django.db.models import Count, Max

from memories.embeddings import get_embedder
from memories.models import Embedding, Memory, Reembedding
from sessions_app.commands import ListingCommand, get_namespace


class Command(ListingCommand):
    help = "Show vectors by model, the backlog, and the texts the embedder refuses."

    def handle(self, *, namespace: str, format: str, **options: object) -> None:
        owner = get_namespace(namespace)
        current = owner.embedding_model or get_embedder().model
        memories = Memory.objects.in_namespace(owner.pk)
        vectors = (
            Embedding.objects.in_namespace(owner.pk)
            .values("model")
            .annotate(n=Count("memory_id"), newest=Max("created_at"))
        )
        coming = Reembedding.objects.filter(namespace=owner, finished_at=None, switched_at=None).first()
        rows = [
            make_row(
                f"model {each['model']}", each["n"], describe_model(each["model"], current, coming), each["newest"]
            )
            for each in vectors.annotate(n=Count("memory_id"), newest=Max("created_at")).order_by("-n")
        ]
        rows.append(make_row("waiting", memories.waiting().count(), "for their vector", None))
        for refused in memories.refused().values("due__error").annotate(n=Count("pk")).order_by("-n")[:20]:
            rows.append(make_row("refused", refused["n"], refused["due__error"], None))
        self.print_rows(rows, format)


def describe_model(model: str, current: str, coming: Reembedding | None) -> str:
    if model == current:
        return "searches meet these"
    if coming and model == coming.model:
        done, total = coming.memories_done, coming.memories_total or 0
        return f"coming: {done:,} of {total:,} are made, then searches meet these"
    return "of another model: searches do not meet these"


def make_row(what: str, memories: int, note: str, newest: object) -> dict[str, object]:
    return {"what": what, "memories": memories, "note": note, "newest": newest}
