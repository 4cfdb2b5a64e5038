"""`export_memories` and `import_memories`: a lossless round trip of a namespace as JSON Lines."""

import base64
import io
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection
from django.utils import timezone

from ingestion.management.commands.import_memories import parse_json_line
from ingestion.models import Document, PerformanceMetric, WorkflowExecution
from ingestion.transfer import importer
from ingestion.transfer.record_types import RECORD_TYPES
from memories import active_model, tasks
from memories.edit import save_changes
from memories.graph.models import PendingRelationship, Relationship
from memories.insights.capture import fingerprint_entity
from memories.insights.deduplication import TextFingerprint
from memories.insights.models import Insight, ProjectGroup
from memories.insights.redaction import redact_project_name as masked_name
from memories.insights.storage import InsightDraft, save_insights
from memories.models import DueEmbedding, Embedding, Memory
from memory_site.core.metrics.counters import memories_stored
from sessions_app.models import SCOPES, ApiKey, Conversation, Message, Namespace, SessionMemory
from tests.conftest import Api

pytestmark = pytest.mark.django_db
UUID_PATTERN = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DOCUMENT_TEXT = "# Harbour\n\nIt opens at nine.\n"
LONG_MESSAGE = "The strategy is to open the harbour at eight, which everybody agreed to yesterday."


def create_relationship(one: dict, other: dict, **fields: object) -> None:
    Relationship.objects.create(
        namespace=Namespace.objects.get(name="ours"), owner=one["user_id"] or "", from_memory_id=one["id"],
        to_memory_id=other["id"], **fields,
    )  # fmt: skip


def make_something_of_every_kind(api: Api, namespace: Namespace) -> None:
    """Create rows of every kind, of two users and without user, with vectors."""
    labels = {"user_id": "ada", "agent_id": "a", "workflow_id": "w", "repo_id": "r", "session_id": "monday"}
    full = api.add(
        "Zwölf ☕ \\ \"quoted\" \u2028 line", summary="Short.", data={"a": [1.5, 1e25, None]}, tags=["b", "a"],
        metadata={"deep": {"ä": True}}, importance=5, confidence=0.1, memory_type="insight", source_system="agno",
        expires_at="2100-01-01T00:00:00Z", created_at="2024-05-01T12:00:00.123456Z", **labels,
    )  # fmt: skip
    plain = api.add("Plain.", user_id="ada")
    entity = api.add(
        "Acme", user_id="ada", entity={"system": "crm", "id": "1", "type": "Account", "name": "Acme"}, data={"n": 1}
    )
    bobs = api.add("Plain.", user_id="bob")
    api.add("Nobody's.", session_id="lost")
    create_relationship(full, entity, type="produces", strength=0.3, metadata={"why": "so"})
    create_relationship(entity, plain)
    whose = {"namespace": namespace, "owner": "ada", "from_memory_id": plain["id"]}
    PendingRelationship.objects.create(**whose, entity_system="crm", entity_id="2", type="led_to", reverse=True)
    for name in ("monday", "tuesday", "lost"):
        said = [{"query": "When?", "answer": "At nine. ☕"}, {"query": "Really?", "answer": "Yes."}]
        assert api.post(f"/sessions/{name}/interactions", {"interactions": said}).status_code == 201
    api.patch("/sessions/tuesday", {"ttl_hours": 100})
    for ends in (("monday", "tuesday"), ("tuesday", "lost")):
        body = dict(zip(("source_session_id", "target_session_id"), ends, strict=True))
        assert api.post("/session-links", body).status_code == 201
    for user, session in (("ada", "tuesday"), ("bob", "lost")):
        talk = api.post("/conversations", {"user_id": user, "session_id": session, "topics": ["x"]}).json()
        for words in ("Short.", f"{LONG_MESSAGE} {user}"):
            said = {"role": "user", "content": words, "remember": True, "metadata": {"n": 1}}
            assert api.post(f"/conversations/{talk['id']}/messages", said).status_code == 201
        api.post(f"/conversations/{talk['id']}/end")
        run = {"adapter": "prefect", "user_id": user, "repositories": ["site"], "result": {"pages": 3}}
        execution = api.post("/workflows/nightly/executions", run).json()
    memory_of_a_run = {"execution_id": execution["id"], "memory_mb": 90}
    used = {"component": "workflow_nightly", "metric_type": "workflow_execution", "metrics": memory_of_a_run}
    assert api.post("/performance", used).status_code == 201
    figures = {"health_status": "healthy", "latency_ms": 1.5, "queue": {"ä": [1, None]}}
    measurement = {"component": "prefect", "metric_type": "adapter_health", "metrics": figures}
    assert api.post("/performance", measurement).status_code == 201
    said = {"content": f"Anchors hold best in clay. {LONG_MESSAGE}", "projects": ["site", "quay"], "user_id": "bob"}
    insight = api.post("/insights", said | {"source_memory_id": plain["id"], "conversation_id": talk["id"]}).json()
    assert api.post(f"/insights/{insight['id']}/use").status_code == 200
    cluster = {"memory_type": "insight", "tags": ["a", "b"], "name": "Harbours", "topics": ["sea"]}
    assert api.post("/clusters", cluster).status_code == 200
    for user in ("ada", "bob", None):
        pattern = {"pattern_type": "workflow", "key": "first", "user_id": user, "examples": ["Tests first."]}
        assert api.post("/patterns", pattern).status_code == 201
    for key, value in (("none", None), ("tone", {"short": [1.5, True]})):
        assert api.call("PUT", f"/preferences/ada/{key}", {"value": value}).status_code == 201
    assert api.post("/projects/groups", {"name": "Sea", "projects": ["site", "a secret"]}).status_code == 201
    lean = {"source_project": "site", "target_project": "quay", "type": "uses", "description": "For boats."}
    assert api.post("/projects/dependencies", lean).status_code == 201
    for title in ("First", None):
        assert (
            api.post(
                "/documents", {"content": DOCUMENT_TEXT + str(title), "title": title, "repo_id": title}
            ).status_code
            < 300
        )
    tasks.embed_due()
    Memory.objects.filter(pk=full["id"]).update(access_count=7, last_accessed_at=timezone.now(), base_relevance=0.25)
    Memory.objects.filter(pk=entity["id"]).update(update_count=3, last_updated=timezone.now())
    assert DueEmbedding.objects.count() == 0
    for kind in RECORD_TYPES.values():
        assert kind.model.objects.exists(), kind.name
    assert bobs["id"] != plain["id"]


