"""Rows of one namespace, one of each kind, made by its own key. Each has a secret word."""

from pathlib import Path
from typing import Any

from pydantic_core import from_json

from memory_site.operations.selftest.scratch_site import ScratchSite, SiteFailed, wait_until

EMBEDDED_TIMEOUT_SECONDS = 60.0
USER, SESSION, REPOSITORY, WORKFLOW, PROJECT, KEY = (
    f"owner-{name}" for name in ("user", "session", "repository", "workflow", "project", "key")
)
#: Words that intruders search for; the secret stands beside them.
KNOWN_WORDS = "lighthouse keeper"


class Owner:
    """A caller of one namespace."""

    def __init__(self, site: ScratchSite, key: str, secret: str) -> None:
        self.site, self.key, self.secret = site, key, secret
        self.text = f"The {KNOWN_WORDS} hides the {secret}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer. Raises SiteFailed if it is an error."""
        response = self.site.call(method, path, body, Authorization=f"Bearer {self.key}")
        if response.status >= 300:
            raise SiteFailed(f"{method} {path}: {response.status} {response.data.decode()[:300]}")
        return from_json(response.data) if response.data else None

    def create_rows(self, folder: Path) -> dict[str, str]:
        """Create a row of each kind. Return their ids by the path parameter that names them."""
        ids = {"user_id": USER, "repo_id": REPOSITORY, "workflow_id": WORKFLOW, "session_id": SESSION}
        ids |= {"name": PROJECT, "key": KEY}
        ids |= (
            self.create_memories()
            | self.create_talks()
            | self.create_projects()
            | self.create_jobs()
            | self.create_knowledge(folder)
        )
        wait_until(lambda: not self.call("GET", "/summary")["embedding_backlog"], EMBEDDED_TIMEOUT_SECONDS, "vectors")
        return ids

    def create_memories(self) -> dict[str, str]:
        labels = {"user_id": USER, "agent_id": self.secret, "tags": [self.secret], "metadata": {"word": self.secret}}
        first = self.call("POST", "/memories", {"content": f"{self.text} in May.", **labels})["id"]
        second = self.call("POST", "/memories", {"content": f"{self.text} in June.", **labels})["id"]
        related = {"to_id": second, "type": "refines", "metadata": {"word": self.secret}}
        insight = {"content": f"{self.text}: it is shown only to those who ask for it twice.", "projects": [PROJECT]}
        self.call("PUT", f"/preferences/{USER}/{KEY}", {"value": {"word": self.secret}})
        pattern = {"pattern_type": "workflow", "key": KEY, "description": self.text, "user_id": USER}
        cluster = {"memory_type": "agent", "name": self.text, "tags": [self.secret]}
        return {
            "memory_id": first,
            "relationship_id": self.call("POST", f"/memories/{first}/relationships", related)["id"],
            "insight_id": self.call("POST", "/insights", insight)["id"],
            "pattern_id": self.call("POST", "/patterns", pattern)["id"],
            "cluster_id": self.call("POST", "/clusters", cluster)["id"],
        }

    def create_talks(self) -> dict[str, str]:
        interaction = {"query": f"Where is the {self.secret}?", "answer": self.text}
        self.call("POST", f"/sessions/{SESSION}/interactions", interaction)
        conversation = {"user_id": USER, "session_id": SESSION, "topics": [self.secret]}
        conversation_id = self.call("POST", "/conversations", conversation)["id"]
        message = {"role": "user", "content": f"{self.text}, they say."}
        message_id = self.call("POST", f"/conversations/{conversation_id}/messages", message)["id"]
        link = {"source_session_id": SESSION, "target_session_id": "other", "link_type": "related"}
        link_id = self.call("POST", "/session-links", link | {"context": self.secret})["id"]
        return {"conversation_id": conversation_id, "from_id": message_id, "link_id": link_id}

    def create_projects(self) -> dict[str, str]:
        about = {"description": self.text}
        group = {"name": PROJECT, "projects": [PROJECT, self.secret]} | about
        uses = {"source_project": PROJECT, "target_project": self.secret, "type": "uses"} | about
        return {
            "group_id": self.call("POST", "/projects/groups", group)["id"],
            "dependency_id": self.call("POST", "/projects/dependencies", uses)["id"],
        }

    def create_knowledge(self, folder: Path) -> dict[str, str]:
        (folder / "notes.md").write_text(f"{self.text} in a file.")
        ingestion = self.call("POST", f"/repositories/{self.secret}/ingestions", {"path": str(folder)})["id"]
        document = {"content": f"{self.text} in a document.", "title": self.secret, "repo_id": REPOSITORY}
        execution = {"adapter": self.secret, "result": {"word": self.secret}, "summary": self.text, "user_id": USER}
        figures = {"health_status": "healthy", "latency_ms": 1, "error_count": 0, "word": self.secret}
        measured = {"component": self.secret, "metric_type": "adapter_health", "metrics": figures}
        self.call("POST", "/performance", measured)
        return {
            "ingestion_id": ingestion,
            "document_id": self.call("POST", "/documents", document)["id"],
            "execution_id": self.call("POST", f"/workflows/{WORKFLOW}/executions", execution)["id"],
        }

    def create_jobs(self) -> dict[str, str]:
        about_user = {"filters": {"user_id": USER}}
        export = self.call("POST", "/jobs", {"action": "export"} | about_user)["id"]
        tag = self.call("POST", "/jobs", {"action": "tag", "parameters": {"tags": [self.secret]}} | about_user)["id"]
        return {"job_id": tag, "ended_job_id": tag, "export_job_id": export}
