"""An agent that learns: it recalls insights before a task and stores what happened after it, so that it does not repeat
a mistake in this project or in one that depends on it.

    export MEMORY_KEY=mem_…
    python examples/agent.py --project shop "publish the release notes"
    python examples/agent.py --project shop "publish the release notes"      # now it knows

MEMORY_URL: by default http://127.0.0.1:8000. It needs only the standard library. `attempt` stands for a language model
and its tools.
"""

import argparse
import json
import os
import sys
import urllib.request
from urllib.error import HTTPError, URLError

TIMEOUT_SECONDS = 30  # the first request may wait until the embedding model is loaded
#: What a tool complains of, by a word of the task.
KNOWN_TRAPS = {
    "publish": "Build the changelog before you publish: the page is made of CHANGELOG.html, which git does not keep.",
    "restore": "Stop the workers before you restore a backup: they hold the tables, and the restore waits for ever.",
}
INSIGHT_RULE = "─" * 20


class MemoryClient:
    """The agent's memory in Memory Site. Raises SystemExit with the reason if a request fails."""

    def __init__(self, url: str, key: str, project: str) -> None:
        self.base, self.project = f"{url.rstrip('/').removesuffix('/api/v1')}/api/v1", project
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def recall(self, task: str) -> list[dict]:
        """Find memories of this project and its neighbours that may help, the best first."""
        found = self.ask("/projects/search", {"query": task, "project": self.project, "limit": 5})["results"]
        return [hit["memory"] | {"project": hit["project"]} for hit in found]

    def store(self, task: str, outcome: str, lesson: str | None) -> None:
        """Store what happened as a memory of the project; the server extracts the marked insight."""
        learned = f"\n★ Insight {INSIGHT_RULE}\n{lesson}\n{INSIGHT_RULE}" if lesson else ""
        memory = {"content": f"Task: {task}. {outcome}{learned}", "repo_id": self.project, "agent_id": "example"}
        self.ask("/memories?wait=true", memory | {"memory_type": "agent", "importance": 4 if lesson else 2})

    def mark_used(self, insight: dict) -> None:
        self.ask(f"/insights/{insight['id']}/use", {})

    def ask(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), self.headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
                return json.load(response)
        except HTTPError as refusal:
            sys.exit(f"{path}: {json.load(refusal).get('detail', refusal.reason)}")
        except (URLError, TimeoutError) as error:
            sys.exit(f"Memory Site does not answer at {self.base}: {error}")


def attempt(task: str, advice: list[str]) -> str | None:
    """Do the work. This stand-in fails, and returns why, unless the advice contains the lesson."""
    traps = [lesson for word, lesson in KNOWN_TRAPS.items() if word in task.lower()]
    return next((lesson for lesson in traps if not any(lesson in text for text in advice)), None)


def work(memory: MemoryClient, task: str) -> str:
    """Do one task from beginning to end and return a report."""
    known = [each for each in memory.recall(task) if each["memory_type"] == "insight"]
    lesson = attempt(task, [each["content"] for each in known])
    if lesson is None:
        helped = [each for each in known if attempt(task, []) == each["content"]]
        for each in helped:
            memory.mark_used(each)
        memory.store(task, "Done at the first attempt.", None)
        because = "".join(f" I knew, from {each['project']}: {each['content']}" for each in helped)
        return f"Done at the first attempt.{because}"
    memory.store(task, "Done at the second attempt.", lesson)
    return f"Done at the second attempt. I learned: {lesson}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default=os.environ.get("MEMORY_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--key", default=os.environ.get("MEMORY_KEY"), required="MEMORY_KEY" not in os.environ)
    parser.add_argument("--project", default="demo")
    parser.add_argument("task")
    options = parser.parse_args()
    print(work(MemoryClient(options.url, options.key, options.project), options.task))


if __name__ == "__main__":
    main()
