"""Rows for the tests generated from the OpenAPI document."""

from pathlib import Path

import pytest
from django.test import override_settings

from ingestion.tasks import ingest_due
from memories import tasks
from memories.history.models import MemoryVersion
from memories.insights.models import Insight
from memories.jobs.models import Job
from memories.jobs.run import run_job
from memories.models import Memory
from sessions_app.models import SCOPES, ApiKey, Conversation, Message, Namespace
from tests.conftest import Api
from tests.wire import SAMPLE_ID

SECRET_WORD = "kumquat"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    """What the example of an ingestion names."""
    settings.INGESTION_ROOTS = [str(tmp_path)]
    return create_folder(tmp_path)


def create_folder(root: Path) -> Path:
    folder = root / "checkouts" / "site"
    folder.mkdir(parents=True)
    (folder / "harbour.md").write_text(f"The {SECRET_WORD} opens at nine.")
    return folder


@pytest.fixture(scope="module")
def made(module_transaction, tmp_path_factory) -> tuple[Api, dict[str, str]]:
    """The caller of `ours`, and the ids of his rows."""
    root = tmp_path_factory.mktemp("root")
    with override_settings(INGESTION_ROOTS=[str(root)]):
        api = Api(ApiKey.objects.issue(Namespace.objects.create(name="ours"), scopes=SCOPES)[1])
        return api, create_rows(api, create_folder(root))


@pytest.fixture
def ids(made, db) -> dict[str, str]:
    return made[1]


