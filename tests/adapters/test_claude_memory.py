"""Our memory tool answers and refuses as the SDK's own tool for files does, synchronous and asynchronous."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import product
from threading import Thread
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from anthropic import Anthropic
from anthropic.lib.tools import ToolError
from anthropic.lib.tools._beta_builtin_memory_tool import (
    BetaAsyncLocalFilesystemMemoryTool,
    BetaLocalFilesystemMemoryTool,
)

from memory_client import MemoryClient
from memory_client.claude_memory import MemorySiteAsyncMemoryTool, MemorySiteMemoryTool, insert_lines
from memory_client.errors import NotAuthenticated

Call = Callable[..., str]
MISSING = "/memories/missing.txt"


def call_with(tool: Any) -> Call:
    """Return a function that calls a tool as the runner of the SDK does: with the model's input."""

    def call(command: str, **fields: Any) -> str:
        result = tool.call({"command": command, **fields})
        return asyncio.run(result) if asyncio.iscoroutine(result) else result

    return call


@pytest.fixture
def ours(client) -> Call:
    return call_with(MemorySiteMemoryTool(client, user_id=f"user {uuid4()}"))


@pytest.fixture(params=["theirs", "theirs async", "ours", "ours async"])
def tool(request, client, tmp_path) -> Any:
    user = f"user {uuid4()}"
    match request.param:
        case "theirs":
            return BetaLocalFilesystemMemoryTool(str(tmp_path))
        case "theirs async":
            return BetaAsyncLocalFilesystemMemoryTool(str(tmp_path))
        case "ours":
            return MemorySiteMemoryTool(client, user_id=user)
        case _:
            return MemorySiteAsyncMemoryTool(client, user_id=user)


@pytest.fixture
def call(tool) -> Call:
    return call_with(tool)


@pytest.fixture(params=["theirs", "ours"])
def call_one(request, client, tmp_path) -> Call:
    """As `call`, for what does not depend on which of the two ways is taken."""
    if request.param == "theirs":
        return call_with(BetaLocalFilesystemMemoryTool(str(tmp_path)))
    return call_with(MemorySiteMemoryTool(client, user_id=f"user {uuid4()}"))


def create(call: Call, **files: str) -> None:
    """Create files in /memories, named with two underscores for a slash."""
    for name, text in files.items():
        call("create", path=f"/memories/{name.replace('__', '/')}", file_text=text)


def read(call: Call, path: str) -> str:
    """Return the text of a file."""
    head, *lines = call("view", path=path).split("\n")
    assert head == f"Here's the content of {path} with line numbers:"
    assert [int(line[:6]) for line in lines] == list(range(1, len(lines) + 1))
    return "\n".join(line[7:] for line in lines)


def list_paths(call: Call, path: str = "/memories") -> list[str]:
    head, own, *lines = call("view", path=path).split("\n")
    assert head == f"Here're the files and directories up to 2 levels deep in {path}, excluding hidden items:"
    assert own.split("\t")[1] == path
    return [line.split("\t")[1] for line in lines]


def refuse(call: Call, command: str, **fields: Any) -> str:
    """Return the sentence with which a command is refused."""
    with pytest.raises(ToolError) as raised:
        call(command, **fields)
    return str(raised.value.content)


def test_what_the_api_is_told(tool):
    assert tool.name == "memory"
    assert tool.to_dict() == {"type": "memory_20250818", "name": "memory"}


# Creating and viewing


def test_file_is_created_and_viewed(call):
    assert (
        call("create", path="/memories/a.txt", file_text="one\ntwo") == "File created successfully at: /memories/a.txt"
    )
    expected = "Here's the content of /memories/a.txt with line numbers:\n     1\tone\n     2\ttwo"
    assert call("view", path="/memories/a.txt") == expected


def test_directories_are_created_with_their_files(call):
    create(call, deep__nested__file="x")
    assert read(call, "/memories/deep/nested/file") == "x"
    assert list_paths(call) == ["/memories/deep/", "/memories/deep/nested/"]


