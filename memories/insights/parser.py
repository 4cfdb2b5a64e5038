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

from memories.insights.minhash import normalised
from memory_site.core.http.fields import is_visible

SHORTEST, LONGEST = 30, 10_000
#: Insights one text gives at most.
AT_MOST = 10
LEAD = r"(?:(?:[-+*•]|\d{1,9}[.)]|\[[^]]{1,40}\]|\w[\w ]{0,40}:)[ \t`*_]+)"
MARKER = re.compile(rf"{LEAD}?★[ \t]+Insight[ \t]*[─—-]{{5,}}")
CLOSING = re.compile(r"[─—-]{5,}")
#: What markdown puts around a line.
AROUND = " \t\r`*_#>"
QUOTED = re.compile(r"[ \t>]*")
FENCE = re.compile(r"[ \t>]*(```|~~~)")


def insights_in(text: str) -> list[str]:
    """The insights of 30 to 10,000 characters in the text, ten at most, each once. In time that grows with its length
    alone."""
    found: dict[str, str] = {}
    for block in blocks(text):
        if SHORTEST <= len(block) <= LONGEST and is_visible(block):
            found.setdefault(normalised(block), block)
        if len(found) == AT_MOST:
            break
    return list(found.values())


def blocks(text: str) -> Iterator[str]:
    """What stands below each marker."""
    inside, prefix, fence, above = None, "", None, ""
    for line in text.split("\n"):
        bare = line.strip(AROUND)
        marks = MARKER.fullmatch(bare) is not None
        if inside is not None and (marks or CLOSING.fullmatch(bare) or (fence and fence_of(line) == fence)):
            yield "\n".join(inside).strip()
            inside = None
        if marks:
            inside, prefix, fence = [], QUOTED.match(line)[0], fence_of(above)
        elif inside is not None:
            inside.append(unquoted(line, prefix))
        above = line
    if inside is not None:
        yield "\n".join(inside).strip()


def fence_of(line: str) -> str | None:
    fence = FENCE.match(line)
    return fence and fence[1]


def unquoted(line: str, prefix: str) -> str:
    """The line without the quotation marks and the indent that stand before the marker."""
    line = line.rstrip("\r")
    return line[len(prefix) :] if line.startswith(prefix) else "" if line == prefix.rstrip() else line
