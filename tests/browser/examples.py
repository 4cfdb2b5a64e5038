"""A site with something on every page: 180 memories of four users over a month, and one of everything else."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from memory_site.operations.demo_data import MEMORIES
from tests.stack.stack import Stack

USERS = ("ada@acme.example", "freya.nordin@acme.example", "team-a", None)
TYPES = ("agent", "insight", "business_fact", "user_preference", "user_selection")
COPIES = 5
OPPORTUNITY = {
    "attributes": {"type": "Opportunity"},
    "Id": "0065g00000XyZ12AAB",
    "Name": "Acme Enterprise License",
    "Amount": 250000,
    "AccountId": "0015g00000AbC34AAA",
}
ACCOUNT = {"attributes": {"type": "Account"}, "Id": "0015g00000AbC34AAA", "Name": "Acme Corp"}
DEPENDENCY = {"source_project": "shop-web", "target_project": "shop-api", "type": "uses"}
PATTERN = {"key": "asks-before-nine", "pattern_type": "workflow", "description": "Asks for reports before nine."}
LINK = {"source_session_id": "shift-1", "target_session_id": "shift-2", "link_type": "continuation"}
HEALTH = {
    "component": "langgraph",
    "metric_type": "adapter_health",
    "metrics": {"health_status": "unhealthy", "latency_ms": 42},
}


def store_examples(site: Stack) -> None:
    """Store the examples over the API."""
    post(site, "/memories/bulk", {"memories": list_memories()})
    for records in ([OPPORTUNITY], [ACCOUNT]):
        body = {"user_id": USERS[0], "agent_id": "crm", "tool": "salesforce", "result": {"records": records}}
        post(site, "/tool-results", body)
    for path, body in OTHERS:
        post(site, path, body)
    converse(site)


def list_memories() -> list[dict[str, Any]]:
    now, hours = datetime.now(UTC), count(1)
    return [
        {
            "content": f"{text} (note {copy})" if copy else text,
            "memory_type": TYPES[(number + copy) % len(TYPES)],
            "user_id": USERS[number % len(USERS)],
            "agent_id": f"agent-{number % 3}",
            "importance": 1 + number % 5,
            "tags": [f"team-{number % 4}", "example"],
            "metadata": {"ticket": f"OPS-{1000 + number}", "nested": {"list": [1, 2, {"deep": True}]}},
            "created_at": (now - timedelta(hours=4 * next(hours))).isoformat(),
        }
        for copy in range(COPIES)
        for number, text in enumerate(MEMORIES)
    ]


def converse(site: Stack) -> None:
    conversation = post(site, "/conversations", {"user_id": USERS[1], "session_id": "shift-1"})
    for role, content in (("user", "Where is the harbour pilot?"), ("assistant", "Ingrid is on the morning shift.")):
        body = {"role": role, "content": content, "remember": role == "user"}
        post(site, f"/conversations/{conversation['id']}/messages", body)


def post(site: Stack, path: str, body: dict[str, Any]) -> Any:
    answer = site.call("POST", path, body)
    assert answer.status < 300, (path, answer.data)
    return answer.json()


OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("/insights", {"content": "Stop the workers before you restore a backup.", "projects": ["shop-web", "shop-api"]}),
    ("/insights", {"content": "Retry a request that timed out with a longer pause.", "projects": ["billing"]}),
    ("/projects/groups", {"name": "shop", "projects": ["shop-web", "shop-api"]}),
    ("/projects/dependencies", DEPENDENCY),
    ("/patterns", PATTERN),
    ("/sessions/shift-1/interactions", {"query": "Which berth is free?", "answer": "Berth seven, until noon."}),
    ("/session-links", LINK),
    ("/documents", {"content": "# Refunds\n\nRefunds need a second signature.", "title": "Handbook", "repo_id": "hb"}),
    ("/workflows/nightly/executions", {"adapter": "airflow", "status": "completed", "repositories": ["shop-web"]}),
    ("/workflows/sync/executions", {"adapter": "cron", "status": "failed", "error": "No answer\n  within 30 s"}),
    ("/performance", HEALTH),
]