TEXTS = [
    "",
    "\n",
    " \t \n",
    "x\n",
    "\n\nx\n\n",
    "a\r\nb\r\n",
    "日本語 🎉 é",
    "'; -- %s {x} \\n \"",
    "\u3164",
    "x" * 99_999,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_is_kept_as_it_is(call_one, text):
    create(call_one, file=text)
    assert read(call_one, "/memories/file") == text


@pytest.mark.parametrize(
    "name", ["a b", "ü", "日本.md", "%41", "a%2Fb", "a?b#c", "x" * 200, "a:b", "'\";", "..a", "a..b"]
)
def test_any_name_is_a_file(call_one, name):
    path = f"/memories/{name}"
    call_one("create", path=path, file_text="x")
    assert read(call_one, path) == "x"
    assert list_paths(call_one) == ([] if name.startswith(".") else [path])
    call_one("delete", path=path)
    assert refuse(call_one, "view", path=path)


def test_a_file_is_created_once(call):
    create(call, file="original", directory__file="x")
    for path in ("/memories/file", "/memories/directory"):
        assert refuse(call, "create", path=path, file_text="new") == f"File {path} already exists"
    assert read(call, "/memories/file") == "original"


RANGES = [None, [1, 2], [2, 4], [3, -1], [0, 2], [-5, 2], [4, 99], [5, 5], [9, 12], [1, -1], [4, 2], [2], []]


@pytest.mark.parametrize("view_range", RANGES, ids=str)
def test_lines_are_selected(call_one, view_range, tmp_path):
    text = "\n".join("abcde")
    create(call_one, file=text)
    theirs = call_with(BetaLocalFilesystemMemoryTool(str(tmp_path / "other")))
    create(theirs, file=text)
    given = {"path": "/memories/file", "view_range": view_range}
    assert call_one("view", **given) == theirs("view", **given)


def test_what_is_missing_is_not_viewed(call):
    expected = f"The path {MISSING} does not exist. Please provide a valid path."
    assert refuse(call, "view", path=MISSING) == expected
    assert list_paths(call) == []


def test_directories_are_listed_two_levels_deep_in_order(call):
    create(call, b="x", a__c="x", a__b__deep__er="x", a__a="x", Z="x", c__d="x")
    create(call, **{".hidden": "x", "a__.hidden": "x", ".secret__file": "x", "a-b": "x", "a.txt": "x"})
    below = ["/memories/a/a", "/memories/a/b/", "/memories/a/c"]
    others = ["/memories/a-b", "/memories/a.txt", "/memories/b", "/memories/c/", "/memories/c/d"]
    assert list_paths(call) == ["/memories/Z", "/memories/a/", *below, *others]
    assert list_paths(call, "/memories/a") == [
        "/memories/a/a",
        "/memories/a/b/",
        "/memories/a/b/deep/",
        "/memories/a/c",
    ]


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 1536, 2048, 10_000, 99_999])
def test_sizes_of_files_are_listed(call_one, size):
    create(call_one, file="x" * size)
    expected = {0: "0B", 1: "1B", 1023: "1023B", 1024: "1K", 1025: "1.0K", 1536: "1.5K", 2048: "2K"}
    expected |= {10_000: "9.8K", 99_999: "97.7K"}
    assert call_one("view", path="/memories").endswith(f"\n{expected[size]}\t/memories/file")


def test_sizes_are_bytes(call_one):
    create(call_one, file="é" * 10)
    assert call_one("view", path="/memories").endswith("\n20B\t/memories/file")


# Editing


def test_text_is_replaced_and_shown_with_the_lines_around(call):
    create(call, file="\n".join("abcdefg"))
    answer = call("str_replace", path="/memories/file", old_str="d", new_str="D1\nD2")
    head = "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n"
    assert answer == head + "     2\tb\n     3\tc\n     4\tD1\n     5\tD2\n     6\te"
    assert read(call, "/memories/file") == "a\nb\nc\nD1\nD2\ne\nf\ng"


REPLACEMENTS = [
    ("one", "one", ""),
    ("a\nb\nc", "a\nb\n", "x"),
    ("  x  ", "x", " "),
    ("a\n", "\n", ""),
    ("ab", "b", "bb"),
]


@pytest.mark.parametrize(("text", "old", "new"), REPLACEMENTS, ids=range(len(REPLACEMENTS)))
def test_answers_to_replacements_are_theirs(call_one, text, old, new, tmp_path):
    theirs = call_with(BetaLocalFilesystemMemoryTool(str(tmp_path / "other")))
    create(call_one, file=text)
    create(theirs, file=text)
    given = {"path": "/memories/file", "old_str": old, "new_str": new}
    assert call_one("str_replace", **given) == theirs("str_replace", **given)
    assert read(call_one, "/memories/file") == read(theirs, "/memories/file")


