"""`import_memories`: JSON Lines are imported completely or not at all."""

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
def import_lines(namespace, tmp_path, capsys):
    """Imports lines, given as objects or as raw text, and returns stdout and stderr."""

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


def test_each_line_is_a_memory(import_lines, namespace):
    out, _ = import_lines(
        {"content": "one", "user_id": "ada", "tags": ["a"], "created_at": "2024-05-01T12:00:00Z"}, {"content": "two"}
    )
    assert out == "2 memories are new, of 2 lines.\n"
    one = Memory.objects.get(content="one")
    assert (one.namespace, one.user_id, one.tags, one.created_at.year) == (namespace, "ada", ["a"], 2024)
    assert tasks.embed_due() == 2


def test_a_byte_order_mark_is_accepted_at_the_beginning_only(import_lines, capsys):
    import_lines(b'\xef\xbb\xbf{"content": "one"}', {"content": "two"})
    assert load_contents() == ["one", "two"]
    with pytest.raises(CommandError):
        import_lines({"content": "three"}, b'\xef\xbb\xbf{"content": "four"}')
    assert load_contents() == ["one", "two"]


def test_vectors_are_imported_unchanged(import_lines):
    import_lines({"content": "one", "vector": [1.0] + [0.0] * 767})
    assert Embedding.objects.get().vector[0] == 1
    assert Embedding.objects.get().model == get_embedder().model == Namespace.objects.get().embedding_model
    assert tasks.embed_due() == 0


def test_import_extracts_insights(import_lines):
    lesson, other = "A queryset is lazy: look at it before the end.", "Tides are turned by the moon, and not by us."
    import_lines({"content": f"Said.\n★ Insight ─────\n{lesson}\n─────"}, {"content": other, "memory_type": "insight"})
    assert set(Insight.objects.values_list("memory__content", flat=True)) == {lesson, other}
    assert Insight.objects.get(memory__content=lesson).source_memory.content.startswith("Said.")


def test_import_of_several_batches(import_lines):
    out, _ = import_lines(*[{"content": f"number {number}"} for number in range(2_345)])
    assert out.startswith("2,345 memories are new")
    assert Memory.objects.count() == 2_345


def test_second_import_adds_nothing(import_lines):
    lines = [{"content": f"number {number}"} for number in range(5)]
    import_lines(*lines)
    assert import_lines(*lines)[0] == "0 memories are new, of 5 lines.\n"
    assert Memory.objects.count() == 5


def test_blank_lines_are_ignored(import_lines):
    assert import_lines({"content": "one"}, b"", b"  ", {"content": "two"}, b"")[0].startswith("2 memories are new")


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
def test_invalid_line_is_named_and_nothing_is_imported(import_lines, capsys, line, reason):
    good = [{"content": f"number {number}"} for number in range(1_500)]
    with pytest.raises(CommandError, match="^1 line is wrong. Nothing was imported.") as error:
        import_lines(*good, line, {"content": "after"})
    assert error.value.returncode == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "line 1,501: " in error
    assert reason in error
    assert Memory.objects.count() == 0


def test_invalid_lines_are_counted_and_the_first_are_shown(import_lines, capsys):
    with pytest.raises(CommandError, match="30 lines are wrong"):
        import_lines(*[b"{"] * 30)
    assert capsys.readouterr().err.count("Expecting") == 20


def test_dry_run_stores_nothing(import_lines):
    assert import_lines({"content": "one"}, dry_run=True)[0] == "1 lines are valid; 1 memories would be new.\n"
    assert load_contents() == []


def test_dry_run_sets_no_embedding_model(import_lines, namespace):
    Namespace.objects.update(embedding_model=None)
    import_lines({"content": "one", "vector": [1.0] + [0.0] * 767}, dry_run=True)
    assert Namespace.objects.get(pk=namespace.pk).embedding_model is None


def test_number_too_long_to_parse_is_reported(import_lines, capsys):
    with pytest.raises(CommandError, match="1 line is wrong"):
        import_lines(b'{"content": "one", "data": {"n": 1' + b"0" * 5_000 + b"}}")
    assert "line 1: it holds a number of more than 4,300 digits" in capsys.readouterr().err


def test_missing_file_is_reported(namespace):
    with pytest.raises(CommandError, match="cannot be read: No such file") as error:
        call_command("import_memories", "/nowhere/at/all", namespace="ours")
    assert error.value.returncode == 1


def test_stdin_is_read(namespace, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"content": "one"}\n')))
    call_command("import_memories", "-", namespace="ours", stdout=io.StringIO())
    assert load_contents() == ["one"]
