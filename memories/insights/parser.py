"""Insights as they stand in a text: below a line that marks them, down to a line of dashes. Pure functions.

    ★ Insight ─────────────────────────────
    What was learned.
    ───────────────────────────────────────

Both lines may stand in back-ticks, be bold, indented or quoted, and before the marker there may be a bullet, a number,
or a name with a colon or in brackets. The closing line may be missing: then the insight ends with the next marker, with
the fence of code that begins just above it, or with the text. Dashes are ─ (U+2500), — (U+2014) or -, five at least.
"""

import re
from collections.abc import Iterator

from memories.insights.minhash import normalise_text
from memory_site.core.http.fields import is_visible

#: What every marker line holds: a text without it has no insights.
MARKER = "★ Insight"
MIN_INSIGHT_LENGTH, MAX_INSIGHT_LENGTH = 30, 10_000
#: Insights one text gives at most.
MAX_INSIGHTS_PER_TEXT = 10
LEAD_PATTERN = r"(?:(?:[-+*•]|\d{1,9}[.)]|\[[^]]{1,40}\]|\w[\w ]{0,40}:)[ \t`*_]+)"
MARKER_LINE_PATTERN = re.compile(rf"{LEAD_PATTERN}?★[ \t]+Insight[ \t]*[─—-]{{5,}}")
CLOSING_LINE_PATTERN = re.compile(r"[─—-]{5,}")
#: What markdown puts around a line.
MARKDOWN_DECORATION = " \t\r`*_#>"
QUOTE_PREFIX_PATTERN = re.compile(r"[ \t>]*")
CODE_FENCE_PATTERN = re.compile(r"[ \t>]*(```|~~~)")


def parse_insights(text: str) -> list[str]:
    """The insights of 30 to 10,000 characters in the text, ten at most, each once. In time that grows with its length
    alone."""
    found: dict[str, str] = {}
    for block in iterate_blocks(text):
        if MIN_INSIGHT_LENGTH <= len(block) <= MAX_INSIGHT_LENGTH and is_visible(block):
            found.setdefault(normalise_text(block), block)
        if len(found) == MAX_INSIGHTS_PER_TEXT:
            break
    return list(found.values())


def iterate_blocks(text: str) -> Iterator[str]:
    """What stands below each marker."""
    inside, prefix, fence, above = None, "", None, ""
    for line in text.split("\n"):
        bare = line.strip(MARKDOWN_DECORATION)
        marks = MARKER_LINE_PATTERN.fullmatch(bare) is not None
        if inside is not None and (
            marks or CLOSING_LINE_PATTERN.fullmatch(bare) or (fence and get_code_fence(line) == fence)
        ):
            yield "\n".join(inside).strip()
            inside = None
        if marks:
            inside, prefix, fence = [], QUOTE_PREFIX_PATTERN.match(line)[0], get_code_fence(above)
        elif inside is not None:
            inside.append(strip_quote_prefix(line, prefix))
        above = line
    if inside is not None:
        yield "\n".join(inside).strip()


def get_code_fence(line: str) -> str | None:
    fence = CODE_FENCE_PATTERN.match(line)
    return fence and fence[1]


def strip_quote_prefix(line: str, prefix: str) -> str:
    """The line without the quotation marks and the indent that stand before the marker."""
    line = line.rstrip("\r")
    return line[len(prefix) :] if line.startswith(prefix) else "" if line == prefix.rstrip() else line