@pytest.mark.parametrize(
    ("sought", "refusal"),
    [
        ("z", "No replacement was performed, old_str `z` did not appear verbatim in /memories/file."),
        *(
            (sought, f"No replacement was performed. Multiple occurrences of old_str `{sought}` in lines: {lines}. "
             "Please ensure it is unique")
            for sought, lines in (("a", "1, 3"), ("b", "2, 2, 2"), ("a\n", "1, 3"))
        ),
    ],
)  # fmt: skip
def test_only_what_is_there_once_is_replaced(call_one, sought, refusal):
    create(call_one, file="a\nbbb\na\n")
    assert refuse(call_one, "str_replace", path="/memories/file", old_str=sought, new_str="x") == refusal
    assert read(call_one, "/memories/file") == "a\nbbb\na\n"


def test_lines_are_inserted_where_theirs_are(tmp_path):
    call = call_with(BetaLocalFilesystemMemoryTool(str(tmp_path)))
    texts = ["", "\n", "one", "one\n", "one\ntwo", "one\n\n", "a\r\nb\r\n"]
    for number, (text, line, added) in enumerate(product(texts, [-1, 0, 1, 2, 3, 10], ["new", "new\nlines\n\n", ""])):
        path = f"/memories/{number}"
        call("create", path=path, file_text=text)
        try:
            expected = insert_lines(text, line, added)
        except ToolError as error:
            assert refuse(call, "insert", path=path, insert_line=line, insert_text=added) == str(error.content)
        else:
            call("insert", path=path, insert_line=line, insert_text=added)
            assert read(call, path) == expected


def test_line_is_inserted(call):
    create(call, file="one\ntwo")
    answer = call("insert", path="/memories/file", insert_line=1, insert_text="new")
    assert answer == "The file /memories/file has been edited."
    assert read(call, "/memories/file") == "one\nnew\ntwo\n"
    refusal = refuse(call, "insert", path="/memories/file", insert_line=10, insert_text="x")
    assert refusal == "Invalid `insert_line` parameter: 10. It should be within the range [0, 3]."


EDITS: list[tuple[str, dict[str, Any]]] = [
    ("str_replace", {"old_str": "x", "new_str": "y"}),
    ("insert", {"insert_line": 0, "insert_text": "y"}),
]


@pytest.mark.parametrize(("command", "fields"), EDITS, ids=["str_replace", "insert"])
def test_only_files_are_edited(call, command, fields):
    create(call, directory__file="x")
    expected = f"The path {MISSING} does not exist. Please provide a valid path."
    assert refuse(call, command, path=MISSING, **fields) == expected
    for path in ("/memories/directory", "/memories"):
        assert refuse(call, command, path=path, **fields) == f"The path {path} is not a file."


# Deleting and renaming


def test_file_is_deleted(call):
    create(call, one="x", two="x")
    assert call("delete", path="/memories/one") == "Successfully deleted /memories/one"
    assert list_paths(call) == ["/memories/two"]
    assert refuse(call, "delete", path="/memories/one") == "The path /memories/one does not exist"


def test_directory_is_deleted_with_all_that_is_in_it(call):
    create(call, a__one="x", a__b__two="x", ab="x", **{"a-b": "x"})
    assert call("delete", path="/memories/a") == "Successfully deleted /memories/a"
    assert list_paths(call) == ["/memories/a-b", "/memories/ab"]


def test_root_is_neither_deleted_nor_renamed(call):
    create(call, one="x")
    assert refuse(call, "delete", path="/memories") == "Cannot delete the /memories directory itself"
    refusal = refuse(call, "rename", old_path="/memories", new_path="/memories/a")
    assert refusal == "Cannot rename the /memories directory itself"
    assert list_paths(call) == ["/memories/one"]


def test_file_is_renamed(call):
    create(call, one="text")
    answer = call("rename", old_path="/memories/one", new_path="/memories/deep/er/two")
    assert answer == "Successfully renamed /memories/one to /memories/deep/er/two"
    assert list_paths(call) == ["/memories/deep/", "/memories/deep/er/"]
    assert read(call, "/memories/deep/er/two") == "text"


def test_directory_is_renamed_with_all_that_is_in_it(call):
    create(call, a__one="1", a__b__a="2", ab="3")
    call("rename", old_path="/memories/a", new_path="/memories/c")
    assert list_paths(call) == ["/memories/ab", "/memories/c/", "/memories/c/b/", "/memories/c/one"]
    assert [read(call, f"/memories/c/{name}") for name in ("one", "b/a")] == ["1", "2"]


