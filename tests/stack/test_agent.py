"""The worked example of an agent that learns, beside a running site."""

import subprocess
import sys
from pathlib import Path

EXAMPLE_PATH = Path(__file__).resolve().parents[2] / "examples" / "agent.py"
TASK = "publish the release notes"
LESSON = "Build the changelog before you publish"
#: Here nothing listens, and nothing will.
NOWHERE = "http://127.0.0.1:1"


def run_agent(url: str, key: str, project: str, task: str = TASK) -> subprocess.CompletedProcess:
    words = [sys.executable, str(EXAMPLE_PATH), "--url", url, "--key", key, "--project", project, task]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def run_agent_output(stack, project: str, task: str = TASK) -> str:
    done = run_agent(stack.url, stack.key, project, task)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_agent_and_dependent_projects_learn(stack):
    link = {"source_project": "billing", "target_project": "shop", "type": "uses"}
    assert stack.call("POST", "/projects/dependencies", link).status == 201
    first, again = run_agent_output(stack, "shop"), run_agent_output(stack, "shop")
    assert first.startswith(f"Done at the second attempt. I learned: {LESSON}")
    assert again.startswith(f"Done at the first attempt. I knew, from shop: {LESSON}")
    assert run_agent_output(stack, "billing").startswith(f"Done at the first attempt. I knew, from shop: {LESSON}")
    assert run_agent_output(stack, "a stranger's").startswith("Done at the second attempt.")


def test_helpful_insight_is_counted_and_stored_once(stack):
    run_agent_output(stack, "counted", "restore last night's backup")
    run_agent_output(stack, "counted", "restore last night's backup")
    found = stack.call("POST", "/insights/search", {"query": "*", "project": "counted"}).json()["results"]
    [insight] = [each["insight"] for each in found]
    assert insight["content"].startswith("Stop the workers before you restore")
    assert (insight["usage_count"], insight["projects"]) == (1, ["counted"])


def test_other_task_gets_no_insight(stack):
    run_agent_output(stack, "apart")
    assert run_agent_output(stack, "apart", "water the plants") == "Done at the first attempt.\n"


def test_missing_site_is_reported():
    done = run_agent(NOWHERE, "mem_x_y", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Memory Site does not answer" in done.stderr


def test_wrong_key_is_reported(stack):
    done = run_agent(stack.url, "mem_x_y", "nowhere")
    assert done.returncode == 1
    assert "/projects/search: " in done.stderr