@pytest.fixture(scope="module")
def caller(module_transaction) -> Api:
    """Of the namespace `ours`, which has something of every kind."""
    namespace = Namespace.objects.create(name="ours")
    api = Api(ApiKey.objects.issue(namespace, scopes=SCOPES)[1])
    make_something_of_every_kind(api, namespace)
    return api


@pytest.fixture
def ours(caller, db) -> Namespace:
    """Something of every kind."""
    return Namespace.objects.get(name="ours")


@pytest.fixture
def exported(tmp_path):
    """The file an export makes, as lines; the header first."""

    def run(*options: str, namespace: str = "ours") -> list[bytes]:
        file = tmp_path / "export.jsonl"
        call_command("export_memories", str(file), "--namespace", namespace, *options)
        return file.read_bytes().splitlines(keepends=True)

    return run


@pytest.fixture(scope="module")
def all_lines(caller, tmp_path_factory) -> list[bytes]:
    """The export of `ours` as it was made."""
    file = tmp_path_factory.mktemp("exported") / "export.jsonl"
    call_command("export_memories", str(file), "--namespace", "ours")
    return file.read_bytes().splitlines(keepends=True)


@pytest.fixture
def bring(tmp_path, capsys):
    """Import lines and return the output."""

    def run(lines: list[bytes], namespace: str = "ours", **options: object) -> str:
        (tmp_path / "import.jsonl").write_bytes(b"".join(lines))
        out = io.StringIO()
        call_command("import_memories", str(tmp_path / "import.jsonl"), namespace=namespace, stdout=out, **options)
        return out.getvalue()

    return run


@pytest.fixture
def refused(bring, capsys):
    """Import invalid lines and return the error output; the database must stay unchanged."""

    def run(lines: list[bytes], namespace: str = "elsewhere") -> str:
        before = load_everything()
        with pytest.raises(CommandError, match="Nothing was imported") as error:
            bring(lines, namespace)
        assert error.value.returncode == 1
        assert load_everything() == before
        return f"{' '.join(capsys.readouterr().err.split())} {error.value}"

    return run


def refused_alone(line: bytes) -> str:
    """What the import says of a line before it asks PostgreSQL; empty when it is right so far."""
    try:
        importer.parse_line(1, parse_json_line(line), line.decode())
    except ValueError as error:
        return str(error)
    return ""


def load_rows(model) -> list[tuple]:
    return list(model.objects.order_by("pk").values_list())


def load_everything() -> list[list[tuple]]:
    """Without `last_seen_at` and `revision`, which start again in every store."""
    Memory.objects.update(last_seen_at=datetime(2026, 1, 1, tzinfo=UTC), revision=1)
    return [
        load_rows(model)
        for model in (*[kind.model for kind in RECORD_TYPES.values()], Embedding, DueEmbedding, Namespace)
    ]


def delete_everything() -> None:
    for kind in RECORD_TYPES.values():
        kind.model.objects.all().delete()
    assert not Embedding.objects.exists()


def with_changed_line(lines: list[bytes], number: int, **values: object) -> list[bytes]:
    """With the line of this number, the header's being 1, saying something else."""
    line = json.dumps(json.loads(lines[number - 1]) | values).encode() + b"\n"
    return [*lines[: number - 1], line, *lines[number:]]


def find_line_number(lines: list[bytes], kind: str) -> int:
    return next(number for number, line in enumerate(lines, 1) if json.loads(line)["kind"] == kind)


def list_line_ids(lines: list[bytes]) -> set[str]:
    """An insight has its memory's."""
    records = [json.loads(line) for line in lines[1:]]
    return {each.get("id", each.get("memory_id")) for each in records}


def replace_ids(lines: list[bytes]) -> list[str]:
    """Replace every id by its first position as an id, so that two exports can be compared."""
    text = b"".join(lines[1:]).decode()
    places: dict[str, str] = {}
    for number, line in enumerate(lines[1:]):
        if own := json.loads(line).get("id"):
            places[own] = f"row {number}"
    return UUID_PATTERN.sub(lambda found: places.get(found[0], found[0]), text).splitlines()


def build_nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def select_lines(lines: list[bytes], kind: str) -> list[dict]:
    return [each for each in map(json.loads, lines) if each["kind"] == kind]


# There and back


def test_a_deleted_namespace_is_restored_byte_by_byte(ours, exported, bring):
    lines, before = exported(), load_everything()
    delete_everything()
    assert f"of {len(lines) - 1:,} lines are new" in bring(lines)
    assert exported()[1:] == lines[1:]
    assert load_everything()[:-3] == before[:-3]
    assert DueEmbedding.objects.count() == 0


def test_imported_memories_are_counted(ours, exported, bring, django_capture_on_commit_callbacks):
    lines = exported()
    delete_everything()
    created = memories_stored.labels("created")
    before = created._value.get()
    with django_capture_on_commit_callbacks(execute=True):
        bring(lines)
    assert created._value.get() - before == Memory.objects.count() > 0


def test_the_lines_have_every_column_that_is_not_generated(ours, exported):
    lines = exported()
    for name, kind in RECORD_TYPES.items():
        columns = {each.column for each in kind.model._meta.concrete_fields if not each.generated} - {"namespace_id"}
        [line, *_] = select_lines(lines, name)
        assert set(line) - {"kind", "vectors"} == {
            kind.file_name(column) for column in columns - set(kind.derived) - set(kind.local)
        }
    assert {"told": True}.items() <= select_lines(lines, "cluster")[0].items()  # the file's name of is_explicit
    assert [name for name in RECORD_TYPES if RECORD_TYPES[name].derived] == [
        "insight",
        "project_group",
        "project_dependency",
    ]


