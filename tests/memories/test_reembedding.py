"""Changing the embedding model: searches use the old vectors until the new ones are complete."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from memories import reembedding, tasks
from memories.embedding_queue import claim_texts
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import DueEmbedding, Embedding, Memory, Reembedding
from memories.reembedding import ModelAlreadyActive, get_or_start_run, run_reembedding, switch_model
from memory_site.core.caches import Cache, clear_all_caches
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.leases import hold_lease
from memory_site.core.leases.models import Lease
from sessions_app import auth
from tests.embedders import POISON

pytestmark = pytest.mark.django_db
OLD_MODEL, NEW_MODEL = "hashing-1", "newer"
CONTENTS = ["the harbour of Porto", "a lighthouse in the fog", "fourteen barrels of olives", "a letter from Lisbon"]


@pytest.fixture(autouse=True)
def no_cutover_grace(monkeypatch):
    """Skip the wait after the switch and the cache of authentication."""
    monkeypatch.setattr(reembedding, "CUTOVER_GRACE_SECONDS", 0)
    monkeypatch.setattr(auth, "caller_cache", Cache(auth.MAX_CACHED_TOKENS, seconds=0))


@pytest.fixture
def stored_ids(api) -> list[str]:
    """Memories with vectors of the old model."""
    ids = api.post("/memories/bulk", {"memories": [{"content": content} for content in CONTENTS]}).json()["ids"]
    tasks.embed_due()
    return ids


@pytest.fixture
def configured(settings):
    """A function that configures another model; the old model's embedder stays available."""

    def configure(name: str = "tests.embedders.Watched", model: str = NEW_MODEL, **options):
        hashing = {"BACKEND": "memories.embeddings.hashing.HashingEmbedder", "MODEL": OLD_MODEL, "OPTIONS": {}}
        new = {"BACKEND": name, "MODEL": model, "OPTIONS": options}
        settings.EMBEDDINGS = {"default": new, "hashing": hashing}
        clear_all_caches()
        return get_embedder()

    return configure


def load_models(ids=None) -> set[str]:
    rows = Embedding.objects.filter(memory__in=ids) if ids else Embedding.objects.all()
    return set(rows.values_list("model", flat=True))


def run_to_end(namespace) -> Reembedding:
    namespace.refresh_from_db()
    done = get_or_start_run(namespace, get_embedder().model)
    for state in run_reembedding(done):
        done = state
    done.refresh_from_db()
    return done


def search_by_vector(api, query: str) -> list[str]:
    answer = api.search(query, mode="vector", limit=1)
    return [hit["memory"]["content"] for hit in answer["results"]]


# Before


def test_first_vector_sets_the_active_model(api, namespace):
    assert namespace.embedding_model is None
    api.add("the harbour")
    tasks.embed_due()
    namespace.refresh_from_db()
    assert namespace.embedding_model == OLD_MODEL


def test_unavailable_embedder_sets_no_active_model(api, namespace, embedder):
    embedder("Away", model="a mistake")
    api.add("the harbour")
    tasks.embed_due()
    namespace.refresh_from_db()
    assert namespace.embedding_model is None


def test_supplied_vector_sets_the_active_model(api, namespace):
    api.add("the harbour", vector=[1.0] + [0.0] * 767)
    namespace.refresh_from_db()
    assert namespace.embedding_model == OLD_MODEL


def test_searches_use_old_vectors_after_a_change_of_settings(api, stored_ids, configured):
    watched = configured()
    answer = api.search("the harbour of Porto")
    assert (answer["degraded"], answer["results"][0]["found_by"]) == (False, ["meaning", "words"])
    assert search_by_vector(api, "lighthouse in the fog") == [CONTENTS[1]]
    api.add("a newcomer with a suitcase")
    tasks.embed_due()
    assert search_by_vector(api, "newcomer with a suitcase") == ["a newcomer with a suitcase"]
    assert (load_models(), watched.seen) == ({OLD_MODEL}, [])
    assert api.get("/summary").json()["embedding_model"] == OLD_MODEL


def test_searches_use_words_without_the_old_embedder(api, stored_ids, embedder):
    embedder("Constant", model=NEW_MODEL)
    answer = api.search("harbour")
    assert (answer["degraded"], [hit["found_by"] for hit in answer["results"]]) == (True, [["words"]])
    api.add("a newcomer")
    assert tasks.embed_due() == 0
    assert (load_models(), DueEmbedding.objects.count()) == ({OLD_MODEL}, 1)


