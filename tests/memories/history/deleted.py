"""A memory on which everything hangs that can hang on one."""

from django.utils import timezone

from ingestion.models import WorkflowExecution
from memories.graph.models import PendingRelationship, Relationship
from memories.insights.models import Insight
from memories.models import Memory
from sessions_app.models import Conversation, Message


def make_memory_with_parts(api, user: str = "ada") -> dict:
    """Store an insight of the user with relationships in both directions, a pending one, another insight that it is the
    source of, a message and a workflow's execution. Return it."""
    first, second = (api.add(f"{name} tea", user_id=user) for name in ("first", "second"))
    pk, source = (
        add_insight(api, text, user)
        for text in ("Tea cools down in a cup without a lid.", "Lamps burn longer if nobody moves them.")
    )
    memory = api.get(f"/memories/{pk}").json()
    for start, end in ((memory, first), (second, memory)):
        relate(api, start, {"to_id": end["id"]}, 201)
    relate(api, memory, {"to_entity": {"system": "jira", "id": "T-1"}}, 202)
    Insight.objects.filter(pk=source).update(source_memory=pk)
    namespace = {"namespace_id": Memory.objects.get(pk=pk).namespace_id}
    talk = Conversation.objects.create(**namespace, user_id=user)
    Message.objects.create(**namespace, conversation=talk, role="user", content="tea", memory_id=pk)
    run = {"workflow_id": "w", "adapter": "a", "started_at": timezone.now(), "finished_at": timezone.now()}
    WorkflowExecution.objects.create(**namespace, **run, memory_id=pk)
    return memory


def add_insight(api, content: str, user: str) -> str:
    response = api.post("/insights", {"content": content, "user_id": user, "topics": ["tea"]})
    assert response.status_code == 201, response.content
    return response.json()["id"]


def relate(api, memory: dict, end: dict, status: int) -> None:
    body = {**end, "type": "relates_to", "strength": 0.5, "metadata": {"why": "tea"}}
    response = api.post(f"/memories/{memory['id']}/relationships", body)
    assert response.status_code == status, response.content


def describe_parts(memory_id: str) -> dict[str, object]:
    """Return what hangs on a memory, without what every change moves."""
    ends = ("from_memory_id", "to_memory_id", "id", "type", "strength", "metadata", "owner", "created_at")
    linked = Relationship.objects.filter(from_memory=memory_id) | Relationship.objects.filter(to_memory=memory_id)
    return {
        "relationships": sorted(map(str, linked.values_list(*ends))),
        "pending": list(PendingRelationship.objects.filter(from_memory=memory_id).values()),
        "insight": list(Insight.objects.filter(memory=memory_id).values()),
        "source": list(Insight.objects.filter(source_memory=memory_id).values("pk")),
        "messages": list(Message.objects.filter(memory_id=memory_id).values("pk")),
        "workflows": list(WorkflowExecution.objects.filter(memory=memory_id).values("pk")),
    }