def test_an_import_into_another_namespace_of_the_database_gets_new_ids(ours, elsewhere, exported, bring):
    lines, before = exported(), exported()
    bring(lines, "elsewhere")
    there = exported(namespace="elsewhere")
    assert not list_line_ids(lines) & list_line_ids(there)
    # What is remembered of an execution is a text, and names the execution it was written of.
    texts = {run["id"] for run in select_lines(lines, "workflow_execution")}
    assert [mask_execution_id(line, texts) for line in replace_ids(there)] == [
        mask_execution_id(line, texts) for line in replace_ids(lines)
    ]
    assert exported()[1:] == before[1:]
    assert DueEmbedding.objects.count() == 0


def mask_execution_id(line: str, executions: set[str]) -> str:
    """Without the id in the text of an execution's memory."""
    return re.sub(r"Execution (row \d+|[0-9a-f-]{36})\.", "Execution.", line)


def test_references_of_an_import_point_to_the_copies(ours, elsewhere, exported, bring):
    bring(exported(), "elsewhere")
    mine = {"namespace": elsewhere}
    ids = set(Memory.objects.filter(**mine).values_list("pk", flat=True))
    for relationship in Relationship.objects.filter(**mine):
        assert {relationship.from_memory_id, relationship.to_memory_id} <= ids
    for chunk in Memory.objects.filter(memory_type="rag", **mine):
        assert Document.objects.get(pk=chunk.document_id, **mine)
        assert chunk.metadata["document_id"] == str(chunk.document_id)
    for message in Message.objects.filter(memory_id__isnull=False, **mine):
        memory = Memory.objects.get(pk=message.memory_id, **mine)
        assert memory.metadata["message_id"] == str(message.pk)
        assert Conversation.objects.get(pk=memory.metadata["conversation_id"], **mine).pk == message.conversation_id
    for run in WorkflowExecution.objects.filter(**mine):
        assert Memory.objects.get(pk=run.memory_id, **mine).metadata["execution_id"] == str(run.pk)
    [measured] = PerformanceMetric.objects.filter(metric_type="workflow_execution", **mine)
    assert WorkflowExecution.objects.filter(pk=measured.metrics["execution_id"], **mine).exists()
    assert Relationship.objects.filter(**mine).count() == 2


@pytest.mark.parametrize("namespace_name", ["ours", "elsewhere"])
def test_a_second_import_changes_nothing(ours, elsewhere, exported, bring, namespace_name):
    lines = exported()
    bring(lines, namespace_name)
    before = load_everything()
    assert bring(lines, namespace_name) == f"0 of {len(lines) - 1} lines are new: nothing.\n"
    assert load_everything() == before


def test_existing_rows_stay_and_imported_rows_refer_to_them(ours, elsewhere, exported, bring):
    plain = Memory.objects.create(
        namespace=elsewhere, content="Plain.", user_id="ada", importance=1, source_system="here"
    )
    entity = Memory.objects.create(
        namespace=elsewhere,
        content="Acme & Co",
        user_id="ada",
        entity_system="crm",
        entity_id="1",
        source_system="here",
    )
    document = Document.objects.get(namespace=ours, title="First")
    document.pk, document.namespace, document.title = "0192d3f0-0000-7000-8000-000000000000", elsewhere, "Here"
    document.save(force_insert=True)
    bring(exported(), "elsewhere")
    assert Relationship.objects.filter(from_memory=entity, to_memory=plain).exists()
    assert [
        each.importance for each in Memory.objects.filter(namespace=elsewhere, content="Plain.", user_id="ada")
    ] == [1]
    assert Memory.objects.get(pk=entity.pk).content == "Acme & Co"
    assert Memory.objects.filter(document_id=document.pk, metadata__document_id=str(document.pk)).exists()
    assert Document.objects.get(pk=document.pk).title == "Here"


def test_rows_edited_after_the_export_stay_edited(ours, exported, bring):
    lines = exported()
    save_changes(Memory.objects.get(content="Plain.", user_id="bob"), content="Not so plain.")
    assert bring(lines).startswith("0 of ")
    assert Memory.objects.filter(user_id="bob", content__contains="lain.").count() == 1


def test_numbers_are_not_rounded(api, exported, bring):
    memory = Memory.objects.get(pk=api.add("exact")["id"])
    number = "123456789012345678901234567890.12345678901234567890"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memories_memory SET data = %s::text::jsonb", [f'{{"n": {number}}}'])
    lines = exported()
    memory.delete()
    bring(lines)
    assert number.encode() in lines[1]
    assert number.encode() in exported()[1]


def test_several_batches_are_imported(api, namespace, exported, bring):
    Memory.objects.bulk_create(
        [Memory(namespace=namespace, content=f"number {number}", source_system="x") for number in range(2_345)],
        batch_size=1_000,
    )
    tasks.embed_due()
    lines = exported()
    delete_everything()
    assert bring(lines).startswith("2,345 of 2,345 lines are new: 2,345 memory")
    assert exported()[1:] == lines[1:]
    assert not DueEmbedding.objects.exists()


# What is derived


def test_derived_columns_are_recomputed_whatever_a_line_says(caller, ours, exported, bring):
    lines, before = exported(), load_everything()
    masks = {"a secret": masked_name("a secret")}
    assert list(ProjectGroup.objects.values_list("redacted_names", flat=True)) == [masks]
    delete_everything()
    for number, line in enumerate(lines, 1):
        if (kind := json.loads(line)["kind"]) in ("project_group", "project_dependency"):
            lines = with_changed_line(lines, number, masks={"site": "another", "a secret": "a secret"})
        elif kind == "insight":
            lines = with_changed_line(lines, number, digest="\\x00", bands=[1])
    bring(lines)
    assert load_everything()[:-3] == before[:-3]
    again = {"content": f"anchors HOLD best in clay {LONG_MESSAGE}"}
    assert caller.post("/insights", again).status_code == 200


