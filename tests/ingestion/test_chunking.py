"""Splitting into chunks: their sizes, boundaries and lines, and that they cover the text."""

import subprocess
import sys
import time
from itertools import pairwise

import pytest
from semantic_text_splitter import TextSplitter

from ingestion.chunking import CHUNK_OVERLAP_TOKENS, MAX_CHUNK_TOKENS, MAX_PROGRAM_LENGTH, split_into_chunks
from ingestion.splitters.semantic import TIKTOKEN_MODEL
from memory_site.core.http.fields import MAX_CONTENT_LENGTH
from memory_site.settings import SPLITTERS
from tests.stack.stack import MANAGE, build_environment, run_manage

SENTENCE = "The committee met on day {} and went through the budget, the roof repairs and the summer fair. "
PROSE = "\n".join(SENTENCE.format(number) for number in range(400))
WIDE = "\n".join(f"Zeile {number}: Grüße aus Zürich, 日本語のテキスト, ☕ 👩‍👩‍👧‍👦 und ﬁn." for number in range(300))
BODY = "".join(f"    total = total * {number} + offset  # step {number}\n" for number in range(30))
PROGRAM = '"""Sums."""\n\n\n' + "".join(f"def sum_{n}(total, offset):\n{BODY}    return total\n\n\n" for n in range(20))
CHAPTERS = [f"# Chapter {n}\n\n" + "".join(SENTENCE.format(f"{n}.{m}") for m in range(25)) for n in range(10)]
MARKDOWN = "\n\n".join(CHAPTERS)
TEXTS = {
    "prose": (PROSE, "txt"),
    "wide": (WIDE, "md"),
    "Windows": (PROSE.replace("\n", "\r\n"), "md"),
    "program": (PROGRAM, "py"),
    "Windows program": (PROGRAM.replace("\n", "\r\n"), "py"),
    "broken program": (PROGRAM.replace("(", "", 5) + "\n)))", "py"),
    "Markdown": (MARKDOWN, "md"),
    "long gap": (f"above\n{' ' * 3000}\n\n{PROSE}" + "\n" * 5000 + "below", "md"),
    "long line": (f"above\n{','.join(map(str, range(4000)))}\nbelow\n", "yaml"),
    "short": ("tea", ""),
}
EVERY_TEXT = pytest.mark.parametrize(("text", "kind"), TEXTS.values(), ids=TEXTS)


def require_llamaindex():
    return pytest.importorskip("llama_index.core", reason="needs the extra llamaindex")


@pytest.fixture(params=SPLITTERS)
def splitter(request, settings):
    """Each of them in turn."""
    if request.param == "llamaindex":
        require_llamaindex()
    settings.SPLITTER = SPLITTERS[request.param]


#: Characters that two chunks share at most.
MAX_OVERLAP_LENGTH = 200


def count_tokens(text: str) -> int:
    """Counted by the vocabulary itself: the smallest size that keeps the text in one piece."""
    low, high = 1, 4 * len(text) + 1
    while low < high:
        middle = (low + high) // 2
        pieces = TextSplitter.from_tiktoken_model(TIKTOKEN_MODEL, middle, trim=False).chunks(text)
        low, high = (low, middle) if len(pieces) == 1 else (middle + 1, high)
    return low


def slice_lines(text: str, first: int, last: int) -> str:
    return "\n".join(text.split("\n")[first - 1 : last])


@EVERY_TEXT
def test_no_chunk_is_larger_than_1024_tokens(splitter, text, kind):
    parts = split_into_chunks(text, kind)
    one = TextSplitter.from_tiktoken_model(TIKTOKEN_MODEL, MAX_CHUNK_TOKENS, trim=False)
    assert parts
    assert all(len(one.chunks(part.content)) == 1 for part in parts)
    assert all(len(part.content) <= MAX_CONTENT_LENGTH for part in parts)


@EVERY_TEXT
def test_the_lines_of_a_chunk_contain_it(splitter, text, kind):
    for part in split_into_chunks(text, kind):
        assert 1 <= part.start_line <= part.end_line <= text.count("\n") + 1
        assert part.text.rstrip() in slice_lines(text, part.start_line, part.end_line)
        assert part.text.strip().split("\n")[0].strip() in slice_lines(text, part.start_line, part.start_line)
        assert part.text.strip().split("\n")[-1].strip() in slice_lines(text, part.end_line, part.end_line)


@EVERY_TEXT
def test_chunks_cover_the_whole_text(splitter, text, kind):
    parts = split_into_chunks(text, kind)
    places = {number for part in parts for number in range(part.start_line, part.end_line + 1)}
    assert {number for number, line in enumerate(text.split("\n"), 1) if line.strip()} <= places
    done = 0
    for content in (part.text.strip() for part in parts):
        place = text.index(content, max(done - MAX_OVERLAP_LENGTH, 0))
        assert not text[done:place].strip()
        done = place + len(content)
    assert not text[done:].strip()


@EVERY_TEXT
def test_chunks_are_numbered_in_their_order(splitter, text, kind):
    parts = split_into_chunks(text, kind)
    assert [part.position for part in parts] == list(range(len(parts)))
    assert [part.start_line for part in parts] == sorted(part.start_line for part in parts)


def test_chunks_use_the_allowed_size(splitter):
    assert max(count_tokens(part.content) for part in split_into_chunks(PROSE)[:3]) > MAX_CHUNK_TOKENS * 0.9