def test_namespaces_can_have_different_models(api, outsider, stored_ids, configured, elsewhere):
    configured()
    outsider.add("their harbour")
    tasks.embed_due()
    theirs = Embedding.objects.exclude(memory__in=stored_ids).get()
    assert (theirs.model, load_models(stored_ids)) == (NEW_MODEL, {OLD_MODEL})
    assert search_by_vector(outsider, "their harbour") == ["their harbour"]
    assert search_by_vector(api, CONTENTS[0]) == [CONTENTS[0]]


# The run


def test_reembedding_replaces_every_vector(api, namespace, stored_ids, configured):
    configured()
    done = run_to_end(namespace)
    assert (done.memories_done, done.memories_total, done.memories_refused, done.error) == (4, 4, 0, "")
    assert done.created_at <= done.switched_at <= done.finished_at
    assert (load_models(), Embedding.objects.count(), DueEmbedding.objects.count()) == ({NEW_MODEL}, 4, 0)
    assert [search_by_vector(api, content) for content in CONTENTS] == [[content] for content in CONTENTS]
    assert api.get("/summary").json()["embedding_model"] == NEW_MODEL


def test_searches_use_old_vectors_until_the_switch(api, namespace, stored_ids, configured, monkeypatch):
    monkeypatch.setattr(reembedding, "MAX_BATCH_MEMORIES", 1)
    watched = configured("tests.embedders.Watched")
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states)
    before = api.search(CONTENTS[2])["results"]
    for _, state in zip(range(3), states, strict=False):
        assert state.switched_at is None
        assert load_models() == {OLD_MODEL, NEW_MODEL}
        assert api.search(CONTENTS[2])["results"] == before
        assert api.get("/summary").json()["reembedding"]["memories_done"] == state.memories_done
    assert len(watched.texts) == 3
    states.close()


def test_search_never_mixes_models(api, namespace, stored_ids, configured):
    configured("tests.embedders.Constant")
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states), next(states)
    assert load_models() == {OLD_MODEL, NEW_MODEL}
    hits = api.search(CONTENTS[0], mode="vector", limit=10)["results"]
    assert len(hits) == 4
    assert hits[0]["similarity"] > 0.99 > 0.9 > hits[1]["similarity"]
    for _ in states:
        pass
    assert {round(hit["similarity"], 2) for hit in api.search(CONTENTS[0], mode="vector")["results"]} == {1.0}


def test_memories_added_or_changed_during_a_run_are_embedded(api, namespace, stored_ids, configured):
    configured()
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states), next(states)
    api.add("a newcomer with a suitcase")
    api.patch(f"/memories/{stored_ids[0]}", {"content": "the harbour of Genoa"})
    api.delete(f"/memories/{stored_ids[1]}")
    for _ in states:
        pass
    tasks.embed_due()
    assert (load_models(), Embedding.objects.count(), DueEmbedding.objects.count()) == ({NEW_MODEL}, 4, 0)
    assert search_by_vector(api, "a newcomer with a suitcase") == ["a newcomer with a suitcase"]
    assert search_by_vector(api, "the harbour of Genoa") == ["the harbour of Genoa"]


def write_old_vector(memory: Memory) -> int:
    made = (memory.pk, bytes(memory.content_hash), [1.0] + [0.0] * 767)
    return Embedding.objects.write(memory.namespace_id, OLD_MODEL, [made])


def test_late_vector_of_the_old_model_is_not_stored(api, namespace, stored_ids, configured):
    configured()
    memory = Memory.objects.get(pk=api.add("late")["id"])
    run_to_end(namespace)
    tasks.embed_due()
    assert write_old_vector(memory) == 0
    assert load_models([memory.pk]) == {NEW_MODEL}


def test_memory_embedded_across_the_switch_stays_due(api, namespace, stored_ids, configured):
    """A worker has claimed a memory and embeds it with the old model while the switch happens."""
    configured()
    memory = Memory.objects.get(pk=api.add("caught")["id"])
    claim_texts(memory.namespace_id, 10, 1_000, tasks.LEASE)
    namespace.refresh_from_db()
    row = get_or_start_run(namespace, NEW_MODEL)
    with hold_lease("a test") as lease:
        switch_model(row, lease)
    assert write_old_vector(memory) == 0
    assert DueEmbedding.objects.filter(memory=memory).exists()
    assert tasks.embed_due() == 5
    assert load_models([memory.pk]) == {NEW_MODEL}