def test_an_insight_is_identified_by_the_stored_text_of_its_memory(ours, elsewhere, exported, bring):
    lines = exported()
    number = next(n for n, line in enumerate(lines, 1) if b"Anchors" in line)
    delete_everything()
    bring(with_changed_line(lines, number, content="Ropes do not hold at all.", vectors=[]))
    insight = Insight.objects.get(memory__content__startswith="Ropes")
    text = TextFingerprint.of("ropes do not hold at all")
    assert (bytes(insight.digest), insight.bands) == (text.digest, text.bands)


def test_an_insight_that_is_an_entity_is_identified_by_its_stored_id(api, namespace, elsewhere, exported, bring):
    entity = {"system": "crm", "id": "1", "type": "Account", "name": "Acme"}
    api.add("Acme", user_id="ada", entity=entity, memory_type="insight")
    bring(exported(), "elsewhere")
    there = Insight.objects.get(namespace=elsewhere)
    assert bytes(there.digest) == fingerprint_entity(there.pk).digest
    assert there.bands == []


def test_an_insight_stored_under_another_memory_stays_one(ours, elsewhere, exported, bring):
    """Its memory comes, and is one that says the same."""
    text = f"ANCHORS hold best in clay. {LONG_MESSAGE}"
    save_insights(elsewhere.pk, [InsightDraft(text, user_id="carl")])
    lines = exported()
    assert f"{len(select_lines(lines, 'insight')) - 1} insight" in bring(lines, "elsewhere")
    there = Memory.objects.filter(namespace=elsewhere, content__icontains="anchors hold")
    assert dict(there.values_list("user_id", "insight__digest"))["bob"] is None
    assert there.exclude(insight=None).get().user_id == "carl"


def test_two_insights_of_a_file_with_the_same_text_become_one(api, namespace, elsewhere, exported, bring):
    for content in ("Anchors hold in clay.", "Ropes are made of hemp."):
        save_insights(namespace.pk, [InsightDraft(content, user_id=content[0])])
    lines = exported()
    number = next(n for n, line in enumerate(lines, 1) if b"Ropes" in line)
    output = bring(with_changed_line(lines, number, content="anchors hold in clay"), "elsewhere")
    assert "2 memory, 1 insight" in output
    assert Insight.objects.filter(namespace=elsewhere).count() == 1


def test_the_insight_of_a_memory_whose_type_has_changed_is_left_out(api, namespace, exported, bring):
    save_insights(namespace.pk, [InsightDraft("Anchors hold in clay.")])
    lines = exported()
    save_changes(Memory.objects.get(), memory_type="agent")
    assert bring(lines).startswith("0 of 2 lines are new")
    assert not Insight.objects.exists()


def test_an_insight_whose_memory_has_another_type_is_refused(ours, elsewhere, exported, refused):
    lines = exported()
    plain = next(each["id"] for each in select_lines(lines, "memory") if each["memory_type"] == "agent")
    number = find_line_number(lines, "insight")
    output = refused(with_changed_line(lines, number, memory_id=plain))
    assert f"line {number:,}: memory_id refers to a memory that is no insight" in output


def test_project_names_that_look_secret_are_redacted(ours, elsewhere, exported, bring):
    lines = exported()
    number = find_line_number(lines, "insight")
    mask = masked_name("my api token")
    bring(with_changed_line(lines, number, projects=["quay", "my api token", mask]), "elsewhere")
    assert Insight.objects.filter(namespace=elsewhere, projects=["quay", mask]).exists()
    assert not Insight.objects.filter(projects__contains=["my api token"]).exists()


def test_a_use_count_may_be_as_large_as_its_column(caller, ours, exported, bring):
    lines = exported()
    delete_everything()
    bring(with_changed_line(lines, find_line_number(lines, "insight"), usage_count=2**31 - 1))
    most = Insight.objects.get(usage_count=2**31 - 1)
    answer = caller.post(f"/insights/{most.pk}/use")
    assert (answer.status_code, answer.json()["usage_count"]) == (200, 2**31 - 1)


@pytest.mark.parametrize("digest", [b"", b"short", bytes(33)])
def test_a_digest_must_be_hexadecimal_bytes(namespace, digest):
    memory = Memory.objects.create(namespace=namespace, content="x", memory_type="insight", source_system="x")
    with pytest.raises(IntegrityError, match="insight_digest_is_a_sha256"):
        Insight.objects.create(memory=memory, namespace=namespace, quality=1, digest=digest, bands=[])


# Which rows


def test_the_export_of_a_user_has_only_rows_of_this_user(ours, exported):
    lines = exported("--user", "ada")
    assert json.loads(lines[0])["user"] == "ada"
    kinds = ("memory", "conversation", "workflow_execution")
    assert {each["user_id"] for kind in kinds for each in select_lines(lines, kind)} == {"ada"}
    [talk] = select_lines(lines, "conversation")
    assert {each["conversation_id"] for each in select_lines(lines, "message")} == {talk["id"]}
    assert len(select_lines(lines, "message")) == 2
    assert {each["session_id"] for each in select_lines(lines, "session")} == {"monday", "tuesday"}
    assert [each["target_session_id"] for each in select_lines(lines, "session_link")] == ["tuesday"]
    assert len(select_lines(lines, "relationship")) == 2
    assert len(select_lines(lines, "pending_relationship")) == 1
    assert select_lines(lines, "document") == []
    assert all(each["vectors"] for each in select_lines(lines, "memory"))


def test_an_exported_user_is_restored_byte_by_byte(ours, exported, bring):
    lines = exported("--user", "ada")
    delete_everything()
    bring(lines)
    assert exported("--user", "ada")[1:] == lines[1:]
    assert exported()[1:] == lines[1:]