def test_rename_replaces_nothing(call):
    create(call, one="1", two="2", a__three="3")
    for destination in ("/memories/two", "/memories/a", "/memories/one", "/memories"):
        refusal = refuse(call, "rename", old_path="/memories/one", new_path=destination)
        assert refusal == f"The destination {destination} already exists"
    assert refuse(call, "rename", old_path=MISSING, new_path="/memories/x") == f"The path {MISSING} does not exist"
    assert list_paths(call) == ["/memories/a/", "/memories/a/three", "/memories/one", "/memories/two"]


def test_everything_is_cleared(tool, call):
    create(call, one="1", a__b__two="2")
    cleared = tool.clear_all_memory()
    assert (asyncio.run(cleared) if asyncio.iscoroutine(cleared) else cleared) == "All memory cleared"
    assert list_paths(call) == []


# Paths


OUTSIDE = ["/etc/passwd", "memories/a", "", "/", "/memory/a", "/MEMORIES/a"]
ESCAPING = ["/memories/../a", "/memories/a/../../b", "/memories/..", "/memories/a/../../../etc/passwd"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_path_outside_is_refused(call_one, path):
    assert refuse(call_one, "view", path=path) == f"Path must start with /memories, got: {path}"
    assert refuse(call_one, "create", path=path, file_text="x") == f"Path must start with /memories, got: {path}"


@pytest.mark.parametrize("path", ESCAPING)
def test_path_that_leads_outside_is_refused(call_one, path):
    assert refuse(call_one, "create", path=path, file_text="x") == f"Path {path} would escape /memories directory"


def test_double_slashes_and_dots_mean_nothing(call_one):
    call_one("create", path="/memories//a/./b", file_text="x")
    assert read(call_one, "/memories/a/b") == "x"


MORE_ESCAPING = [
    "/memories/%2e%2e/a",
    "/memories/%252e%252e/a",
    "/memories/..%2fa",
    "/memories\\..\\a",
    "/memories/a\\b",
]


@pytest.mark.parametrize("path", [*MORE_ESCAPING, "/memories/a/%2E%2E/b", "/memories/..%5ca", "/memories/a/../b"])
def test_ours_refuses_what_others_may_decode(ours, path):
    create(ours, one="x")
    commands: list[tuple[str, dict[str, Any]]] = [
        ("view", {"path": path}),
        ("create", {"path": path, "file_text": "x"}),
        ("delete", {"path": path}),
        ("rename", {"old_path": path, "new_path": "/memories/x"}),
        ("rename", {"old_path": "/memories/one", "new_path": path}),
        *((command, {"path": path, **fields}) for command, fields in EDITS),
    ]
    for command, fields in commands:
        refusal = refuse(ours, command, **fields)
        assert refusal in (
            f"Path {path} would escape /memories directory",
            f"Path must start with /memories, got: {path}",
        )


def test_a_name_that_only_begins_like_the_root_is_outside(ours):
    assert refuse(ours, "view", path="/memoriesabc") == "Path must start with /memories, got: /memoriesabc"


# What only ours does


def test_a_file_is_no_directory(ours):
    create(ours, file="x", other="x", a__b="x")
    expected = "The path /memories/file is not a directory."
    assert refuse(ours, "create", path="/memories/file/a/b", file_text="x") == expected
    assert refuse(ours, "rename", old_path="/memories/other", new_path="/memories/file/x") == expected
    assert refuse(ours, "rename", old_path="/memories/a", new_path="/memories/a/c") == (
        "The path /memories/a/c is not a directory."
    )


def test_too_long_a_file_is_refused_with_what_to_do(ours):
    limit = "A memory file may have at most 100,000 characters, and this one would have 100,001."
    limit += " Split it into several files."
    assert refuse(ours, "create", path="/memories/a", file_text="x" * 100_001) == limit
    create(ours, file="y" + "x" * 99_999)
    assert refuse(ours, "str_replace", path="/memories/file", old_str="y", new_str="yy") == limit
    refuse(ours, "insert", path="/memories/file", insert_line=0, insert_text="x")
    assert read(ours, "/memories/file") == "y" + "x" * 99_999


@pytest.mark.parametrize("text", ["a\0b", "a\ud800"])
def test_text_that_cannot_be_stored_is_refused(ours, text):
    expected = "A memory file may not contain NUL characters or lone surrogates."
    assert refuse(ours, "create", path="/memories/a", file_text=text) == expected


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("x" * 600, "This cannot be stored in /memories/xxx"),
        ("a\0b", "A path may not contain NUL characters or lone surrogates."),
        ("a\ud800", "A path may not contain NUL characters or lone surrogates."),
    ],
    ids=["long", "zero", "surrogate"],
)
def test_name_that_cannot_be_stored_is_refused(ours, name, refusal):
    assert refuse(ours, "create", path=f"/memories/{name}", file_text="x").startswith(refusal)


