"""Rows of ours, for the tests that are made from the API's own description."""

import pytest

from memories import tasks

SECRET = "kumquat"


@pytest.fixture
def ids(api) -> dict[str, str]:
    """By the path parameter that names them; an operation with a new one must be added here."""
    words = dict.fromkeys(("summary", "user_id", "agent_id", "workflow_id", "repo_id", "session_id"), SECRET)
    entity = dict.fromkeys(("system", "id", "type", "name"), SECRET)
    memory = api.add(
        f"Ada hides the {SECRET}.", **words, entity=entity, tags=[SECRET], metadata={"important": True, SECRET: SECRET}
    )
    tasks.embed_due()
    api.post("/sessions/our-session/interactions", {"query": f"Where is the {SECRET}?", "answer": f"{SECRET} is here."})
    conversation = api.post("/conversations", {"summary": SECRET, "user_id": SECRET, "session_id": SECRET}).json()
    api.post(f"/conversations/{conversation['id']}/messages", {"role": "user", "content": f"Where is the {SECRET}?"})
    link = {"source_session_id": SECRET, "target_session_id": "our-session", "context": SECRET}
    return {
        "memory_id": memory["id"],
        "session_id": "our-session",
        "conversation_id": conversation["id"],
        "link_id": api.post("/session-links", link).json()["id"],
    }