def test_an_unknown_user_is_reported_and_creates_no_file(ours, tmp_path):
    with pytest.raises(CommandError, match="The namespace has nothing of the user 'nobody'"):
        call_command("export_memories", str(tmp_path / "nobody.jsonl"), "--namespace", ours.name, "--user", "nobody")
    assert list(tmp_path.iterdir()) == []


def test_equal_chunks_of_several_documents_are_exported_once_for_a_user(ours, exported, bring, elsewhere):
    documents = Document.objects.bulk_create(
        [Document(namespace=ours, repo_id="r", path=f"{n}.md", digest=b"x", size=1, chunk_count=1) for n in range(2)]
    )
    for each in documents:
        fields = {"memory_type": "rag", "source_system": "ingestion", "user_id": "ada", "document_id": each.pk}
        Memory.objects.create(namespace=ours, content="The same.", **fields)
        Memory.objects.create(namespace=ours, content=f"Not the same: {each.path}", **fields)
    assert [each["content"] for each in select_lines(exported(), "memory")].count("The same.") == 2
    lines = exported("--user", "ada")
    contents = [each["content"] for each in select_lines(lines, "memory")]
    assert contents.count("The same.") == 1
    assert {f"Not the same: {n}.md" for n in range(2)} <= set(contents)
    bring(lines, "elsewhere")
    assert Memory.objects.filter(namespace=elsewhere, user_id="ada").count() == len(contents)
    Memory.objects.create(namespace=ours, content="The same.", memory_type="rag", user_id="ada", source_system="mine")
    assert [
        each["source_system"]
        for each in select_lines(exported("--user", "ada"), "memory")
        if each["content"] == "The same."
    ] == ["mine"]


def test_a_reference_to_another_users_memory_does_not_export_it(ours, exported, bring, elsewhere):
    bobs = Memory.objects.get(user_id="bob", content="Plain.")
    Message.objects.filter(conversation__user_id="ada").update(memory_id=bobs.pk)
    WorkflowExecution.objects.filter(user_id="ada").update(memory=bobs)
    lines = exported("--user", "ada")
    assert {each["memory_id"] for kind in ("message", "workflow_execution") for each in select_lines(lines, kind)} == {
        None
    }
    bring(lines, "elsewhere")


def test_nothing_of_another_namespace_is_exported(ours, outsider, exported):
    outsider.add("theirs")
    assert b"theirs" not in b"".join(exported())
    assert len(exported(namespace="theirs")) == 2


def test_expired_rows_are_left_out_with_their_dependants(ours, exported, bring, elsewhere):
    past = timezone.now() - timedelta(hours=1)
    gone = Memory.objects.filter(content="Plain.", user_id="ada") | Memory.objects.filter(
        content__startswith=LONG_MESSAGE
    )
    gone.update(expires_at=past)
    SessionMemory.objects.filter(session_id="monday").update(updated_at=past - timedelta(days=2))
    lines = exported()
    assert {each["content"] for each in select_lines(lines, "memory")}.isdisjoint({"Plain. ada", f"{LONG_MESSAGE} ada"})
    assert len(select_lines(lines, "relationship")) == 1
    assert select_lines(lines, "pending_relationship") == []
    assert {each["memory_id"] for each in select_lines(lines, "message")} == {None}
    assert {each["session_id"] for each in select_lines(lines, "session")} == {"tuesday", "lost"}
    bring(lines, "elsewhere")


def test_an_expired_duplicate_is_replaced(ours, elsewhere, exported, bring):
    past = timezone.now() - timedelta(hours=1)
    Memory.objects.create(namespace=elsewhere, content="Plain.", user_id="ada", source_system="x", expires_at=past)
    SessionMemory.objects.create(namespace=elsewhere, session_id="monday", updated_at=past - timedelta(days=9))
    bring(exported(), "elsewhere")
    assert Memory.objects.get(namespace=elsewhere, content="Plain.", user_id="ada").source_system == "api"
    assert len(SessionMemory.objects.get(namespace=elsewhere, session_id="monday").history) == 2


# Vectors


def test_vectors_are_little_endian_float16_of_unit_length(ours, exported):
    for memory in select_lines(exported(), "memory"):
        [made] = memory["vectors"]
        assert made["model"] == "hashing-1"
        numbers = np.frombuffer(base64.b64decode(made["vector"]), "<f2")
        stored = Embedding.objects.get(memory_id=memory["id"])
        assert numbers.tolist() == pytest.approx(list(stored.vector), abs=1e-6)


def test_of_several_models_only_the_active_one_has_its_vectors_imported(ours, exported, bring, capsys):
    for made in Embedding.objects.all()[:3]:
        Embedding.objects.bulk_create(
            [Embedding(**{each.attname: getattr(made, each.attname) for each in made._meta.concrete_fields}
                       | {"model": "another"})]
        )  # fmt: skip
    lines, count = exported(), Embedding.objects.count()
    assert [len(each["vectors"]) for each in select_lines(lines, "memory")].count(2) == 3
    delete_everything()
    bring(lines)
    assert Embedding.objects.filter(model="hashing-1").count() == Embedding.objects.count() == count - 3
    assert not DueEmbedding.objects.exists()
    output = capsys.readouterr().err
    assert output.count("Vectors of another were left out: the namespace's model is hashing-1") == 1


def test_an_outdated_vector_is_not_exported_and_its_memory_is_embedded_again(ours, exported, bring):
    save_changes(Memory.objects.get(content="Nobody's."), content="Somebody's.")
    lines = exported()
    assert ["vectors" in each for each in select_lines(lines, "memory") if each["content"] == "Somebody's."] == [False]
    delete_everything()
    bring(lines)
    assert [due.memory.content for due in DueEmbedding.objects.all()] == ["Somebody's."]
    assert tasks.embed_due() == 1


