"""Memories that move to another namespace take vectors and insights along, and leave chunks and duplicates behind."""

import pytest

from memories.active_model import set_initial_model
from memories.embeddings import get_embedder
from memories.insights.models import Insight
from memories.models import DueEmbedding, Embedding, Memory
from memories.tasks import embed_due
from memory_site.core.errors import InvalidField
from tests.memories.jobs.conftest import make_memories

pytestmark = pytest.mark.django_db


def test_a_memory_moves_as_it_is(api, namespace, elsewhere, run):
    made = api.add("Ada likes tea.", user_id="ada", tags=["a"], metadata={"n": 1})
    insight = api.post(
        "/insights", {"content": "Tea is best with milk in it, and never without.", "topics": ["tea"]}
    ).json()
    embed_due()
    set_initial_model([elsewhere.pk], get_embedder().model)
    before = list(Memory.objects.order_by("pk").values("id", "content", "user_id", "tags", "metadata", "updated_at"))
    job = run("move", {"namespace_id": elsewhere.pk})
    assert (job.done, job.failed) == (2, 0)
    there = Memory.objects.filter(namespace=elsewhere).order_by("pk")
    assert list(there.values("id", "content", "user_id", "tags", "metadata", "updated_at")) == before
    assert not Memory.objects.filter(namespace=namespace).exists()
    assert set(Embedding.objects.values_list("namespace_id", "memory_id")) == {(elsewhere.pk, m["id"]) for m in before}
    assert not DueEmbedding.objects.exists()
    assert Insight.objects.get().topics == ["tea"]
    assert {made["id"], insight["id"]} == {str(m["id"]) for m in before}


def test_without_the_same_model_it_is_embedded_again(api, elsewhere, run):
    made = api.add("Ada likes tea.")
    embed_due()
    run("move", {"namespace_id": elsewhere.pk})
    assert [str(due.memory_id) for due in DueEmbedding.objects.filter(namespace=elsewhere)] == [made["id"]]
    assert not Embedding.objects.exists()


def test_duplicates_and_chunks_stay(api, namespace, elsewhere, run):
    make_memories(namespace, 4)
    make_memories(elsewhere, 2)
    api.post("/documents", {"content": "A chunk.", "title": "one"})
    job = run("move", {"namespace_id": elsewhere.pk})
    assert (job.done, job.failed) == (2, 3)
    assert sorted(entry["reason"].split()[0] for entry in job.log) == ["Another", "Another", "It"]
    assert Memory.objects.filter(namespace=namespace).count() == 3


@pytest.mark.parametrize("target", [1, 12345], ids=["its own", "unknown"])
def test_it_needs_another_namespace_that_exists(namespace, run, target):
    with pytest.raises(InvalidField, match="namespace"):
        run("move", {"namespace_id": target})


def test_a_key_cannot_move_anything(api, elsewhere):
    answer = api.post("/jobs", {"action": "move", "parameters": {"namespace_id": elsewhere.pk}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "action"
