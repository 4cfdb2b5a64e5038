"""Totals of a namespace."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

pytestmark = pytest.mark.django_db


def test_the_summary_counts_memories_and_knowledge(api, outsider):
    for user in ("ada", "ada", "ben", None):
        api.add(f"for {user} {uuid4()}", user_id=user)
    api.add("a text", memory_type="rag")
    outsider.add("theirs")
    summary = api.get("/summary").json()
    assert summary["total_memories"] == 5
    assert summary["by_type"] == {"agent": 4, "rag": 1}
    assert summary["by_user"] == {"ada": 2, "ben": 1}
    assert (summary["embedding_backlog"], summary["embedding_refused"]) == (5, 0)
    assert summary["embedding_model"] == "hashing-1"
    assert summary["last_update"] is not None


def test_the_summary_of_an_empty_namespace_is_zero(api):
    summary = api.get("/summary").json()
    assert (summary["total_memories"], summary["by_type"], summary["by_user"]) == (0, {}, {})
    assert summary["last_update"] is None
    assert {summary[name] for name in ("recent", "important", "preferences", "clusters", "patterns")} == {0}


def test_knowledge_is_counted(api, outsider):
    api.add("old", tags=["a"], created_at=str(datetime.now(UTC) - timedelta(days=31)))
    api.add("new", tags=["a"], metadata={"important": True})
    api.add("other", tags=["b"])
    for who in (api, outsider):
        who.call("PUT", "/preferences/ada/tone", {"value": 1})
        who.post("/patterns", {"pattern_type": "workflow", "key": "suite first"})
        who.post("/patterns", {"pattern_type": "workflow", "key": "suite last"})
    summary = api.get("/summary").json()
    counts = {"recent": 2, "important": 1, "preferences": 1, "clusters": 2, "patterns": 2}
    assert {name: summary[name] for name in counts} == counts