def test_vectors_of_an_inactive_model_are_left_out(ours, exported, bring, elsewhere, capsys):
    Namespace.objects.filter(pk=elsewhere.pk).update(embedding_model="another")
    lines = exported()
    bring(lines, "elsewhere")
    assert DueEmbedding.objects.filter(namespace=elsewhere).count() == len(select_lines(lines, "memory"))
    assert not Embedding.objects.filter(namespace=elsewhere).exists()
    assert "Vectors of hashing-1 were left out: the namespace's model is another" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["hashing-1", "openai/text-embedding-3-small", None])
def test_a_namespace_without_a_model_gets_the_configured_one(ours, exported, bring, elsewhere, header):
    bring(with_changed_line(exported(), 1, embedding_model=header), "elsewhere")
    elsewhere.refresh_from_db()
    assert elsewhere.embedding_model == "hashing-1"
    assert not DueEmbedding.objects.filter(namespace=elsewhere).exists()


def test_a_file_cannot_set_a_model_that_is_not_configured(ours, exported, bring, elsewhere, capsys):
    remote = "openai/text-embedding-3-small"
    Embedding.objects.update(model=remote)
    Namespace.objects.filter(pk=ours.pk).update(embedding_model=remote)
    lines = exported()
    bring(lines, "elsewhere")
    elsewhere.refresh_from_db()
    assert elsewhere.embedding_model is None
    assert not Embedding.objects.filter(namespace=elsewhere).exists()
    assert f"Vectors of {remote} were left out: the namespace's model is hashing-1" in capsys.readouterr().err
    assert tasks.embed_due() == len(select_lines(lines, "memory"))
    assert {each.model for each in Embedding.objects.filter(namespace=elsewhere)} == {"hashing-1"}


def test_an_import_without_vectors_sets_no_model(ours, exported, bring, elsewhere):
    Embedding.objects.all().delete()
    bring(exported(), "elsewhere")
    elsewhere.refresh_from_db()
    assert elsewhere.embedding_model is None


@pytest.mark.django_db(transaction=True)
def test_embedding_in_the_namespace_does_not_wait_for_an_import(
    api, namespace, elsewhere, exported, bring, monkeypatch
):
    make_something_of_every_kind(api, namespace)
    insert, lines, tried = importer.NamespaceImport.insert, exported(), []

    def decide() -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '60s'")
            return active_model.set_initial_model([elsewhere.pk], "hashing-1")
        finally:
            connection.close()

    def insert_while_another_embeds(self: importer.NamespaceImport, batch: list) -> list:
        errors = insert(self, batch)
        with ThreadPoolExecutor(1) as other:
            tried.append(other.submit(decide).result())
        return errors

    monkeypatch.setattr(importer.NamespaceImport, "insert", insert_while_another_embeds)
    bring(lines, "elsewhere")
    assert tried[0] is True


def test_a_change_of_the_model_during_the_import_refuses_the_file(ours, elsewhere, exported, bring, monkeypatch):
    lines, insert = exported(), importer.NamespaceImport.insert

    def insert_and_switch(self: importer.NamespaceImport, batch: list) -> list:
        errors = insert(self, batch)
        Namespace.objects.filter(pk=elsewhere.pk).update(embedding_model="another")
        return errors

    monkeypatch.setattr(importer.NamespaceImport, "insert", insert_and_switch)
    with pytest.raises(CommandError, match="The namespace's model has changed meanwhile.* Nothing was imported"):
        bring(lines, "elsewhere")
    assert not Memory.objects.filter(namespace=elsewhere).exists()


# Sessions


def test_encrypted_histories_are_exported_decrypted_and_encrypted_again(ours, exported, bring, settings, caller):
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    call_command("reencrypt_sessions", stdout=io.StringIO())
    assert "sealed" in SessionMemory.objects.first().history[0]
    lines = exported()
    delete_everything()
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    bring(lines)
    assert all(list(stored) == ["sealed", "timestamp"] for stored in SessionMemory.objects.first().history)
    assert next(each["answer"] for each in caller.get("/sessions/monday/context").json()["interactions"]) == "Yes."
    settings.SESSION_ENCRYPTION_KEYS = []
    delete_everything()
    bring(lines)
    assert exported()[1:] == lines[1:]


def test_an_undecryptable_history_stops_the_export_and_keeps_an_older_file(ours, exported, settings, tmp_path):
    exported()
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    call_command("reencrypt_sessions", stdout=io.StringIO())
    settings.SESSION_ENCRYPTION_KEYS = []
    before = (tmp_path / "export.jsonl").read_bytes()
    with pytest.raises(CommandError, match="The session '.*': A history cannot be read.*The export is incomplete"):
        exported()
    assert (tmp_path / "export.jsonl").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["export.jsonl"]


# Files and pipes


def test_a_file_is_readable_by_its_owner_alone(ours, exported, tmp_path):
    exported()
    assert stat.S_IMODE((tmp_path / "export.jsonl").stat().st_mode) == 0o600


def test_a_missing_folder_is_reported_in_one_sentence(namespace):
    with pytest.raises(CommandError, match="/nowhere/at/all cannot be written: No such file"):
        call_command("export_memories", "/nowhere/at/all", "--namespace", "ours")


def test_an_export_can_be_piped_into_an_import(ours, elsewhere, capsysbinary, monkeypatch, exported):
    call_command("export_memories", "--namespace", "ours")
    written = capsysbinary.readouterr().out
    assert written.splitlines()[1:] == [line.rstrip(b"\n") for line in exported()[1:]]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written)))
    call_command("import_memories", "-", namespace="elsewhere", stdout=io.StringIO())
    assert replace_ids(exported(namespace="elsewhere"))[0] == replace_ids(exported())[0]


def test_the_reader_of_a_pipe_sees_its_end_before_the_command_ends(namespace, monkeypatch):
    reading_end, writing_end = os.pipe()
    with open(reading_end, "rb") as reader, open(writing_end, "w") as writer:
        monkeypatch.setattr("sys.stdout", writer)
        call_command("export_memories", "--namespace", "ours")
        assert reader.read().count(b"\n") == 1


