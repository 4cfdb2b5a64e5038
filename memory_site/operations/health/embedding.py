"""Health checks of the embedder and of the vectors."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Min
from django.db.models.functions import Now

from memories.embeddings import get_embedder
from memories.languages import sample_languages
from memories.models import DueEmbedding, Memory
from memories.vacuum import MIN_DEAD_ROWS, Part, count_vector_rows, list_parts
from memory_site.operations.health.advice import START_WORKER
from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from sessions_app.models import Namespace

#: A text that is due is claimed within seconds, unless others are before it.
MAX_DUE_AGE = timedelta(minutes=5)
#: Of all rows with a vector. The worker vacuums long before.
MAX_DEAD_SHARE = 0.2
#: Texts in other languages than English from which another model is recommended.
MIN_FOREIGN_TEXTS, MIN_FOREIGN_SHARE = 10, 0.2


def check_embedder() -> CheckResult:
    get_embedder().ping()
    return HealthStatus.HEALTHY, f"{get_embedder().model} answers."


def check_embedding_backlog() -> CheckResult:
    """Check that the embedder refuses no text, and that those that are due are worked on: a live worker may not do it.

    Of a long queue the oldest may wait for hours; then some are always claimed.
    """
    refused, waiting = Memory.objects.refused().count(), Memory.objects.waiting().count()
    due = DueEmbedding.objects.alive()
    age = due.due().aggregate(age=Now() - Min("due_at"))["age"] or timedelta()
    message = f"{waiting:,} memories wait for their vector"
    if age > MAX_DUE_AGE:
        message += f", the oldest for {age.total_seconds() / 60:,.0f} minutes"
    if refused:
        return HealthStatus.DEGRADED, f"{message}; the embedder refuses {refused:,}."
    if age > MAX_DUE_AGE and not due.claimed().exists():
        return HealthStatus.DEGRADED, f"{message}, and no worker works on them.", START_WORKER
    return HealthStatus.HEALTHY, f"{message}."


def check_embedding_models() -> CheckResult:
    """Check that the configured model serves every namespace; after a change the old one serves until re-embedding."""
    current = get_embedder().model
    others = Namespace.objects.exclude(embedding_model=None).exclude(embedding_model=current)
    if names := list(others.values_list("name", flat=True)[:MAX_SAMPLED_ROWS]):
        return (
            HealthStatus.DEGRADED,
            f"{', '.join(names)}: still served by an earlier model than {current}, which is configured.",
        )
    return HealthStatus.HEALTHY, f"{current} serves every namespace."


def check_languages() -> CheckResult:
    """Recommend a multilingual model when many texts are not in the only language of the configured one."""
    embedder = get_embedder()
    if not embedder.known.english_only:
        return HealthStatus.HEALTHY, f"{embedder.model} is not limited to English."
    languages = sample_languages()
    if languages.foreign < MIN_FOREIGN_TEXTS or languages.foreign < MIN_FOREIGN_SHARE * languages.recognised:
        return HealthStatus.HEALTHY, f"The texts fit {embedder.model}, which knows English."
    return (
        HealthStatus.HEALTHY,
        f"{languages.foreign} of the latest {languages.recognised} texts are not in English.",
        "EMBEDDER=multilingual in .env, then python manage.py reembed",
    )


def check_vectors() -> CheckResult:
    """Check that deleted vectors were removed from the index: among many of them searches fall back to a full scan."""
    parts = list_parts()
    if full := [part for part in parts if part.rows.dead >= MIN_DEAD_ROWS and part.rows.dead_share > MAX_DEAD_SHARE]:
        return HealthStatus.DEGRADED, f"{describe_deleted(full)}, but not removed."
    if any(part.list_leftover_indexes() for part in parts):
        return HealthStatus.DEGRADED, "A rebuild of the index was interrupted and left an invalid index."
    return HealthStatus.HEALTHY, f"{describe_deleted(parts)}."


def describe_deleted(parts: Sequence[Part]) -> str:
    rows = count_vector_rows(parts)
    return f"{rows.dead:,} of {rows.live + rows.dead:,} vectors are deleted"