def create_rows(api, folder: Path) -> dict[str, str]:
    """By the path parameter that names them; an operation with a new one must be added here."""
    words = dict.fromkeys(("summary", "agent_id", "workflow_id", "repo_id", "session_id"), SECRET_WORD)
    words["user_id"] = "our-user"
    entity = dict.fromkeys(("system", "id", "type", "name"), SECRET_WORD)
    memory = api.add(
        f"Ada hides the {SECRET_WORD}.",
        **words,
        entity=entity,
        tags=[SECRET_WORD],
        metadata={"important": True, SECRET_WORD: SECRET_WORD},
    )
    api.patch(f"/memories/{memory['id']}", {"confidence": 0.5})
    MemoryVersion.objects.filter(memory_id=memory["id"]).update(id=SAMPLE_ID)
    # Two others are related: a memory that is cannot change its user, as it does in these tests.
    api.add(f"The {SECRET_WORD} has a key.", key="our-key")
    third = api.add(f"The {SECRET_WORD} is ripe.", user_id="our-user", source_system=SECRET_WORD)
    another = Memory(
        id=SAMPLE_ID, content=f"The {SECRET_WORD} is sweet.", user_id="our-user", source_system=SECRET_WORD
    )
    another.namespace = Memory.objects.get(pk=memory["id"]).namespace
    another.save(force_insert=True)
    said = {"namespace": another.namespace, "digest": bytes(32), "bands": [], "quality": 1}
    Insight.objects.create(memory=another, topics=[SECRET_WORD], projects=[SECRET_WORD], **said)
    Conversation.objects.create(id=SAMPLE_ID, namespace=another.namespace, summary=SECRET_WORD)
    relationship = {"to_id": SAMPLE_ID, "type": "refines", "metadata": {SECRET_WORD: SECRET_WORD}}
    relationship = api.post(f"/memories/{third['id']}/relationships", relationship).json()
    tasks.embed_due()
    api.post(
        "/sessions/our-session/interactions",
        {"query": f"Where is the {SECRET_WORD}?", "answer": f"{SECRET_WORD} is here."},
    )
    conversation = api.post(
        "/conversations",
        {
            **{"summary": SECRET_WORD, "user_id": SECRET_WORD, "session_id": SECRET_WORD},
            "started_at": "2019-01-01T00:00:00Z",  # before every end that a test gives
        },
    ).json()
    api.post(
        f"/conversations/{conversation['id']}/messages", {"role": "user", "content": f"Where is the {SECRET_WORD}?"}
    )
    said_first = {"conversation_id": conversation["id"], "role": "user", "content": SECRET_WORD}
    Message.objects.create(id=SAMPLE_ID, namespace=another.namespace, **said_first)
    Conversation.objects.filter(pk=conversation["id"]).update(message_count=2)
    api.post("/messages/bulk", {"session_id": "monday", "messages": [{"role": "user", "content": SECRET_WORD}] * 2})
    link = {"source_session_id": SECRET_WORD, "target_session_id": "our-session", "context": SECRET_WORD}
    document = {
        "content": f"The {SECRET_WORD} is ripe.",
        "title": SECRET_WORD,
        "repo_id": SECRET_WORD,
        "metadata": {SECRET_WORD: SECRET_WORD},
    }
    about = {"description": SECRET_WORD, "metadata": {SECRET_WORD: SECRET_WORD}}
    group = {"name": SECRET_WORD, "projects": [SECRET_WORD]} | about
    dependency = {"source_project": SECRET_WORD, "target_project": "ours", "type": "uses"} | about
    pattern = {"pattern_type": "workflow", "key": SECRET_WORD, "examples": [SECRET_WORD], "user_id": "our-user"} | about
    api.call("PUT", "/preferences/our-user/our-key", {"value": {SECRET_WORD: SECRET_WORD}, "source": SECRET_WORD})
    started = api.post("/repositories/ours/ingestions", {"path": str(folder)}).json()
    ingest_due()
    api.post("/documents", {"content": f"The {SECRET_WORD} is sour.", "repo_id": "of-the-caller"})
    execution = {
        "adapter": SECRET_WORD,
        "repositories": [SECRET_WORD],
        "result": {SECRET_WORD: SECRET_WORD},
        "error": SECRET_WORD,
    }
    execution |= dict.fromkeys(("summary", "user_id", "agent_id"), SECRET_WORD)
    execution |= {"status": "pending", "started_at": "2019-01-01T00:00:00Z"}
    figures = {"health_status": "healthy", "latency_ms": 1, "error_count": 1, SECRET_WORD: SECRET_WORD}
    measurement = {"component": SECRET_WORD, "metric_type": "adapter_health", "metrics": figures}
    api.post("/performance", {"measurements": [measurement, measurement | {"metrics": {"latency_ms": 9}}] * 3})
    of_us = {"filters": {"user_id": "our-user"}}
    jobs = [{"action": "tag", "parameters": {"tags": ["seen"]}}, {"action": "export"}]
    ended, exported = (api.post("/jobs", job | of_us).json()["id"] for job in jobs)
    for job in Job.objects.filter(pk__in=(ended, exported)):
        assert list(run_job(job))
    return {
        "job_id": api.post("/jobs", jobs[0] | of_us).json()["id"],
        "ended_job_id": ended,
        "export_job_id": exported,
        "repo_id": "of-the-caller",
        "workflow_id": "our-workflow",
        "execution_id": api.post("/workflows/our-workflow/executions", execution).json()["id"],
        "ingestion_id": started["id"],
        "document_id": api.post("/documents", document).json()["id"],
        "memory_id": memory["id"],
        "relationship_id": relationship["id"],
        "user_id": "our-user",
        "session_id": "our-session",
        "conversation_id": conversation["id"],
        "from_id": SAMPLE_ID,
        "link_id": api.post("/session-links", link).json()["id"],
        "cluster_id": api.get("/clusters").json()["results"][0]["id"],
        "pattern_id": api.post("/patterns", pattern).json()["id"],
        "key": "our-key",
        "insight_id": SAMPLE_ID,
        "group_id": api.post("/projects/groups", group).json()["id"],
        "dependency_id": api.post("/projects/dependencies", dependency).json()["id"],
        "name": "of-the-caller",
    }