def test_a_closed_pipe_is_reported_in_one_sentence(ours, monkeypatch):
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with open(writing_end, "w") as writer:
        monkeypatch.setattr("sys.stdout", writer)
        with pytest.raises(CommandError, match="The reader of the pipe has closed it") as error:
            call_command("export_memories", "--namespace", "ours")
    assert error.value.returncode == 1


def test_the_export_of_an_empty_namespace_is_only_a_header(namespace, exported, bring):
    [header] = lines = exported()
    assert json.loads(header)["version"] == 1
    assert bring(lines) == "0 of 0 lines are new: nothing.\n"


def test_a_dry_run_stores_nothing(ours, elsewhere, exported, bring):
    lines, before = exported(), load_everything()
    assert f"{len(lines) - 1} of {len(lines) - 1} lines would be new: 2 document, " in bring(
        lines, "elsewhere", dry_run=True
    )
    assert load_everything() == before


@pytest.mark.parametrize("command", ["export_memories", "import_memories"])
def test_an_interrupted_import_stores_nothing(ours, elsewhere, exported, bring, monkeypatch, tmp_path, command):
    lines, before = exported(), load_everything()
    (tmp_path / "export.jsonl").unlink()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ingestion.transfer.importer.UPDATE_JSON_IDS_SQL", None)
    monkeypatch.setattr(importer.NamespaceImport, "finish", interrupted)
    monkeypatch.setattr("ingestion.transfer.exporter.decrypt_history", interrupted)
    with pytest.raises(CommandError) as error:
        exported() if command == "export_memories" else bring(lines, "elsewhere")
    assert error.value.returncode == 130
    assert load_everything() == before
    assert not (tmp_path / "export.jsonl").exists()


# Wrong files


def test_a_truncated_file_is_refused(ours, elsewhere, exported, refused):
    lines = exported()
    assert "The file is incomplete" in refused(lines[:-1])
    assert "announces 1 lines of the kind pending_relationship, it has 0" in refused(lines[:-1])
    assert f"line {len(lines):,}: " in refused([*lines[:-1], lines[-1][:-9]])


def test_a_file_with_an_additional_line_is_refused(ours, elsewhere, exported, refused):
    lines = exported()
    extra = json.loads(lines[1]) | {"id": "0192d3f0-0000-7000-8000-000000000000", "path": "x", "repo_id": "y"}
    assert "The file is incomplete" in refused([*lines[:2], json.dumps(extra).encode() + b"\n", *lines[2:]])


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("memory", {"content": None}, "content"),
        ("memory", {"content": " "}, "content: may not be blank"),
        ("memory", {"content": "x" * 200_001}, "content: Value should have at most 200000 items"),
        ("memory", {"data": build_nested(33)}, "data: may be nested at most 32 levels deep"),
        ("memory", {"metadata": build_nested(900)}, "metadata: may be nested at most 32 levels deep"),
        ("memory", {"data": {"n": 10**4000}}, "data: numbers must be finite"),
        ("memory", {"data": {"a": ["x" * 300_000]}}, "data: may take at most 262,144 characters"),
        ("memory", {"data": {"a\0": 1}}, "data: may not contain NUL"),
        ("memory", {"created_at": "2199-01-01T00:00:00Z"}, "created_at: may lie at most an hour in the future"),
        ("memory", {"updated_at": "2199-01-01T00:00:00Z"}, "updated_at: may lie at most an hour in the future"),
        ("memory", {"entity_system": ""}, "entity_system: Value should have at least 1 item"),
        ("memory", {"entity_system": "crm", "entity_id": None}, "entity has system and id"),
        ("memory", {"entity_id": "\u200b"}, "entity_id: may not be blank"),
        ("memory", {"source_system": ""}, "source_system: Value should have at least 1 item"),
        ("memory", {"tags": [""]}, "tags.0: Value should have at least 1 item"),
        ("memory", {"tags": ["x" * 129]}, "tags.0: Value should have at most 128 items"),
        ("memory", {"tags": ["x"] * 257}, "tags: List should have at most 256 items"),
        ("memory", {"confidence": 1.5}, "confidence: Input should be less than or equal to 1"),
        ("memory", {"base_relevance": -1}, "base_relevance: Input should be greater than or equal to 0"),
        ("memory", {"access_count": 2**31}, "access_count: Input should be less than or equal to"),
        ("memory", {"summary": "x" * 10_001}, "summary: Value should have at most 10000 items"),
        ("message", {"created_at": "2199-01-01T00:00:00Z"}, "created_at: may lie at most an hour in the future"),
        ("message", {"metadata": build_nested(40)}, "metadata: may be nested at most 32 levels deep"),
        ("session", {"ttl_hours": 0}, "ttl_hours: Input should be greater than 0"),
        ("session", {"session_id": "../x"}, "session_id: cannot be used in an address"),
        (
            "session",
            {"history": [{"query": "a", "answer": "b", "timestamp": "2199-01-01T00:00:00Z"}]},
            "timestamp: may lie at most an hour in the future",
        ),
        ("memory", {"content": "\0"}, "NUL"),
        ("memory", {"content": 5}, "content: Input should be a valid string"),
        ("memory", {"importance": 9}, "importance: Input should be 1, 2, 3, 4 or 5"),
        ("memory", {"importance": 10**4000}, "importance: "),
        ("memory", {"memory_type": "unheard-of"}, "memory_type: Input should be"),
        ("memory", {"user_id": "x" * 256}, "user_id: Value should have at most 255 items"),
        ("memory", {"tags": "a"}, "tags: Input should be a valid list"),
        ("memory", {"metadata": []}, "metadata: Input should be a valid dictionary"),
        ("memory", {"created_at": "infinity"}, "created_at: must be an ISO 8601 time"),
        ("memory", {"created_at": "9999-01-01T00:00:00+00:00"}, "between 2000 and 2200"),
        ("memory", {"id": "1"}, "id: Input should be a valid UUID"),
        ("memory", {"colour": "red"}, "colour: Extra inputs are not permitted"),
        ("memory", {"namespace_id": 1}, "namespace_id: Extra inputs are not permitted"),
        ("memory", {"document_id": "0192d3f0-0000-7000-8000-000000000000"}, "document_id"),
        ("memory", {"vectors": [{"model": "m", "vector": "AAAA"}]}, "must be 768 numbers of unit length"),
        ("memory", {"vectors": [{"model": "m", "vector": "A" * 2048}]}, "must be 768 numbers of unit length"),
        ("memory", {"vectors": [{"model": "m", "vector": "/3//" * 512}]}, "must be 768 numbers of unit length"),
        ("memory", {"vectors": [{"model": "m", "vector": "not base64"}]}, "must be 768 numbers of unit length"),
        ("relationship", {"to_memory_id": "0192d3f0-0000-7000-8000-000000000000"}, "to_memory_id refers to a memory"),
        ("relationship", {"type": "x"}, "type: Input should be"),
        ("relationship", {"strength": 2}, "strength: Input should be less than or equal to 1"),
        ("relationship", {"owner": "bob"}, "of_owner"),
        ("message", {"conversation_id": None}, "conversation_id"),
        ("insight", {"projects": ["x"] * 65}, "projects: List should have at most 64 items"),
        ("insight", {"memory_id": "0192d3f0-0000-7000-8000-000000000000"}, "memory_id refers to a memory that is not"),
        ("session", {"history": {}}, "history: Input should be a valid list"),
        ("session", {"history": [{"sealed": "x", "timestamp": "2026-01-01T00:00:00+00:00"}]}, "history.0.query"),
        ("document", {"digest": "text"}, "digest"),
        ("document", {"kind": "export"}, "kind: must be one of"),
        ("document", {"kind": ["document"]}, "kind: must be one of"),
    ],
)  # fmt: skip
def test_an_invalid_line_is_reported_with_its_number(ours, elsewhere, all_lines, refused, kind, values, reason):
    number = find_line_number(all_lines, kind)
    lines = with_changed_line(all_lines, number, **values)
    if output := refused_alone(lines[number - 1]):
        assert reason in output
        return
    output = refused(lines)  # by what else is there
    assert f"line {number:,}: " in output
    assert reason in output
    assert "1 line is wrong." in output


