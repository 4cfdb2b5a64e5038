"""How a text is cut: small enough, at the right places, with the right lines, and nothing lost."""

import time

import pytest
from semantic_text_splitter import TextSplitter

from ingestion.split import LARGEST_PROGRAM, OVERLAP, TOKENS, VOCABULARY, chunks
from memory_site.schemas import CONTENT_LENGTH

SENTENCE = "The committee met on day {} and went through the budget, the roof repairs and the summer fair. "
PROSE = "\n".join(SENTENCE.format(number) for number in range(400))
WIDE = "\n".join(f"Zeile {number}: Grüße aus Zürich, 日本語のテキスト, ☕ 👩‍👩‍👧‍👦 und ﬁn." for number in range(300))
BODY = "".join(f"    total = total * {number} + offset  # step {number}\n" for number in range(30))
PROGRAM = '"""Sums."""\n\n\n' + "".join(f"def sum_{n}(total, offset):\n{BODY}    return total\n\n\n" for n in range(20))
MARKDOWN = "".join(f"# Chapter {number}\n\n{SENTENCE.format(number) * 25}\n\n" for number in range(10))
TEXTS = {
    "prose": (PROSE, "txt"),
    "wide": (WIDE, "md"),
    "Windows": (PROSE.replace("\n", "\r\n"), "md"),
    "program": (PROGRAM, "py"),
    "Windows program": (PROGRAM.replace("\n", "\r\n"), "py"),
    "broken program": (PROGRAM.replace("(", "", 5) + "\n)))", "py"),
    "Markdown": (MARKDOWN, "md"),
    "long gap": (f"above\n{' ' * 3000}\n\n{PROSE}" + "\n" * 5000 + "below", "md"),
    "long line": (f"above\n{'x,' * 8000}\nbelow\n", "yaml"),
    "short": ("tea", ""),
}
ANY = pytest.mark.parametrize(("text", "kind"), TEXTS.values(), ids=TEXTS)


def tokens(text: str) -> int:
    """Counted by the vocabulary itself: the smallest size that keeps the text in one piece."""
    low, high = 1, 4 * len(text) + 1
    while low < high:
        middle = (low + high) // 2
        pieces = TextSplitter.from_tiktoken_model(VOCABULARY, middle, trim=False).chunks(text)
        low, high = (low, middle) if len(pieces) == 1 else (middle + 1, high)
    return low


def lines(text: str, first: int, last: int) -> str:
    return "\n".join(text.split("\n")[first - 1 : last])


@ANY
def test_no_chunk_is_larger_than_1024_tokens(text, kind):
    parts = chunks(text, kind)
    one = TextSplitter.from_tiktoken_model(VOCABULARY, TOKENS, trim=False)
    assert parts
    assert all(len(one.chunks(part.content)) == 1 for part in parts)
    assert all(len(part.content) <= CONTENT_LENGTH for part in parts)


@ANY
def test_its_lines_contain_a_chunk(text, kind):
    for part in chunks(text, kind):
        assert 1 <= part.start_line <= part.end_line <= text.count("\n") + 1
        assert part.content.rstrip() in lines(text, part.start_line, part.end_line)
        assert part.content.strip().split("\n")[0].strip() in lines(text, part.start_line, part.start_line)
        assert part.content.strip().split("\n")[-1].strip() in lines(text, part.end_line, part.end_line)


@ANY
def test_nothing_is_lost(text, kind):
    parts = chunks(text, kind)
    places = {number for part in parts for number in range(part.start_line, part.end_line + 1)}
    assert {number for number, line in enumerate(text.split("\n"), 1) if line.strip()} <= places
    for line in filter(str.strip, text.split("\n")):
        assert len(line) > 5000 or any(line.strip() in part.content for part in parts)


@ANY
def test_chunks_are_numbered_in_their_order(text, kind):
    parts = chunks(text, kind)
    assert [part.position for part in parts] == list(range(len(parts)))
    assert [part.start_line for part in parts] == sorted(part.start_line for part in parts)


def test_chunks_are_as_large_as_they_may_be():
    assert max(tokens(part.content) for part in chunks(PROSE)[:3]) > TOKENS * 0.9


def test_chunks_of_continuous_text_overlap_by_20_tokens_at_most():
    words = " ".join(f"word{number}" for number in range(900))
    first, second = chunks(words)[:2]
    shared = max(size for size in range(200) if first.content.endswith(second.content[:size]))
    assert shared > 0
    assert OVERLAP / 2 < tokens(second.content[:shared]) <= OVERLAP


def test_a_function_that_fits_is_not_cut():
    parts = chunks(PROGRAM, "py")
    assert len(parts) > 5
    for number in range(20):
        whole = f"def sum_{number}(total, offset):\n{BODY}    return total"
        assert any(whole in part.content for part in parts)


def test_a_chapter_that_fits_is_not_cut():
    parts = chunks(MARKDOWN, "md")
    for number in range(10):
        whole = f"# Chapter {number}\n\n{SENTENCE.format(number) * 25}".strip()
        assert any(whole in part.content for part in parts)


def test_one_endless_line_is_cut_and_its_slices_share_some_characters():
    line = "".join(f"{number:07d}" for number in range(20_000))
    parts = chunks(line, "txt")
    assert {(part.start_line, part.end_line) for part in parts} == {(1, 1)}
    places = [(line.index(part.content), len(part.content)) for part in parts]
    assert all(start <= before + size for (before, size), (start, _) in zip(places, places[1:], strict=False))
    assert places[0][0] == 0
    assert sum(places[-1]) == len(line)


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "\r\n \t\r\n", "\u200b\n\u3164", " " * 3000])
def test_only_blank_lines_are_no_chunk(text):
    assert [chunks(text, kind) for kind in ("", "md", "py")] == [[], [], []]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["txt", "md", "py"])
@pytest.mark.parametrize(
    "text",
    ["a" * 2**20, "x" + " " * 2**20 + "y", "x" + "\n" * 2**20 + "y", "x" + " \n" * 2**19 + "y", "-" * 2**20],
    ids=["letters", "spaces", "line ends", "blank lines", "dashes"],
)
def test_monstrous_text_takes_seconds(text, kind):
    started = time.monotonic()
    parts = chunks(text, kind)
    assert time.monotonic() - started < 10
    assert parts[0].content[0] == text[0]
    assert parts[-1].content[-1] == text[-1]


@pytest.mark.timeout(60)
def test_a_program_that_a_program_wrote_takes_seconds():
    text = ("abcdefghij" * 499 + "\n") * (LARGEST_PROGRAM // 4990 + 10)
    started = time.monotonic()
    assert chunks(text, "py")
    assert time.monotonic() - started < 10
