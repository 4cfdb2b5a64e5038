"""Questions about a class or section that is longer than a chunk: the chunk with the answer is the first hit."""

import pytest

from memories import tasks
from tests.ingestion.folders import write_files
from tests.ingestion.long_texts import HANDBOOK_QUESTIONS, PROGRAM_QUESTIONS, build_handbook, build_program

pytestmark = pytest.mark.django_db
QUESTIONS = PROGRAM_QUESTIONS | HANDBOOK_QUESTIONS
ONNX = {"default": {"BACKEND": "memories.embeddings.onnx.OnnxEmbedder", "MODEL": "all-MiniLM-L6-v2", "OPTIONS": {}}}


def find_first(api, question: str) -> str:
    return api.post("/knowledge/query", {"query": question}).json()["results"][0]["memory"]["content"]


@pytest.mark.timeout(600)
def test_the_chunk_with_the_answer_comes_first(api, site, ingest, settings):
    settings.EMBEDDINGS = ONNX
    write_files(site, {"harbour.py": build_program(), "handbook.md": build_handbook()})
    ingest()
    while tasks.embed_due():
        pass
    found = {question: find_first(api, question) for question in QUESTIONS}
    assert {question: text[:100] for question, text in found.items() if QUESTIONS[question] not in text} == {}