@pytest.mark.parametrize("line", [b"{", b"[]", b"5", b'{"kind": "memory"}', b"\xff", b"[" * 100_000], ids=range(6))
def test_a_line_that_is_not_an_object_is_reported(ours, elsewhere, exported, refused, line):
    lines = exported()
    assert "line 3: " in refused([*lines[:2], line + b"\n", *lines[2:]])


def test_all_invalid_lines_of_a_batch_are_reported(ours, elsewhere, exported, refused):
    lines = exported()
    first = find_line_number(lines, "memory")
    output = refused(with_changed_line(with_changed_line(lines, first, importance=9), first + 2, importance=0))
    assert f"line {first:,}: " in output and f"line {first + 2:,}: " in output and f"line {first + 1:,}: " not in output
    assert "2 lines are wrong" in output


def test_a_repeated_id_is_reported(ours, elsewhere, exported, refused):
    lines = exported()
    number = find_line_number(lines, "conversation")
    output = refused(with_changed_line(lines, number + 1, id=json.loads(lines[number - 1])["id"]))
    assert f"line {number + 1:,}: its id is on an earlier line too" in output


@pytest.mark.parametrize(("values", "reason"), [({"version": 2}, "version"), ({"counts": {"x": 1}}, "counts")])
def test_an_invalid_header_is_refused(ours, elsewhere, exported, refused, values, reason):
    assert f"line 1: this is not the header of an export: {reason}" in refused(
        with_changed_line(exported(), 1, **values)
    )


def test_a_file_without_header_is_not_an_export(ours, elsewhere, exported, refused):
    assert "line 1: this is not the header of an export: kind: Input should be" in refused(exported()[1:])


def test_the_bounds_accept_every_row_the_application_creates(ours, elsewhere, exported, bring):
    lines = exported()
    number = find_line_number(lines, "memory")
    values = {"content": "x " * 100_000, "data": build_nested(32), "expires_at": "2199-01-01T00:00:00Z"}
    values |= {"metadata": {"a": "x" * 260_000}, "tags": [f"tag {n}" for n in range(256)], "user_id": "x" * 255}
    values |= {"created_at": (timezone.now() + timedelta(minutes=50)).isoformat()}
    lines = with_changed_line(lines, number, **values, vectors=[])
    lines = [each for each in lines if json.loads(each)["kind"] in ("export", "document", "memory")]
    header = json.loads(lines[0])
    lines = with_changed_line(lines, 1, counts={kind: header["counts"][kind] for kind in ("document", "memory")})
    bring(lines, "elsewhere")
    assert Memory.objects.get(namespace=elsewhere, user_id="x" * 255).data == build_nested(32)


def test_missing_columns_get_their_defaults(elsewhere, bring):
    header = {"kind": "export", "version": 1, "namespace": "x", "user": None, "embedding_model": None}
    header |= {"created_at": "2026-01-01T00:00:00Z", "counts": {"memory": 2}}
    ids = [f"0192d3f0-0000-7000-8000-00000000000{number}" for number in range(2)]
    lines = [header, {"kind": "memory", "id": ids[0], "content": "old", "source_system": "x", "access_count": 4}]
    lines.append({"kind": "memory", "id": ids[1], "content": "older", "source_system": "x"})
    bring([json.dumps(line).encode() + b"\n" for line in lines], "elsewhere")
    old, older = Memory.objects.order_by("pk")
    assert (old.access_count, older.access_count) == (4, 0)
    assert (old.base_relevance, old.importance, old.tags, old.metadata, old.memory_type) == (1, 3, [], {}, "agent")
    assert tasks.embed_due() == 2
