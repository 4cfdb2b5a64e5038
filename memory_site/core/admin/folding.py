"""Long texts that fold."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

#: A text longer than this, in characters or in lines, is folded.
MAX_UNFOLDED_LENGTH, MAX_UNFOLDED_LINES = 1_200, 16
PREVIEW_LENGTH = 500
TEXT_HTML = '<div class="spoken-text">{}</div>'
FOLDED_HTML = (
    '<details class="spoken-folded"><summary><span class="spoken-text spoken-beginning">{} …</span>'
    '<span class="spoken-more">Show all {} characters</span><span class="spoken-less">Show less</span></summary>'
    '<div class="spoken-text">{}</div></details>'
)


def is_long(text: str) -> bool:
    return len(text) > MAX_UNFOLDED_LENGTH or text.count("\n") >= MAX_UNFOLDED_LINES


def build_preview(text: str) -> str:
    """Return the beginning of a text, whole words only: at most PREVIEW_LENGTH characters and MAX_UNFOLDED_LINES."""
    words = (text[:PREVIEW_LENGTH].rsplit(None, 1) or [""])[0]  # nothing is left of white space
    return "\n".join(words.splitlines()[:MAX_UNFOLDED_LINES])


def render_text(text: str) -> SafeString:
    """Render a text with its line breaks, folded if it is long."""
    if not is_long(text):
        return format_html(TEXT_HTML, text)
    return format_html(FOLDED_HTML, build_preview(text) or text[:PREVIEW_LENGTH], len(text), text)
