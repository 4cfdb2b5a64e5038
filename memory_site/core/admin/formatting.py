"""Formats of text, numbers, times and JSON in the console."""

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memory_site.core.admin.json_view import render_json as render_json

#: Narrow no-break space between groups of three digits.
THIN_SPACE = "\u202f"
PROGRESS_BAR_HTML = (
    '<span class="ingestion-progress"><span class="whitespace-nowrap">{}</span>'
    '<span class="ingestion-bar ingestion-{}"><span style="width: {}%"></span></span></span>'
)
TWO_LINES_HTML = '<span class="memory-beginning" title="{}">{}</span>'
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
    """Format to the minute, with seconds as the tooltip. In a narrow column date and time wrap."""
    if value is None:
        return None
    parts = format_html_join(
        " ", '<span class="whitespace-nowrap">{}</span>', ((f"{value:%Y-%m-%d}",), (f"{value:%H:%M}",))
    )
    return format_html('<span title="{}">{}</span>', f"{value:%Y-%m-%d %H:%M:%S %Z}", parts)


def format_relative(value: datetime | None) -> SafeString | None:
    """Format as "12 min ago" or "in 3 h 20 min", with the exact time as the tooltip."""
    if value is None:
        return None
    seconds = (value - timezone.now()).total_seconds()
    words = "now" if abs(seconds) < 1 else f"in {format_duration(seconds)}" if seconds > 0 else None
    words = words or f"{format_duration(-seconds)} ago"
    return format_html('<span title="{}">{}</span>', f"{value:%Y-%m-%d %H:%M:%S %Z}", words)


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
