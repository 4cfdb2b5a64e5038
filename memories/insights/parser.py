"""Find the insights that are marked in a text: from a marker line to a line of dashes. Pure functions.

    ★ Insight ─────────────────────────────
    What was learned.
    ───────────────────────────────────────

Both lines may be in back-ticks, bold, indented or quoted, and the marker may follow a bullet, a number, or a name with
a colon or in brackets. The closing line may be missing: then the insight ends at the next marker, at the end of the
code fence that opens just above its marker, or at the end of the text. Dashes are ─ (U+2500), — (U+2014) or -, at
least five.
"""

import re
from collections.abc import Iterator

from memories.insights.minhash import normalise_text
from memory_site.core.http.fields import is_visible

#: Part of every marker line: a text without it has no insights.
MARKER = "★ Insight"
MIN_INSIGHT_LENGTH, MAX_INSIGHT_LENGTH = 30, 10_000
MAX_INSIGHTS_PER_TEXT = 10
LEAD_PATTERN = r"(?:(?:[-+*•]|\d{1,9}[.)]|\[[^]]{1,40}\]|\w[\w ]{0,40}:)[ \t`*_]+)"
MARKER_LINE_PATTERN = re.compile(rf"{LEAD_PATTERN}?★[ \t]+Insight[ \t]*[─—-]{{5,}}")
CLOSING_LINE_PATTERN = re.compile(r"[─—-]{5,}")
#: Characters that Markdown puts around a line.
MARKDOWN_DECORATION = " \t\r`*_#>"
CODE_FENCE_PATTERN = re.compile(r"[ \t>]*(```|~~~)")


def parse_insights(text: str) -> list[str]:
    """Return the insights of MIN_INSIGHT_LENGTH to MAX_INSIGHT_LENGTH characters, each once, at most
    MAX_INSIGHTS_PER_TEXT. Takes time linear in the length of the text."""
    found: dict[str, str] = {}
    for block in iterate_blocks(text):
        if MIN_INSIGHT_LENGTH <= len(block) <= MAX_INSIGHT_LENGTH and is_visible(block):
            found.setdefault(normalise_text(block), block)
        if len(found) == MAX_INSIGHTS_PER_TEXT:
            break
    return list(found.values())


def iterate_blocks(text: str) -> Iterator[str]:
    """Yield the text below each marker, stripped."""
    block: list[str] | None = None
    prefix, fence, previous = "", None, ""
    for line in text.split("\n"):
        bare = line.strip(MARKDOWN_DECORATION)
        is_marker = MARKER_LINE_PATTERN.fullmatch(bare) is not None
        is_end = is_marker or CLOSING_LINE_PATTERN.fullmatch(bare) or (fence and get_code_fence(line) == fence)
        if block is not None and is_end:
            yield "\n".join(block).strip()
            block = None
        if is_marker:
            block, prefix, fence = [], get_quote_prefix(line), get_code_fence(previous)
        elif block is not None:
            block.append(strip_quote_prefix(line, prefix))
        previous = line
    if block is not None:
        yield "\n".join(block).strip()


def get_code_fence(line: str) -> str | None:
    match = CODE_FENCE_PATTERN.match(line)
    return match[1] if match else None


def get_quote_prefix(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t>"))]


def strip_quote_prefix(line: str, prefix: str) -> str:
    """Return the line without the indent and quotation marks that the marker line has. A line that is only the marks,
    without the space behind them, becomes empty."""
    line = line.rstrip("\r")
    return line[len(prefix) :] if line.startswith(prefix) else "" if line == prefix.rstrip() else line
