"""The examples of README and docs, run as a reader would: one shell for each guide, on an empty namespace."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from tests.stack.stack import Stack, run_manage

PAGES = ("index", "memories", "sessions", "documents", "performance", "users", "insights", "projects")
GUIDE = [f"docs/api/{page}.md" for page in PAGES]
GUIDES = {"README": ["README.md"], "getting started": ["docs/getting-started.md"], "API guide": GUIDE}
#: A block of commands, and the block that shows what they answer.
BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$(?:\n+\1```json\n(.*?)^\1```$)?", re.MULTILINE | re.DOTALL)
#: What starts a site, and what needs files or an address of the reader's machine. The drill of README deletes the
#: data directory: test_restore.py runs it.
NOT_RUN = re.compile(r"^(make|\.venv/bin/python) ", re.MULTILINE)
#: Values of another site: ids, also of keys and sites, times and cursors.
OF_ANOTHER_SITE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(mem_)?[0-9a-f]{16}|\d{4}-\d\d-\d\dT.*|WyJ\w+")
#: A line of a shell that runs a command of the product; what follows a pipe is another program's.
COMMAND_LINE = re.compile(r"^ *(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?python manage\.py ([^|>\\\n]+)$", re.MULTILINE)
SEPARATOR = "@@ next example @@"
WAIT_FOR_EMBEDDINGS = """
until [ "$(curl -s localhost:8000/api/v1/summary -H "Authorization: Bearer $MEMORY_KEY" | jq .embedding_backlog)" = 0 ]
do sleep 0.1; done"""

needs_tools = pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="they use curl and jq")


@dataclass
class Example:
    place: str
    commands: str
    documented: list[Any]


def read_examples(page: str) -> Iterator[Example]:
    text = (settings.BASE_DIR / page).read_text()
    for block in BLOCK.finditer(text):
        commands = re.sub(f"^{block[1]}", "", block[2], flags=re.MULTILINE)
        if not NOT_RUN.search(commands):
            line = text.count("\n", 0, block.start()) + 1
            yield Example(f"{page}:{line}", commands, list(parse_documents(block[3] or "")))


def parse_documents(text: str) -> Iterator[Any]:
    """Yield the JSON documents that stand one after the other in a text."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        yield document
        rest = rest[end:].strip()


def run_examples(examples: list[Example], stack: Stack, key: str, folder: Path) -> list[str]:
    """Run all commands in one shell; return what each example printed.

    The shell waits for the embeddings between two examples, as a reader does: what is not embedded ranks otherwise.
    """
    lines = []
    for example in examples:
        commands = re.sub(r"^export MEMORY_KEY=.*$", f"export MEMORY_KEY={key}", example.commands, flags=re.MULTILINE)
        lines += [WAIT_FOR_EMBEDDINGS, f"echo '{SEPARATOR}'", commands]
    lines = [line.replace("localhost:8000", f"127.0.0.1:{stack.port}") for line in lines]
    argv = ["bash", "-c", "\n".join(lines)]
    environment = {"PATH": "/usr/bin:/bin", "MEMORY_KEY": key}
    result = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.stderr == ""
    return result.stdout.split(SEPARATOR)[1:]


def find_differences(shown: Any, given: Any, path: str = "") -> Iterator[str]:
    """Yield where an answer is not the documented one, which is shortened. Numbers and lists of words may differ."""
    if isinstance(shown, dict) and isinstance(given, dict):
        for name, value in shown.items():
            yield from find_differences(value, given.get(name, "missing"), f"{path}.{name}")
    elif isinstance(shown, list) and isinstance(given, list):
        if bool(shown) != bool(given):
            yield f"{path}: {len(given)} items, documented {len(shown)}"
        elif shown and isinstance(shown[0], dict):
            yield from find_differences(shown[0], given[0], f"{path}.0")
    elif not is_same_value(shown, given):
        yield f"{path}: {given!r}, documented {shown!r}"


def is_same_value(shown: Any, given: Any) -> bool:
    if isinstance(shown, str) and isinstance(given, str):
        return shown == given or bool(OF_ANOTHER_SITE.fullmatch(shown))
    return type(shown) is type(given) or {type(shown), type(given)} <= {int, float, type(None)}


def check_answers(example: Example, printed: str) -> Iterator[str]:
    answers = list(parse_documents(printed))
    for answer, shown in zip_longest(answers, example.documented or [{}] * len(answers), fillvalue="missing"):
        for difference in find_differences(shown, answer):
            yield f"{example.place}{difference}"
        if not example.documented and (answer.get("results") == [] or answer.get("status", 0) in range(400, 600)):
            yield f"{example.place}: {answer}"


@needs_tools
@pytest.mark.parametrize("guide", GUIDES)
def test_examples_answer_what_is_documented(stack, guide, tmp_path):
    issued = run_manage("create_api_key", "--namespace", f"reader of {guide}", **stack.environment)
    key = re.search(r"mem_\S+", issued.stdout)[0]
    examples = [example for page in GUIDES[guide] for example in read_examples(page)]
    printed = run_examples(examples, stack, key, tmp_path)
    assert len(printed) == len(examples) > 0
    assert [each for pair in zip(examples, printed, strict=True) for each in check_answers(*pair)] == []


def test_commands_have_the_options_that_are_documented():
    pages = [settings.BASE_DIR / "README.md", *(settings.BASE_DIR / "docs").rglob("*.md")]
    lines = [line for page in pages for line in COMMAND_LINE.findall(page.read_text())]
    assert len(lines) > 10
    for name, *arguments in (shlex.split(line, comments=True) for line in lines):
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        parser.parse_args(arguments)  # raises CommandError