def test_users_and_roots_do_not_see_each_other(client):
    user = f"user {uuid4()}"
    tools = [
        *(MemorySiteMemoryTool(client, user_id=user), MemorySiteMemoryTool(client, user_id=f"other {user}")),
        *(MemorySiteMemoryTool(client, root=user), MemorySiteMemoryTool(client, user_id=user, root=user)),
    ]
    calls = [call_with(tool) for tool in tools]
    for number, call in enumerate(calls):
        create(call, file=str(number), a__b="x")
    assert [read(call, "/memories/file") for call in calls] == ["0", "1", "2", "3"]
    tools[2].clear_all_memory()
    assert [len(list_paths(call)) for call in calls] == [3, 3, 0, 3]


def test_without_a_user_only_files_of_no_user_are_seen_and_changed(client):
    root = f"root {uuid4().hex}"
    users, none = (call_with(MemorySiteMemoryTool(client, root=root, user_id=each)) for each in ("ada", None))
    create(users, a="of Ada", dir__b="of Ada")
    assert list_paths(none) == []
    path = "/memories/a"
    commands: dict[str, dict[str, Any]] = {
        "view": {"path": path},
        "str_replace": {"path": path, "old_str": "Ada", "new_str": "Ben"},
        "insert": {"path": path, "insert_line": 0, "insert_text": "x"},
        "delete": {"path": "/memories/dir"},
        "rename": {"old_path": path, "new_path": "/memories/c"},
    }
    for command, fields in commands.items():
        assert "does not exist" in refuse(none, command, **fields)
    create(none, a="of nobody", dir="a file")
    none("rename", old_path="/memories/dir", new_path="/memories/b")
    none("delete", path="/memories/a")
    MemorySiteMemoryTool(client, root=root).clear_all_memory()
    assert (list_paths(none), read(users, path), read(users, "/memories/dir/b")) == ([], "of Ada", "of Ada")


@pytest.mark.parametrize("root", ["", "/", "a/b", "/a"])
def test_no_root_is_inside_another(client, root):
    with pytest.raises(ValueError, match="root"):
        MemorySiteMemoryTool(client, root=root)


def test_files_are_memories_that_are_found_and_corrected(ours, client):
    word = f"kumquat{uuid4().hex[:8]}"
    create(ours, notes=f"The {word} is ripe.")
    [hit] = client.memories.search(word, mode="text").results
    assert (hit.memory.key, hit.memory.source_system) == ("claude-memory/notes", "claude-memory")
    client.memories.update(hit.memory.id, content=f"The {word} is sour.", tags=["fruit"])
    ours("str_replace", path="/memories/notes", old_str="sour", new_str="sweet")
    memory = client.memories.get(hit.memory.id)
    assert (memory.content, memory.tags) == (f"The {word} is sweet.", ["fruit"])


def test_equal_files_are_two_memories(ours):
    create(ours, one="the same", two="the same")
    ours("delete", path="/memories/one")
    assert read(ours, "/memories/two") == "the same"


def test_file_becomes_blank_and_full_again(ours):
    create(ours, file="x")
    ours("str_replace", path="/memories/file", old_str="x", new_str="")
    assert read(ours, "/memories/file") == ""
    ours("insert", path="/memories/file", insert_line=0, insert_text="y")
    assert read(ours, "/memories/file") == "y\n"