def test_interrupted_run_continues(namespace, stored_ids, configured, monkeypatch):
    monkeypatch.setattr(reembedding, "MAX_BATCH_MEMORIES", 1)
    watched = configured()
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states), next(states), next(states)
    states.close()
    assert run_to_end(namespace).memories_done == 4
    assert sorted(watched.texts) == sorted(CONTENTS)
    assert Reembedding.objects.count() == 1


def test_run_interrupted_after_the_switch_only_deletes(namespace, stored_ids, configured, monkeypatch):
    monkeypatch.setattr(reembedding, "DELETE_BATCH_SIZE", 1)
    watched = configured()
    namespace.refresh_from_db()
    row = get_or_start_run(namespace, NEW_MODEL)
    for state in run_reembedding(row):
        if state.switched_at is not None:
            break
    assert Embedding.objects.of_model(OLD_MODEL).count() in (3, 4)
    assert tasks.reembed_due() == 1
    row.refresh_from_db()
    assert (load_models(), row.finished_at is not None, len(watched.texts)) == ({NEW_MODEL}, True, 4)


def test_text_refused_by_the_new_model_is_found_by_words(api, namespace, stored_ids, configured):
    api.add(f"{POISON} in the well")
    tasks.embed_due()
    configured("tests.embedders.Refusing")
    assert run_to_end(namespace).memories_refused == 1
    tasks.embed_due()
    assert DueEmbedding.objects.get().error == "It tastes of almonds."
    assert [hit["found_by"] for hit in api.search("poison well")["results"]] == [["words"]]
    assert Embedding.objects.count() == 4


def test_text_refused_by_the_old_model_is_found_by_meaning(api, namespace, embedder, configured):
    embedder("Refusing", model=OLD_MODEL)
    api.add("a lighthouse")
    api.add(f"{POISON} in the well")
    tasks.embed_due()
    configured()
    run_to_end(namespace)
    assert (Embedding.objects.count(), DueEmbedding.objects.count()) == (2, 0)


def test_unavailable_new_embedder_changes_nothing(api, namespace, stored_ids, configured):
    configured("tests.embedders.Away")
    namespace.refresh_from_db()
    row = get_or_start_run(namespace, NEW_MODEL)
    with pytest.raises(EmbedderUnavailable):
        list(run_reembedding(row))
    assert tasks.reembed_due() == 0
    row.refresh_from_db()
    assert (row.finished_at, row.memories_done, row.error != "") == (None, 0, True)
    assert search_by_vector(api, CONTENTS[0]) == [CONTENTS[0]]
    configured()
    assert tasks.reembed_due() == 1
    assert load_models() == {NEW_MODEL}


def test_run_leaves_other_namespaces_unchanged(api, outsider, namespace, stored_ids, configured):
    outsider.add("their harbour")
    tasks.embed_due()
    configured()
    run_to_end(namespace)
    assert load_models(stored_ids) == {NEW_MODEL}
    assert set(Embedding.objects.exclude(memory__in=stored_ids).values_list("model", flat=True)) == {OLD_MODEL}
    assert search_by_vector(outsider, "their harbour") == ["their harbour"]


def test_no_transaction_is_open_while_re_embedding(namespace, stored_ids, configured):
    seen = []
    configured(meanwhile=lambda texts: seen.append(Reembedding.objects.get().memories_total))
    run_to_end(namespace)
    assert seen == [4]


def test_one_run_per_namespace_at_a_time(namespace, stored_ids, configured):
    configured()
    namespace.refresh_from_db()
    row = get_or_start_run(namespace, NEW_MODEL)
    with hold_lease(f"reembedding {namespace.pk}"):
        with pytest.raises(AlreadyRunning):
            list(run_reembedding(row))
        with pytest.raises(AlreadyRunning):
            get_or_start_run(namespace, "a third model")
    assert get_or_start_run(namespace, NEW_MODEL) == row


def test_a_run_that_stood_still_changes_nothing_after_another_has_taken_over(namespace, stored_ids, configured):
    configured()
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states)
    Lease.objects.update(expires_at=F("expires_at") - timedelta(hours=1))
    with hold_lease(f"reembedding {namespace.pk}"):
        with pytest.raises(AlreadyRunning):
            list(states)
        assert load_models() == {OLD_MODEL}
        assert Reembedding.objects.get().switched_at is None


