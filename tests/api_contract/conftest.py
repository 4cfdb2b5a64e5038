"""Rows of ours, for the tests that are made from the API's own description."""

from pathlib import Path

import pytest

from ingestion.tasks import ingest_due
from memories import tasks
from memories.insights.models import Insight
from memories.models import Memory
from sessions_app.models import Conversation
from tests.wire import SAMPLE_ID

SECRET = "kumquat"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    """What the example of an ingestion names."""
    settings.INGESTION_ROOTS = [str(tmp_path)]
    return folder_within(tmp_path)


def folder_within(root: Path) -> Path:
    folder = root / "checkouts" / "site"
    folder.mkdir(parents=True)
    (folder / "harbour.md").write_text(f"The {SECRET} opens at nine.")
    return folder


@pytest.fixture
def ids(api, folder) -> dict[str, str]:
    return rows_of(api, folder)


def rows_of(api, folder: Path) -> dict[str, str]:
    """By the path parameter that names them; an operation with a new one must be added here."""
    words = dict.fromkeys(("summary", "agent_id", "workflow_id", "repo_id", "session_id"), SECRET)
    words["user_id"] = "our-user"
    entity = dict.fromkeys(("system", "id", "type", "name"), SECRET)
    memory = api.add(
        f"Ada hides the {SECRET}.", **words, entity=entity, tags=[SECRET], metadata={"important": True, SECRET: SECRET}
    )
    # Two others are related: a memory that is cannot change its user, as it does in these tests.
    third = api.add(f"The {SECRET} is ripe.", user_id="our-user", source_system=SECRET)
    another = Memory(id=SAMPLE_ID, content=f"The {SECRET} is sweet.", user_id="our-user", source_system=SECRET)
    another.namespace = Memory.objects.get(pk=memory["id"]).namespace
    another.save(force_insert=True)
    said = {"namespace": another.namespace, "digest": bytes(32), "bands": [], "quality": 1}
    Insight.objects.create(memory=another, topics=[SECRET], projects=[SECRET], **said)
    Conversation.objects.create(id=SAMPLE_ID, namespace=another.namespace, summary=SECRET)
    relationship = {"to_id": SAMPLE_ID, "type": "refines", "metadata": {SECRET: SECRET}}
    relationship = api.post(f"/memories/{third['id']}/relationships", relationship).json()
    tasks.embed_due()
    api.post("/sessions/our-session/interactions", {"query": f"Where is the {SECRET}?", "answer": f"{SECRET} is here."})
    conversation = api.post("/conversations", {"summary": SECRET, "user_id": SECRET, "session_id": SECRET}).json()
    api.post(f"/conversations/{conversation['id']}/messages", {"role": "user", "content": f"Where is the {SECRET}?"})
    link = {"source_session_id": SECRET, "target_session_id": "our-session", "context": SECRET}
    document = {"content": f"The {SECRET} is ripe.", "title": SECRET, "repo_id": SECRET, "metadata": {SECRET: SECRET}}
    about = {"description": SECRET, "metadata": {SECRET: SECRET}}
    group = {"name": SECRET, "projects": [SECRET]} | about
    dependency = {"source_project": SECRET, "target_project": "ours", "type": "uses"} | about
    pattern = {"pattern_type": "workflow", "key": SECRET, "examples": [SECRET], "user_id": "our-user"} | about
    api.call("PUT", "/preferences/our-user/our-key", {"value": {SECRET: SECRET}, "source": SECRET})
    started = api.post("/repositories/ours/ingestions", {"path": str(folder)}).json()
    ingest_due()
    execution = {"adapter": SECRET, "repositories": [SECRET], "result": {SECRET: SECRET}, "error": SECRET}
    execution |= dict.fromkeys(("summary", "user_id", "agent_id"), SECRET)
    execution |= {"status": "pending", "started_at": "2019-01-01T00:00:00Z"}
    return {
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
        "link_id": api.post("/session-links", link).json()["id"],
        "cluster_id": api.get("/clusters").json()["results"][0]["id"],
        "pattern_id": api.post("/patterns", pattern).json()["id"],
        "key": "our-key",
        "insight_id": SAMPLE_ID,
        "group_id": api.post("/projects/groups", group).json()["id"],
        "dependency_id": api.post("/projects/dependencies", dependency).json()["id"],
        "name": "of-the-caller",
    }
