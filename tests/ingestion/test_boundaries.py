"""Where chunks begin and end: headers stay with what they head, and stand in front of the later pieces of it."""

import re
from itertools import pairwise

import pytest

from ingestion.chunking import MAX_CHUNK_TOKENS, Chunk, split_into_chunks
from ingestion.splitters.boundaries import MIN_PIECE_LENGTH, drop_contained
from ingestion.splitters.outline import find_sections
from tests.ingestion.long_texts import CLASSES, SECTIONS, build_class, build_handbook, build_program, build_section
from tests.ingestion.test_chunking import PROSE, SENTENCE, count_tokens
from tests.timing import measure_best

BODY = "".join(f"        total = total * {number} + offset  # step {number}\n" for number in range(120))
CALLS = "".join(f"    record_step({number}, total, offset)\n" for number in range(250))
PARAGRAPH = "".join(SENTENCE.format(number) for number in range(50))


def find_chunk(chunks: list[Chunk], text: str) -> Chunk:
    [found] = [chunk for chunk in chunks if text in chunk.text]
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_every_piece_of_a_class_has_its_first_line(name):
    chunks = split_into_chunks(build_program(), "py")
    text, line = build_class(name), f"class {name}(Service):"
    pieces = [chunk for chunk in chunks if any(part in text for part in chunk.text.split("\n\n    def ")[1:])]
    assert len(pieces) >= 2
    assert all(line in chunk.content for chunk in pieces)
    assert all(chunk.content.count(line) == 1 for chunk in pieces)


@pytest.mark.parametrize("name", SECTIONS)
def test_every_piece_of_a_section_has_its_headings(name):
    chunks = split_into_chunks(build_handbook(), "md")
    pieces = [chunk for chunk in chunks if any(fact in chunk.text for fact in SECTIONS[name].values())]
    assert len(pieces) >= 2
    assert all(f"## {name}" in chunk.content and "# Handbook of the harbour" in chunk.content for chunk in pieces)


def test_lines_are_those_of_the_piece_without_its_headers():
    text = build_program()
    lines = text.split("\n")
    for chunk in split_into_chunks(text, "py"):
        assert chunk.text == "\n".join(lines[chunk.start_line - 1 : chunk.end_line])
        assert chunk.content == chunk.headers + chunk.text


@pytest.mark.parametrize(
    ("kind", "header", "text"),
    [
        (
            "py",
            "class A:",
            f"class A:\n    def f(self, total, offset):\n{BODY}\n    def g(self, total, offset):\n{BODY}",
        ),
        ("py", "def f(", f"def before():\n    pass\n\n\ndef f(total, offset):\n{BODY.replace('        ', '    ')}"),
        ("py", "@cached", f"@cached\n@wrapped\ndef f(\n    total,\n    offset,\n):\n{CALLS}"),
        ("py", "async def f(", f"x = 1\nasync def f(total: dict[str, int] = {{'a': 1}}) -> None:\n    # why\n{CALLS}"),
        ("md", "## Returns", f"# Manual\n\nAbout.\n\n## Returns\n\n{PARAGRAPH}"),
        ("md", "### Deep", f"# Manual\n\n## Returns\n\n### Deep\n\n{PARAGRAPH}"),
        ("md", "Returns\n---", f"Manual\n======\n\nAbout.\n\nReturns\n-------\n\n{PARAGRAPH}"),
    ],
    ids=["class", "function", "decorated", "async", "heading", "headings in a row", "underlined"],
)
def test_a_header_is_never_a_chunk_of_its_own(kind, header, text):
    chunks = split_into_chunks(text, kind)
    assert len(chunks) > 1
    first = find_chunk(chunks, header)
    behind = text[text.index(first.text) :].index(header) + len(header)
    assert len(first.text[behind:]) > 500


def test_a_piece_of_a_long_method_has_class_and_signature():
    text = f"class Till:\n    def add(\n        self,\n        total,\n        offset,\n    ):\n{BODY}{BODY}"
    chunks = split_into_chunks(text, "py")
    assert len(chunks) > 2
    assert {chunk.headers for chunk in chunks[1:]} == {"class Till:\n    def add( self, total, offset, ):\n"}