def test_chunks_of_continuous_text_overlap_by_20_tokens_at_most(splitter):
    words = " ".join(f"word{number}" for number in range(900))
    first, second = split_into_chunks(words)[:2]
    shared = max(size for size in range(200) if first.content.endswith(second.content[:size]))
    assert shared > 0
    assert CHUNK_OVERLAP_TOKENS / 2 < count_tokens(second.content[:shared]) <= CHUNK_OVERLAP_TOKENS


def test_a_function_that_fits_is_not_split():
    parts = split_into_chunks(PROGRAM, "py")
    assert len(parts) > 5
    for number in range(20):
        whole = f"def sum_{number}(total, offset):\n{BODY}    return total"
        assert any(whole in part.content for part in parts)


def test_a_chapter_that_fits_is_not_split():
    parts = split_into_chunks(MARKDOWN, "md")
    for whole in CHAPTERS:
        assert any(whole.strip() in part.content for part in parts)


def test_an_oversized_line_is_split_into_overlapping_slices(splitter):
    line = "".join(f"{number:07d}" for number in range(20_000))
    parts = split_into_chunks(line, "txt")
    assert {(part.start_line, part.end_line) for part in parts} == {(1, 1)}
    places = [(line.index(part.text), len(part.text)) for part in parts]
    assert all(start <= before + size for (before, size), (start, _) in pairwise(places))
    assert places[0][0] == 0
    assert sum(places[-1]) == len(line)


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "\r\n \t\r\n", "\u200b\n\u3164", " " * 3000])
def test_blank_lines_alone_give_no_chunk(splitter, text):
    assert [split_into_chunks(text, kind) for kind in ("", "md", "py")] == [[], [], []]


@pytest.mark.parametrize("kind", ["txt", "md", "py"])
@pytest.mark.parametrize(
    "text",
    ["a" * 2**20, "x" + " " * 2**20 + "y", "x" + "\n" * 2**20 + "y", "x" + " \n" * 2**19 + "y", "-" * 2**20],
    ids=["letters", "spaces", "line ends", "blank lines", "dashes"],
)
def test_oversized_texts_are_split_within_seconds(splitter, text, kind):
    started = time.process_time()
    parts = split_into_chunks(text, kind)
    assert time.process_time() - started < 10
    assert parts[0].content[0] == text[0]
    assert parts[-1].content[-1] == text[-1]


def test_a_generated_program_is_split_within_seconds(splitter):
    text = ("abcdefghij" * 499 + "\n") * (MAX_PROGRAM_LENGTH // 4990 + 10)
    started = time.process_time()
    assert split_into_chunks(text, "py")
    assert time.process_time() - started < 10


# LlamaIndex's SentenceSplitter


def test_the_llamaindex_splitter_splits_like_llamaindex(settings):
    settings.SPLITTER = SPLITTERS["llamaindex"]
    theirs = require_llamaindex().node_parser.SentenceSplitter(
        chunk_size=MAX_CHUNK_TOKENS, chunk_overlap=CHUNK_OVERLAP_TOKENS
    )
    for text, kind in (TEXTS[name] for name in ("prose", "wide", "program", "Markdown", "short")):
        assert [part.content for part in split_into_chunks(text, kind)] == theirs.split_text(text)


def test_the_llamaindex_splitter_keeps_white_space_between_paragraphs(settings):
    require_llamaindex()
    settings.SPLITTER = SPLITTERS["llamaindex"]
    # Of more tokens than a chunk has: their sentences are cut apart, and join the sentences around them.
    paragraphs = ["\n".join(SENTENCE.format(f"{n}.{m}") for m in range(60)) for n in range(4)]
    text = "\n\n\n  ".join(paragraphs)
    parts = split_into_chunks(text)
    assert any("\n\n\n  " in part.content for part in parts)
    assert all(part.content in text for part in parts)


def test_a_repeated_piece_of_llamaindex_has_its_first_position(settings):
    require_llamaindex()
    settings.SPLITTER = SPLITTERS["llamaindex"]
    parts = split_into_chunks("tea\n" * 5000 + "coffee")
    assert len(parts) > 3
    assert len({part.content for part in parts}) == 2
    assert [part.start_line for part in parts[:-1]] == [1] * (len(parts) - 1)
    assert parts[-1].end_line == 5001


OFFLINE_SCRIPT = """
import socket
def refused(*_, **__):
    raise SystemExit("the network was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
import django
django.setup()
from ingestion.chunking import split_into_chunks
print(len(split_into_chunks("The harbour opens at nine.\\n" * 400)))
"""


def test_the_llamaindex_splitter_downloads_nothing(tmp_path):
    require_llamaindex()
    empty = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "NLTK_DATA", "DATA_DIR")}
    env = build_environment(**empty, SPLITTER="llamaindex", DJANGO_SETTINGS_MODULE="memory_site.settings")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE_SCRIPT], env=env, cwd=MANAGE.parent, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sentences", "SPLITTER: must be one of semantic, llamaindex"),
        ("llamaindex", "SPLITTER: llamaindex needs the package llama-index-core, which is not installed"),
    ],
)
def test_an_unavailable_splitter_stops_startup(tmp_path, value, message):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['llama_index'] = None")
    done = run_manage("check", SPLITTER=value, DATA_DIR=str(tmp_path), PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