def test_agents_that_edit_a_file_at_once_lose_nothing(client):
    user = f"user {uuid4()}"
    create(call_with(MemorySiteMemoryTool(client, user_id=user)), log="begin\n", counter="n=0 end")

    def write(writer: int) -> None:
        call = call_with(MemorySiteMemoryTool(client, user_id=user))
        for number in range(5):
            call("insert", path="/memories/log", insert_line=1, insert_text=f"{writer} {number}")
            call("str_replace", path="/memories/counter", old_str=" end", new_str=f" {writer}.{number} end")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    call = call_with(MemorySiteMemoryTool(client, user_id=user))
    lines = read(call, "/memories/log").split()
    assert sorted(zip(lines[1::2], lines[2::2], strict=True)) == [(str(a), str(b)) for a in range(6) for b in range(5)]
    words = read(call, "/memories/counter").split()[1:-1]
    for writer in range(6):
        assert [word for word in words if word.startswith(f"{writer}.")] == [f"{writer}.{n}" for n in range(5)]


def test_one_of_agents_that_create_a_file_at_once_does(client):
    user = f"user {uuid4()}"

    def try_to_create(writer: int) -> str:
        try:
            return call_with(MemorySiteMemoryTool(client, user_id=user))(
                "create", path="/memories/a", file_text=f"by {writer}"
            )
        except ToolError as error:
            return str(error.content)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(try_to_create, range(6)))
    assert sorted(answers) == ["File /memories/a already exists"] * 5 + ["File created successfully at: /memories/a"]
    winner = answers.index("File created successfully at: /memories/a")
    assert read(call_with(MemorySiteMemoryTool(client, user_id=user)), "/memories/a") == f"by {winner}"


def test_server_that_is_away_is_said_to_the_model(client):
    away = MemoryClient("http://127.0.0.1:9", "mem_x", retries=0)
    refusal = refuse(call_with(MemorySiteMemoryTool(away)), "view", path="/memories")
    assert refusal == "The memory directory cannot be reached now. View /memories later to see whether it changed."


def test_wrong_key_is_an_error_of_the_program(site):
    with pytest.raises(NotAuthenticated):
        call_with(MemorySiteMemoryTool(MemoryClient(site.url, "mem_wrong_key")))("view", path="/memories")


class ScriptedModel(BaseHTTPRequestHandler):
    """An address that answers as Anthropic's API would: with the next of some commands, and at last with a text."""

    commands: ClassVar[list[dict[str, Any]]] = []
    results: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = body["messages"][-1]["content"]
        self.results.extend(last if isinstance(last, list) else [])
        message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
        message |= {"usage": {"input_tokens": 1, "output_tokens": 1}}
        if len(self.results) < len(self.commands):
            use = {"type": "tool_use", "id": f"t{len(self.results)}", "name": "memory"}
            message |= {"content": [use | {"input": self.commands[len(self.results)]}], "stop_reason": "tool_use"}
        else:
            message |= {"content": [{"type": "text", "text": "Done."}], "stop_reason": "end_turn"}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(message).encode())

    def log_message(self, *args: Any) -> None:
        pass


def test_runner_of_the_sdk_uses_it(client):
    ScriptedModel.commands = [
        {"command": "view", "path": "/memories"},
        {"command": "create", "path": "/memories/a", "file_text": "nine"},
        {"command": "create", "path": "/memories/a", "file_text": "ten"},
    ]
    with HTTPServer(("127.0.0.1", 0), ScriptedModel) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        anthropic = Anthropic(api_key="x", base_url=f"http://127.0.0.1:{server.server_port}")
        runner = anthropic.beta.messages.tool_runner(
            model="claude-sonnet-5-5",
            max_tokens=100,
            messages=[{"role": "user", "content": "Remember nine."}],
            thread=False,
            tools=[MemorySiteMemoryTool(client, user_id=f"user {uuid4()}")],
        )
        assert runner.until_done().content[0].text == "Done."
        server.shutdown()
    results = [(each.get("is_error", False), str(each["content"]).splitlines()[-1]) for each in ScriptedModel.results]
    assert [failed for failed, _ in results] == [False, False, True]
    assert results[0][1].endswith("0B\t/memories")
    assert "File created successfully at: /memories/a" in results[1][1]
    assert "File /memories/a already exists" in results[2][1]


def test_example(run_example):
    assert run_example("claude_memory_tool.py").splitlines() == [
        "Here're the files and directories up to 2 levels deep in /memories, excluding hidden items:",
        "27B\t/memories",
        "27B\t/memories/harbour/",
        "27B\t/memories/harbour/notes.md",
        "Here's the content of /memories/harbour/notes.md with line numbers:",
        "     1\tThe harbour opens at nine.",
        "     2\t",
        "Path /memories/../etc/passwd would escape /memories directory",
        "claude-memory/harbour/notes.md: The harbour opens at nine.",
    ]