LONG_LINE = "".join(SENTENCE.format(number) for number in range(80)).strip()


@pytest.mark.parametrize("size", [4_900, 5_000, 5_051, 20_000])
@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_a_heading_stays_with_an_oversized_line(size, gap):
    line = (LONG_LINE * 3)[:size]
    text = f"# Handbook\n\n## Refunds\n\n{PARAGRAPH[:900]}\n\n## Returns{gap}{line}\n\n## Repairs\n\n{PARAGRAPH[:900]}"
    chunks = split_into_chunks(text, "md")
    place = text[: text.index(line)].count("\n") + 1
    pieces = [chunk for chunk in chunks if chunk.end_line == place]
    assert find_chunk(chunks, "## Returns") == pieces[0]
    assert all("# Handbook" in chunk.content and "## Returns" in chunk.content for chunk in pieces)
    assert all(chunk.start_line == place for chunk in pieces[1:])
    assert all("## Returns" not in chunk.headers for chunk in chunks if chunk.start_line > place)


def test_slices_of_an_oversized_line_end_with_a_sentence_or_a_word():
    prose = split_into_chunks(LONG_LINE, "txt")
    assert len(prose) > 1
    assert all(chunk.text.endswith("fair.") for chunk in prose)
    numbers = " ".join(f"{number:06}" for number in range(3_000))
    assert all(re.search(r" \d{6}$", chunk.text) for chunk in split_into_chunks(numbers, "txt"))


@pytest.mark.parametrize("size", [4_900, 6_000, 20_000])
def test_a_method_behind_an_oversized_line_has_its_class(size):
    text = f"""import os


class Foo:
    def bar(self):
        return "{"ab cd " * (size // 6)}"

    def baz(self, total, offset):
{BODY}"""
    chunks = split_into_chunks(text, "py")
    assert all("class Foo:" in chunk.content for chunk in chunks)
    assert all("def bar(self):" in chunk.content for chunk in chunks if "ab cd" in chunk.text)
    assert all("def baz(" in chunk.content for chunk in chunks if "total * 9 " in chunk.text)


def test_what_comes_after_a_class_has_not_its_header():
    text = f"class A:\n    def f(self, total, offset):\n{BODY}{BODY}\n\ndef g(total, offset):\n{CALLS}"
    assert all("class A" not in chunk.headers for chunk in split_into_chunks(text, "py") if "record_step" in chunk.text)


def test_texts_and_comments_are_no_headers():
    program = f'TEXT = """\nclass Wrong:\n    def wrong(self):\n"""\n# class Wrong:\n{CALLS.replace("    ", "")}' * 2
    assert find_sections(program, "py") == []
    page = f"# Right\n\n```sh\n# Wrong\n```\n\n{PARAGRAPH}\n\n~~~\n## Wrong\n~~~\n\n{PARAGRAPH}"
    assert [section.header for section in find_sections(page, "md")] == ["# Right"]
    assert find_sections("---\ntitle: Wrong\n---\n\na | b\n--- | ---\n\n- item\n---\n", "md") == []
    assert find_sections("# Right\n", "txt") == []


def test_a_program_with_errors_has_headers_too():
    text = build_program().replace("self.connection()", "self.connection(").replace("done.append", "done append")
    chunks = split_into_chunks(text, "py")
    assert any(chunk.headers.startswith("class TugDispatcher(Service):\n") for chunk in chunks)


@pytest.mark.parametrize("heading", ["客户王小明喜欢喝乌龙茶" * 30, "word " * 100, "☕" * 200])
def test_long_headings_are_cut_and_left_out_where_they_do_not_fit(heading):
    text = f"# {heading}\n\n## {heading}\n\n### Short\n\n{PARAGRAPH}\n\n{PARAGRAPH}"
    chunks = split_into_chunks(text, "md")
    assert all(count_tokens(chunk.content) <= MAX_CHUNK_TOKENS for chunk in chunks)
    assert all("### Short" in chunk.content for chunk in chunks if "committee" in chunk.text)


