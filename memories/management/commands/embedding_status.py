"""`manage.py embedding_status`: show vectors by model, and what waits to be embedded."""

from django.db.models import Count, Max

from memories.embeddings import get_embedder
from memories.models import Embedding, Memory, Reembedding
from sessions_app.commands import ListingCommand, get_namespace


class Command(ListingCommand):
    help = "Show vectors by model, the backlog, and the texts that the embedder refuses."

    def handle(self, *, namespace: str, format: str, **options: object) -> None:
        owner = get_namespace(namespace)
        current = owner.embedding_model or get_embedder().model
        memories = Memory.objects.in_namespace(owner.pk)
        vectors = Embedding.objects.in_namespace(owner.pk).values("model")
        run = Reembedding.objects.filter(namespace=owner, finished_at=None, switched_at=None).first()
        rows = [
            make_row(f"model {each['model']}", each["n"], describe_model(each["model"], current, run), each["newest"])
            for each in vectors.annotate(n=Count("memory_id"), newest=Max("created_at")).order_by("-n")
        ]
        rows.append(make_row("waiting", memories.waiting().count(), "to be embedded", None))
        refused = memories.refused().values_list("due__error").annotate(n=Count("pk")).order_by("-n")[:20]
        rows += [make_row("refused", n, error, None) for error, n in refused]
        self.print_rows(rows, format)


def describe_model(model: str, current: str, run: Reembedding | None) -> str:
    if model == current:
        return "active: used by searches"
    if run and model == run.model:
        return f"re-embedding: {run.memories_done:,} of {run.memories_total or 0:,}; active when complete"
    return "of another model: not used by searches"


def make_row(what: str, memories: int, note: str, newest: object) -> dict[str, object]:
    return {"what": what, "memories": memories, "note": note, "newest": newest}
