"""The outline of a text: its classes and functions, or its Markdown headings, and the parts of the text they govern.

It is read from the lines alone, so that a program with errors has one too, in a time that grows with the text's length.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Strings and comments; what is not closed ends with its line, or with the text.
PYTHON_TEXTS = re.compile(
    r"""("{3}|'{3})(?:\\.|[^\\])*?(?:\1|\Z)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|\#[^\n]*""", re.DOTALL
)
PYTHON_LINE = re.compile(r"^([ \t]*)(?=\S)((?:class|def|async[ \t]+def)\b)?", re.MULTILINE)
FENCES = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
HEADING = re.compile(
    r"^ {0,3}(?P<marks>#{1,6})[ \t]+(?P<text>\S[^\n]*)$"
    r"|(?:(?<=\n\n)|\A)(?P<underlined>[^\s#>|*+-][^\n]*)\n {0,3}(?P<line>=+|-+)[ \t]*$",
    re.MULTILINE,
)
# What a signature consists of, and the next definition, which ends one that is not closed.
SIGNATURE_MARK = re.compile(r"[()\[\]{}:]|^[ \t]*(?:class|def|async)\b", re.MULTILINE)
DEPTH_CHANGES = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1, ":": 0}
NO_TEXT = re.compile(r"[^\n]")
#: Characters: of a header that is repeated, and of the longest ones that are recognised.
MAX_HEADER_LENGTH = 160
MAX_SIGNATURE_LENGTH = 5_000


@dataclass
class Section:
    """A class, a function, or what follows a heading: text[start:end]. The header is text[start:body]."""

    start: int
    body: int
    end: int
    level: int
    header: str


def find_sections(text: str, kind: str) -> list[Section]:
    """Return the sections in their order; one that lies in another comes after it."""
    if kind == "py":
        return list(iter_definitions(text))
    return list(iter_headed_sections(text)) if kind == "md" else []


def iter_definitions(text: str) -> Iterator[Section]:
    code = PYTHON_TEXTS.sub(lambda match: NO_TEXT.sub(" ", match[0]), text)
    open_sections: list[Section] = []
    behind_header = 0
    for line in PYTHON_LINE.finditer(code):
        if line.start() < behind_header:  # a further line of a signature
            continue
        level = len(line[1].expandtabs())
        close_sections(open_sections, level, line.start())
        if line[2]:
            behind_header = find_header_end(code, line.end())
            start = find_decorators(code, line.start())
            header = line[1] + shorten_header(text[line.end(1) : behind_header])
            open_sections.append(Section(start, behind_header, len(text), level, header))
            yield open_sections[-1]


def close_sections(open_sections: list[Section], level: int, end: int) -> None:
    while open_sections and open_sections[-1].level >= level:
        open_sections.pop().end = end


def find_header_end(code: str, start: int) -> int:
    """Return the offset behind the colon that ends a signature, or behind the line where there is none."""
    depth = 0
    for mark in SIGNATURE_MARK.finditer(code, start, start + MAX_SIGNATURE_LENGTH):
        if mark[0] == ":" and depth == 0:
            return mark.end()
        if mark[0] not in DEPTH_CHANGES:
            break
        depth += DEPTH_CHANGES[mark[0]]
    line_end = code.find("\n", start)
    return line_end if line_end >= 0 else len(code)


def find_decorators(code: str, start: int) -> int:
    """Return where the decorators begin that stand right before `start`."""
    while start:
        above = code.rfind("\n", 0, start - 1) + 1
        if not code[above:start].lstrip().startswith("@"):
            break
        start = above
    return start


def iter_headed_sections(text: str) -> Iterator[Section]:
    prose = FENCES.sub(lambda match: NO_TEXT.sub(" ", match[0]), text)
    open_sections: list[Section] = []
    for heading in HEADING.finditer(prose):
        marks = heading["marks"] or ("#" if heading["line"].startswith("=") else "##")
        close_sections(open_sections, len(marks), heading.start())
        header = f"{marks} {shorten_header(heading['text'] or heading['underlined'])}"
        open_sections.append(Section(heading.start(), heading.end(), len(text), len(marks), header))
        yield open_sections[-1]


def shorten_header(header: str) -> str:
    line = " ".join(header.split())
    return line if len(line) <= MAX_HEADER_LENGTH else f"{line[: MAX_HEADER_LENGTH - 1]}…"