def test_a_long_signature_keeps_a_part_of_its_body():
    parameters = "".join(f"    parameter_{number}: dict[str, list[int]] = None,\n" for number in range(60))
    text = f"import os\n\n\ndef f(\n{parameters}):\n{CALLS}"
    chunks = split_into_chunks(text, "py")
    assert all(count_tokens(chunk.content) <= MAX_CHUNK_TOKENS for chunk in chunks)
    assert "record_step(0" in find_chunk(chunks, "parameter_59").text
    assert all(f"record_step({number}," in "".join(chunk.text for chunk in chunks) for number in range(250))


MANUAL = "\n\n".join(PARAGRAPH.replace("committee", f"committee of number {n}") for n in range(12))
OVERLAPPING = {
    "paragraphs": (MANUAL, "md"),
    "handbook": (build_handbook(), "md"),
    "one paragraph": (MANUAL.replace("\n", " "), "md"),
    "prose": (PROSE, "txt"),
    "long words": (" ".join(f"{n:05}" + "long" * 8 for n in range(900)), "txt"),
    "long line": ("above\n" + " ".join(f"word{n}" for n in range(9000)) + "\nbelow", "txt"),
    "barely long line": ("above\n" + "".join(f"{n:04} " for n in range(1606)) + "\nbelow", "txt"),
    "program": (build_program(), "py"),
}
EVERY_OVERLAPPING = pytest.mark.parametrize(("text", "kind"), OVERLAPPING.values(), ids=OVERLAPPING)


@EVERY_OVERLAPPING
def test_no_chunk_lies_inside_the_one_before(text, kind):
    chunks = split_into_chunks(text, kind)
    assert len(chunks) > 1
    assert not [second for first, second in pairwise(chunks) if first.text.endswith(second.text)]


def test_a_piece_inside_another_is_dropped_and_an_overlap_begins_with_a_word():
    text = "The harbour office opens at nine o'clock."
    spans = [(0, 30), (12, 30), (22, 41)]
    assert [text[start:end] for start, end in drop_contained(text, spans)] == [text[:30], "at nine o'clock."]
    assert list(drop_contained("x" * 40, [(0, 30), (20, 40)])) == [(0, 30), (20, 40)]


@pytest.mark.parametrize("kind", ["txt", "md", "py"])
@pytest.mark.parametrize("lines", range(70, 100, 2))
def test_a_few_characters_are_no_chunk_of_their_own(kind, lines):
    block = "".join(f"record_step({number}, total, offset)\n" for number in range(lines))
    text = "\n\n\n".join(["x = 1", block * 2, "}", block, "Bye."])
    chunks = split_into_chunks(text, kind)
    assert len(chunks) > 1
    assert min(len(chunk.text.strip()) for chunk in chunks) >= MIN_PIECE_LENGTH
    assert chunks[-1].text.endswith("Bye.")
    assert all(count_tokens(chunk.content) <= MAX_CHUNK_TOKENS for chunk in chunks)


def test_a_whole_text_of_a_few_characters_is_a_chunk():
    assert [chunk.content for chunk in split_into_chunks("Bye.", "md")] == ["Bye."]


@EVERY_OVERLAPPING
def test_chunks_begin_with_whole_words(text, kind):
    for chunk in split_into_chunks(text, kind):
        word = re.match(r"\W*(\w*)", chunk.text)[1]
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text), chunk.text[:40]


@pytest.mark.parametrize("kind", ["py", "md"])
@pytest.mark.parametrize(
    "line",
    [
        '"""\\',
        "'''",
        "class A:\n",
        "def f(\n",
        "(\n",
        "# a\n",
        "@a\n",
        "```\n",
        "a\n--\n\n",
        " \n",
        " class A:\n",
        "def f(a\n(",
    ],
)
def test_the_outline_takes_time_in_proportion_to_the_text(line, kind):
    text = line * (2**18 // len(line))
    assert measure_best(lambda: find_sections(text, kind), 3, runs=10) < 3


def test_each_class_and_section_is_longer_than_a_chunk():
    texts = [build_class(name) for name in CLASSES] + [build_section(name) for name in SECTIONS]
    assert all(count_tokens(text) > 1.5 * MAX_CHUNK_TOKENS for text in texts)
