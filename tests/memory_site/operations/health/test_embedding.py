"""A live worker that does not embed, and one that has much to do."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from memories.models import DueEmbedding
from memory_site.operations.health.embedding import check_embedding_backlog
from memory_site.operations.health.results import HealthStatus

pytestmark = pytest.mark.django_db


def test_texts_that_nobody_embeds_are_a_fault_and_a_long_queue_is_none(api, settings):
    settings.EMBEDDING_LEASE = 7_200
    api.add("a lighthouse")
    assert check_embedding_backlog() == (HealthStatus.HEALTHY, "1 memories wait for their vector.")
    DueEmbedding.objects.update(due_at=Now() - timedelta(minutes=7))
    assert check_embedding_backlog()[:2] == (
        HealthStatus.DEGRADED,
        "1 memories wait for their vector, the oldest for 7 minutes, and no worker works on them.",
    )
    api.add("a harbour")
    DueEmbedding.objects.filter(memory__content="a harbour").update(due_at=Now() + timedelta(hours=1), attempts=1)
    assert check_embedding_backlog() == (
        HealthStatus.HEALTHY,
        "2 memories wait for their vector, the oldest for 7 minutes.",
    )
