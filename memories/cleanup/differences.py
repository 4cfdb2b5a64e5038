"""What differs between two texts, for a person to see."""

from collections.abc import Iterator
from difflib import SequenceMatcher

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MAX_COMPARED_CHARACTERS = 2_000
PART_HTML = {"same": "{}", "removed": "<del>{}</del>", "added": "<ins>{}</ins>"}


def render_difference(before: str, after: str) -> SafeString:
    """Mark what is only in the one text, and what is only in the other; of long texts, in their beginning."""
    words = [text[:MAX_COMPARED_CHARACTERS].split() for text in (before, after)]
    parts = (format_html(PART_HTML[kind], " ".join(part)) for kind, part in iter_parts(*words))
    cut = "…" if max(len(before), len(after)) > MAX_COMPARED_CHARACTERS else ""
    return format_html(
        '<span class="cleanup-difference">{}{}</span>', format_html_join(" ", "{}", ((p,) for p in parts)), cut
    )


def iter_parts(before: list[str], after: list[str]) -> Iterator[tuple[str, list[str]]]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            yield "same", after[j1:j2]
            continue
        if i2 > i1:
            yield "removed", before[i1:i2]
        if j2 > j1:
            yield "added", after[j1:j2]
