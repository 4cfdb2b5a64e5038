"""Texts that a caller posts: kept in chunks, once, and gone with their chunks."""

from functools import partial

import pytest

from ingestion.models import Document
from memories import tasks
from memories.models import Memory
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
FILLER = "The committee met on Tuesday and went through the budget, the roof repairs and the summer fair. "
NEEDLE = "The password of the coffee machine is written under the blue kettle."
LONG_TEXT = "\n\n".join(f"# Chapter {number}\n\n{number}. {FILLER * 20}" for number in range(12))
MAX_TEXT_LENGTH = 2 * 2**20


def add_document(api, content: str, **fields) -> dict:
    answer = api.post("/documents", {"content": content, **fields})
    assert answer.status_code == 202, answer.content
    return answer.json()


def test_a_text_is_kept_in_chunks_with_its_title_and_metadata(api):
    told = add_document(api, LONG_TEXT, title="Minutes", repo_id="site", metadata={"year": 2026, "by": {"name": "Ada"}})
    assert told["chunks"] == Memory.objects.count() > 2
    assert (told["path"], told["title"], told["repo_id"]) == (None, "Minutes", "site")
    memories = sorted(Memory.objects.all(), key=lambda memory: memory.metadata["position"])
    for place, memory in enumerate(memories):
        assert (memory.memory_type, memory.repo_id, str(memory.document_id)) == ("rag", "site", told["id"])
        assert memory.metadata["position"] == place
        assert (memory.metadata["title"], memory.metadata["year"]) == ("Minutes", 2026)
        assert memory.metadata["by"] == {"name": "Ada"}
        assert "file_path" not in memory.metadata
    assert memories[0].metadata["start_line"] == 1
    assert memories[-1].metadata["end_line"] == LONG_TEXT.count("\n") + 1


def test_it_is_told_again_as_it_was_told(api):
    told = add_document(api, LONG_TEXT, title="Minutes", metadata={"year": 2026})
    answer = api.get(f"/documents/{told['id']}")
    assert (answer.status_code, answer.json()) == (200, told)


def test_what_a_text_repeats_is_counted_as_often_as_it_is_kept(api):
    told = add_document(api, "\n\n".join(["x" * 4000] * 12))
    assert told["chunks"] == Memory.objects.count()
    assert Memory.objects.order_by("metadata__position").first().metadata["start_line"] == 1
    assert api.get(f"/documents/{told['id']}").json()["chunks"] == told["chunks"]


def test_the_same_text_again_is_the_same_document(api):
    first = add_document(api, LONG_TEXT)
    tasks.embed_due()
    again = add_document(api, LONG_TEXT, title="Minutes")
    assert again["id"] == first["id"]
    assert (Document.objects.count(), Memory.objects.count()) == (1, first["chunks"])
    assert set(Memory.objects.values_list("metadata__title", flat=True)) == {"Minutes"}
    assert tasks.embed_due() == 0


def test_the_same_text_in_another_repository_is_another_document(api, outsider):
    ids = {
        add_document(api, "tea")["id"],
        add_document(api, "tea", repo_id="a")["id"],
        add_document(api, "tea", repo_id="b")["id"],
    }
    ids.add(add_document(outsider, "tea")["id"])
    assert len(ids) == Document.objects.count() == Memory.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_callers_who_post_the_same_text_at_once_get_one_document(api):
    answers = run_at_once([partial(api.post, "/documents", {"content": LONG_TEXT})] * 6)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == Document.objects.count() == 1
    assert Memory.objects.count() == answers[0].json()["chunks"]


def test_a_document_is_deleted_with_its_chunks_and_no_others(api):
    kept, gone = add_document(api, "tea and milk"), add_document(api, LONG_TEXT)
    answer = api.delete(f"/documents/{gone['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [str(memory.document_id) for memory in Memory.objects.all()] == [kept["id"]]
    assert is_problem(api.get(f"/documents/{gone['id']}"), 404)
    assert is_problem(api.delete(f"/documents/{gone['id']}"), 404)


def test_an_outsider_neither_sees_nor_deletes_it(api, outsider):
    told = add_document(api, "tea")
    assert is_problem(outsider.get(f"/documents/{told['id']}"), 404)
    assert is_problem(outsider.delete(f"/documents/{told['id']}"), 404)
    assert Memory.objects.count() == 1


@pytest.mark.parametrize("content", ["", " \n\t", "\u200b\u3164", "a\0b", "x" * (MAX_TEXT_LENGTH + 1)], ids=len)
def test_a_text_that_shows_nothing_or_is_too_large_is_refused(api, content):
    before = fingerprint_tables()
    answer = api.post("/documents", {"content": content})
    assert is_problem(answer, 422)
    assert list_blamed_fields(answer) == {"content"}
    assert fingerprint_tables() == before


@pytest.mark.timeout(60)
def test_the_largest_text_is_kept_even_when_it_is_one_word(api):
    told = add_document(api, "x" * MAX_TEXT_LENGTH)
    assert told["chunks"] == Memory.objects.count() > 0


def test_the_largest_metadata_is_kept(api):
    metadata = {f"key {number}": "x" * 230 for number in range(256)}
    told = add_document(api, "tea", metadata=metadata)
    assert told["metadata"] == metadata
    assert Memory.objects.get().metadata.items() >= metadata.items()


def test_metadata_cannot_say_where_a_chunk_lies(api):
    told = add_document(
        api, "tea", title="Tea", metadata={"document_id": "mine", "position": "x", "start_line": "first"}
    )
    metadata = Memory.objects.get().metadata
    assert (metadata["document_id"], metadata["position"], metadata["start_line"]) == (told["id"], 0, 1)


def test_a_posted_document_outlives_the_runs_over_its_repository(api, site, ingest):
    told = add_document(api, "tea", repo_id="site")
    (site / "a.md").write_text("coffee")
    ingest()
    assert api.get(f"/documents/{told['id']}").status_code == 200


@pytest.mark.parametrize("name", ["hashing", "onnx"])
def test_the_last_sentence_of_a_long_text_is_found(api, settings, name):
    if name == "onnx":
        settings.EMBEDDINGS = {
            "default": {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "all-MiniLM-L6-v2", "OPTIONS": {}}
        }
    add_document(api, "\n\n".join([FILLER * 8] * 6 + [NEEDLE]), title="Minutes")
    add_document(api, FILLER * 3)
    tasks.embed_due()
    told = api.post("/knowledge/query", {"query": "Where is the secret word for the espresso maker's kettle?"}).json()
    assert told["degraded"] is False
    assert NEEDLE in told["results"][0]["memory"]["content"]
