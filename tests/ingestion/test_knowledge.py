"""Search in chunks: hits, positions and filters."""

import pytest

from ingestion.models import Document
from memories import tasks
from memories.models import Memory
from tests.ingestion.folders import write_files
from tests.wire import conforms_to_any, fingerprint_tables, is_problem, list_operations

pytestmark = pytest.mark.django_db
ANSWER_SCHEMA = next(each.answers["200"] for each in list_operations() if each.path == "/knowledge/query")


def query_knowledge(api, query: str, **fields) -> dict:
    answer = api.post("/knowledge/query", {"query": query, **fields})
    assert answer.status_code == 200, answer.content
    assert conforms_to_any(answer.json(), ANSWER_SCHEMA)
    return answer.json()


def test_a_hit_names_its_file_and_lines(api, site, ingest):
    text = "# Harbour\n\n" + "Ships wait. " * 300 + "\n\n# Kettle\n\nThe blue kettle\nwhistles at nine.\n"
    write_files(site, {"docs/house.md": text, "other.md": "Nothing of the kind."})
    ingest()
    tasks.embed_due()
    [hit, *_] = query_knowledge(api, "when does the blue kettle whistle?")["results"]
    assert (hit["repo_id"], hit["file_path"]) == ("site", "docs/house.md")
    lines = text.split("\n")[hit["start_line"] - 1 : hit["end_line"]]
    assert "The blue kettle" in lines
    assert hit["memory"]["content"] in "\n".join(lines)
    assert hit["memory"]["memory_type"] == "rag"


def test_only_chunks_are_searched(api, site, ingest):
    write_files(site, {"a.md": "The harbour opens at nine."})
    ingest()
    api.add("The harbour opens at ten.")
    api.add("The harbour opens at eleven.", memory_type="insight", repo_id="site")
    tasks.embed_due()
    assert [hit["file_path"] for hit in query_knowledge(api, "when does the harbour open?", top_k=50)["results"]] == [
        "a.md"
    ]


def test_the_repository_filter_applies_inside_the_search(api, namespace, site, ingest):
    """Five hundred chunks of another repository are nearer by words and by meaning."""
    texts = [{"content": f"kettle kettle {number}", "memory_type": "rag", "repo_id": "near"} for number in range(500)]
    assert api.post("/memories/bulk", {"memories": texts}).status_code == 201
    write_files(site, {f"{number}.md": f"Of many things, number {number}, one was a kettle." for number in range(25)})
    ingest()
    tasks.embed_due()
    hits = query_knowledge(api, "kettle kettle", repo_id="site", top_k=20)["results"]
    assert len({hit["memory"]["id"] for hit in hits}) == 20
    assert {hit["repo_id"] for hit in hits} == {"site"}
    assert {hit["repo_id"] for hit in query_knowledge(api, "kettle kettle", top_k=20)["results"]} == {"near"}
    assert query_knowledge(api, "kettle kettle", repo_id="nobody's", top_k=20)["results"] == []


def test_top_k_defaults_to_5(api, site, ingest):
    write_files(site, {f"{number}.md": f"tea number {number}" for number in range(60)})
    ingest()
    tasks.embed_due()
    assert len(query_knowledge(api, "tea")["results"]) == 5
    assert len(query_knowledge(api, "tea", top_k=50)["results"]) == 50
    for top_k in (0, 51, "5", 1.5, None):
        assert is_problem(api.post("/knowledge/query", {"query": "tea", "top_k": top_k}), 422)


def test_word_search_answers_while_the_embedder_is_unavailable(api, site, ingest, embedder):
    write_files(site, {"a.md": "The blue kettle whistles.", "b.md": "Nothing."})
    ingest()
    embedder("Away")
    answer = query_knowledge(api, "kettle")
    assert answer["degraded"] is True
    assert [hit["file_path"] for hit in answer["results"]] == ["a.md"]


def test_any_metadata_keep_the_response_valid(api):
    odd = {"file_path": 7, "start_line": "first", "end_line": True}
    api.add("a kettle", memory_type="rag", metadata=odd)
    api.add("another kettle", memory_type="rag", metadata=odd | {"file_path": "k.md", "start_line": 3})
    api.post("/documents", {"content": "one more kettle", "metadata": {"file_path": ["x"]}})
    hits = query_knowledge(api, "kettle")["results"]
    assert {hit["file_path"] for hit in hits} == {None, "k.md"}
    assert len(hits) == 3


def test_a_query_is_read_only_and_allowed_for_readers(api, reader, site, ingest):
    write_files(site, {"a.md": "tea"})
    ingest()
    tasks.embed_due()
    before = fingerprint_tables()
    assert len(query_knowledge(reader, "tea")["results"]) == 1
    assert fingerprint_tables() == before


def test_deleted_documents_are_not_found(api, site, ingest):
    write_files(site, {"a.md": "a kettle", "b.md": "tea"})
    ingest()
    tasks.embed_due()
    document = Document.objects.get(path="a.md")
    assert api.delete(f"/documents/{document.pk}").status_code == 204
    assert [hit["file_path"] for hit in query_knowledge(api, "kettle", top_k=50, floor=0)["results"]] == ["b.md"]
    assert Memory.objects.count() == 1


def test_another_namespace_finds_nothing(outsider, site, ingest):
    write_files(site, {"a.md": "a kettle"})
    ingest()
    assert query_knowledge(outsider, "kettle", repo_id="site")["results"] == []


def test_titles_are_found_by_their_words(api):
    api.post("/documents", {"content": "Refunds above the limit need a second signature.", "title": "Pelican handbook"})
    for number in range(30):
        api.post("/documents", {"content": f"The handbook of number {number} says nothing.", "title": f"Book {number}"})
    tasks.embed_due()
    [first, *_] = query_knowledge(api, "pelican handbook")["results"]
    assert first["memory"]["content"].startswith("Refunds")
    assert api.search("pelican", mode="text")["results"][0]["memory"]["id"] == first["memory"]["id"]


@pytest.mark.parametrize("path", ["twin2.md", "sp ace & 100%.md", "tests/client/test_redirects.py", "Übergröße.md"])
def test_file_names_are_found_by_their_words(api, site, ingest, path):
    files = {f"tests/client/other{number}.md": f"The client is redirected {number} times." for number in range(30)}
    write_files(site, files | {path: "They follow the Location."})
    ingest()
    tasks.embed_due()
    assert query_knowledge(api, f"show me {path}")["results"][0]["file_path"] == path
    assert api.search(path, mode="text")["results"][0]["memory"]["summary"] == path


def test_a_new_title_is_found_and_the_old_one_is_not(api):
    for title in ("Pelican handbook", "Heron handbook"):
        api.post("/documents", {"content": "Refunds need a signature.", "title": title})
    assert api.search("pelican", mode="text")["results"] == []
    assert len(api.search("heron", mode="text")["results"]) == 1
