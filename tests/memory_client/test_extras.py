"""An adapter without its framework says how to install that."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.conf import settings

CLIENT = settings.BASE_DIR / "memory_client"
#: The extra of each module that needs one.
EXTRAS = {
    "adk": "adk",
    "agno": "agno",
    "claude_memory": "anthropic",
    "claude_sessions": "claude-agent-sdk",
    "langchain": "langchain",
    "langgraph": "langgraph",
    "llamaindex": "llamaindex",
    "llamaindex_filters": "llamaindex",
    "openai_agents": "openai-agents",
}
IMPORT_EACH = """
import importlib, sys

class Absent:
    \"\"\"Hides what this environment may have.\"\"\"
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"agents", "agno", "anthropic", "claude_agent_sdk", "google", "langchain_core",
                                      "langgraph", "llama_index"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[1:]:
    try:
        importlib.import_module(f"memory_client.{module}")
    except ModuleNotFoundError as error:
        print(module, error.name.partition(".")[0], str(error), sep="|")
"""


@pytest.fixture(scope="module")
def errors() -> dict[str, list[str]]:
    argv = [sys.executable, "-c", IMPORT_EACH, *EXTRAS]
    answer = subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    return {line.partition("|")[0]: line.split("|")[1:] for line in answer.stdout.splitlines()}


@pytest.mark.parametrize("module", EXTRAS)
def test_missing_framework_names_the_extra(module, errors):
    name, text = errors[module]
    assert f'pip install "memory-site-client[{EXTRAS[module]}]"' in text
    assert f"No module named '{name}" in text


def test_each_extra_is_one_of_the_package():
    extras = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) == set(extras) - {"tests"}


def test_every_module_with_a_framework_is_among_them():
    modules = {path.stem for path in Path(CLIENT).glob("*.py") if "with framework(" in path.read_text()}
    assert modules == set(EXTRAS)
