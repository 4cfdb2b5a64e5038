"""Formats of text, numbers, times and JSON in the console."""

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from memory_site.core.admin.json_view import render_json as render_json

#: Narrow no-break space between groups of three digits.
THIN_SPACE = "\u202f"
PROGRESS_BAR_HTML = (
    '<span class="ingestion-progress"><span class="whitespace-nowrap">{}</span>'
    '<span class="ingestion-bar ingestion-{}"><span style="width: {}%"></span></span></span>'
)
TWO_LINES_HTML = '<span class="memory-beginning" title="{}">{}</span>'
TIME_HTML = '<time datetime="{}" title="{}" class="whitespace-nowrap">{}</time>'
MAX_DISTANCE_SECONDS = 7 * 86_400
DURATION_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def format_number(number: int) -> str:
    """Format 12345 as 12 345."""
    return f"{number:,}".replace(",", THIN_SPACE)


def truncate(text: str, length: int) -> str:
    """Return the beginning of a text on one line, at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: "3 min 20 s"."""
    rest, parts = round(seconds), []
    for unit, length in DURATION_UNITS:
        number, rest = divmod(rest, length)
        parts.append((number, unit))
    first = next((index for index, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"


def format_size(number: float) -> str:
    """Return a number of bytes in its largest unit: "1.5 MiB"."""
    unit = 0
    while abs(number) >= 1024 and unit < len(SIZE_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {SIZE_UNITS[unit]}" if unit == 0 else f"{number:.1f} {SIZE_UNITS[unit]}"


def format_datetime(value: datetime | None) -> SafeString | None:
    """Format a time of the last or next week as its distance, "5 min ago" or "in 2 h", another one as its day. The
    tooltip is the time itself."""
    if value is None:
        return None
    seconds = (value - timezone.now()).total_seconds()
    words = format_distance(seconds) if abs(seconds) < MAX_DISTANCE_SECONDS else f"{value:%Y-%m-%d}"
    exact = f"{value:%Y-%m-%d %H:%M:%S %Z}"
    return format_html(TIME_HTML, value.isoformat(), exact, words)


def format_distance(seconds: float) -> str:
    """Return the distance from now in its largest unit: "in 2 h", "5 min ago", "now"."""
    distance = abs(seconds)
    unit, length = next(((unit, length) for unit, length in DURATION_UNITS if distance >= length), ("", 1))
    words = f"{distance // length:.0f} {unit}"
    return "now" if not unit else f"in {words}" if seconds > 0 else f"{words} ago"


def render_two_lines(text: str, whole: str | None = None) -> SafeString:
    """Render at most two lines of a text, with all of it, or `whole`, as the tooltip."""
    return format_html(TWO_LINES_HTML, text if whole is None else whole, text)


def render_progress_bar(words: str, state: str, percent: int) -> SafeString:
    """Render progress as words above a bar, coloured by state: in_progress, completed or failed."""
    return format_html(PROGRESS_BAR_HTML, words, state, percent)


MAX_NAME_LENGTH = 160


def replace_underscores(kind: str) -> str:
    return kind.replace("_", " ")


def render_name_cell(text: str) -> SafeString:
    """Render at most two lines of a name, with its first 1,000 characters as the tooltip."""
    return render_two_lines(truncate(text, MAX_NAME_LENGTH), text[:1000])