def test_run_to_another_model_is_cancelled(namespace, stored_ids, configured):
    configured("tests.embedders.Away", model="a typing mistake")
    namespace.refresh_from_db()
    mistaken = get_or_start_run(namespace, "a typing mistake")
    configured()
    assert tasks.reembed_due() == 0
    assert get_or_start_run(namespace, NEW_MODEL).pk != mistaken.pk
    mistaken.refresh_from_db()
    assert (mistaken.finished_at is not None, mistaken.error) == (True, "Cancelled.")


def test_configuring_the_active_model_cancels_the_run(namespace, stored_ids, configured):
    configured()
    namespace.refresh_from_db()
    get_or_start_run(namespace, NEW_MODEL)
    with pytest.raises(ModelAlreadyActive):
        get_or_start_run(namespace, OLD_MODEL)
    assert not Reembedding.objects.filter(finished_at=None).exists()
    assert tasks.reembed_due() == 0
    assert load_models() == {OLD_MODEL}


def test_stop_option_cancels_and_deletes_new_vectors(capsys, namespace, stored_ids, configured, monkeypatch):
    monkeypatch.setattr(reembedding, "MAX_BATCH_MEMORIES", 1)
    configured()
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states), next(states), next(states)
    states.close()
    assert load_models() == {OLD_MODEL, NEW_MODEL}
    assert run_reembed(capsys, "--stop") == "1 runs were cancelled.\n"
    assert (load_models(), Reembedding.objects.get().finished_at is not None) == ({OLD_MODEL}, True)
    assert run_reembed(capsys, "--stop") == "0 runs were cancelled.\n"


def test_second_run_is_refused(namespace, stored_ids, configured):
    configured()
    run_to_end(namespace)
    namespace.refresh_from_db()
    with pytest.raises(ModelAlreadyActive):
        get_or_start_run(namespace, NEW_MODEL)


# The command


def run_reembed(capsys, *words: str) -> str:
    call_command("reembed", *words)
    return capsys.readouterr().out


def test_command_runs_every_outdated_namespace(capsys, api, outsider, stored_ids, configured):
    outsider.add("their harbour")
    tasks.embed_due()
    configured()
    assert run_reembed(capsys) == (
        "ours: 4 memories have vectors of newer, 0 were refused.\n"
        "theirs: 1 memories have vectors of newer, 0 were refused.\n"
    )
    assert load_models() == {NEW_MODEL}
    assert run_reembed(capsys) == "All vectors are of the configured model. Nothing to do.\n"


def test_background_option_wakes_a_worker(capsys, api, stored_ids, configured):
    configured()
    assert "A worker re-embeds 1 namespaces" in run_reembed(capsys, "--background")
    assert tasks.reembed_due() == 1
    assert load_models() == {NEW_MODEL}


def test_interrupted_command_finishes_the_run(stored_ids, configured):
    watched = configured()

    def stop(texts):
        raise KeyboardInterrupt

    watched.meanwhile = stop
    with pytest.raises(CommandError, match=r"Stopped: 0 of 4 memories are done\. Run it again to continue\.") as caught:
        call_command("reembed")
    assert caught.value.returncode == 130
    watched.meanwhile = len
    assert tasks.reembed_due() == 0
    assert load_models() == {OLD_MODEL}
    call_command("reembed")
    assert load_models() == {NEW_MODEL}


def test_command_reports_an_unavailable_embedder(stored_ids, configured):
    configured("tests.embedders.Away")
    with pytest.raises(CommandError, match=r"0 of 4 memories are done; a worker continues when it is back"):
        call_command("reembed")


def test_command_reports_an_unknown_namespace(stored_ids, configured):
    with pytest.raises(CommandError, match="There is no namespace 'nowhere'"):
        call_command("reembed", "--namespace", "nowhere")


def test_embedding_status_shows_an_open_run(capsys, stored_ids, namespace, configured, monkeypatch):
    monkeypatch.setattr(reembedding, "MAX_BATCH_MEMORIES", 1)
    configured()
    namespace.refresh_from_db()
    states = run_reembedding(get_or_start_run(namespace, NEW_MODEL))
    next(states), next(states)
    call_command("embedding_status", "--namespace", "ours", "--format", "json")
    rows = {row["what"]: (row["memories"], row["note"]) for row in json.loads(capsys.readouterr().out)}
    states.close()
    assert rows["model newer"] == (1, "re-embedding: 1 of 4; active when complete")
    assert rows["model hashing-1"] == (4, "active: used by searches")
