"""`import_memories`: JSON Lines come in whole or not at all."""

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from memories import tasks
from memories.embeddings import get_embedder
from memories.insights.models import Insight
from memories.models import Embedding, Memory
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db


@pytest.fixture
def bring(namespace, tmp_path, capsys):
    """Imports lines, given as objects or as raw text, and says what was told on stdout and stderr."""

    def run(*lines: object, **options: object) -> tuple[str, str]:
        file = tmp_path / "memories.jsonl"
        written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        file.write_bytes(b"\n".join(written))
        out = io.StringIO()
        call_command("import_memories", str(file), namespace="ours", stdout=out, **options)
        return out.getvalue(), capsys.readouterr().err

    return run


def load_contents() -> list[str]:
    return sorted(Memory.objects.values_list("content", flat=True))


def test_each_line_is_a_memory(bring, namespace):
    told, _ = bring(
        {"content": "one", "user_id": "ada", "tags": ["a"], "created_at": "2024-05-01T12:00:00Z"}, {"content": "two"}
    )
    assert told == "2 memories are new, of 2 lines.\n"
    one = Memory.objects.get(content="one")
    assert (one.namespace, one.user_id, one.tags, one.created_at.year) == (namespace, "ada", ["a"], 2024)
    assert tasks.embed_due() == 2


def test_vectors_are_kept_as_they_are(bring):
    bring({"content": "one", "vector": [1.0] + [0.0] * 767})
    assert Embedding.objects.get().vector[0] == 1
    assert Embedding.objects.get().model == get_embedder().model == Namespace.objects.get().embedding_model
    assert tasks.embed_due() == 0


def test_what_is_marked_in_them_is_learned_and_insights_are_insights(bring):
    lesson, other = "A queryset is lazy: look at it before the end.", "Tides are turned by the moon, and not by us."
    bring({"content": f"Said.\n★ Insight ─────\n{lesson}\n─────"}, {"content": other, "memory_type": "insight"})
    assert set(Insight.objects.values_list("memory__content", flat=True)) == {lesson, other}
    assert Insight.objects.get(memory__content=lesson).source_memory.content.startswith("Said.")


def test_more_than_a_batch(bring):
    told, _ = bring(*[{"content": f"number {number}"} for number in range(2_345)])
    assert told.startswith("2,345 memories are new")
    assert Memory.objects.count() == 2_345


def test_again_adds_nothing(bring):
    lines = [{"content": f"number {number}"} for number in range(5)]
    bring(*lines)
    assert bring(*lines)[0] == "0 memories are new, of 5 lines.\n"
    assert Memory.objects.count() == 5


def test_blank_lines_and_a_line_end_at_the_end_do_no_harm(bring):
    assert bring({"content": "one"}, b"", b"  ", {"content": "two"}, b"")[0].startswith("2 memories are new")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "dictionary"),
        (b'"text"', "dictionary"),
        (b"NaN", "NaN"),
        (b'{"content": " "}', "content: may not be blank"),
        (b'{"content": "a", "content": "b"}', "twice"),
        (b'{"content": "a", "namespace_id": 1}', "namespace_id"),
        (b'{"content": "a\\u0000"}', "NUL"),
        (b'{"content": "a", "vector": [1]}', "vector"),
        (b'{"content": "\xff"}', "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"content": "' + b"x" * (5 * 2**20) + b'"}', "longer than 5 MB"),
    ],
    ids=range(12),
)
def test_a_wrong_line_is_named_and_nothing_is_imported(bring, capsys, line, reason):
    good = [{"content": f"number {number}"} for number in range(1_500)]
    with pytest.raises(CommandError, match="^1 line is wrong. Nothing was imported.") as error:
        bring(*good, line, {"content": "after"})
    assert error.value.returncode == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "line 1,501: " in told
    assert reason in told
    assert Memory.objects.count() == 0


def test_every_wrong_line_is_counted_and_the_first_ones_told(bring, capsys):
    with pytest.raises(CommandError, match="30 lines are wrong"):
        bring(*[b"{"] * 30)
    assert capsys.readouterr().err.count("Expecting") == 20


def test_a_dry_run_keeps_nothing(bring):
    assert bring({"content": "one"}, dry_run=True)[0] == "1 lines are valid; 1 memories would be new.\n"
    assert load_contents() == []


def test_a_dry_run_decides_no_model(bring, namespace):
    Namespace.objects.update(embedding_model=None)
    bring({"content": "one", "vector": [1.0] + [0.0] * 767}, dry_run=True)
    assert Namespace.objects.get(pk=namespace.pk).embedding_model is None


def test_a_number_too_long_to_read_is_told_as_one(bring, capsys):
    with pytest.raises(CommandError, match="1 line is wrong"):
        bring(b'{"content": "one", "data": {"n": 1' + b"0" * 5_000 + b"}}")
    assert "line 1: it holds a number of more than 4,300 digits" in capsys.readouterr().err


def test_a_missing_file_is_one_sentence(namespace):
    with pytest.raises(CommandError, match="cannot be read: No such file") as error:
        call_command("import_memories", "/nowhere/at/all", namespace="ours")
    assert error.value.returncode == 1


def test_stdin_is_read(namespace, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"content": "one"}\n')))
    call_command("import_memories", "-", namespace="ours", stdout=io.StringIO())
    assert load_contents() == ["one"]
