"""The part of a memory that a search found, with the words marked."""

import re
from typing import Any

from django.db.models import Case, CharField, F, Func, TextField, Value, When
from django.db.models.functions import Cast, Greatest, Left, Substr
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.models import Memory, MemoryQuerySet
from memories.search.query_words import parse_query
from memories.search.selection import (
    JSON_FIELDS,
    PATTERN,
    SEARCHED_TEXTS,
    TextMode,
    escape_for_json,
    find_position,
    with_json_as_text,
)
from memory_site.core.admin.formatting import truncate

EXCERPT_LENGTH, LENGTH_BEFORE = 160, 40
MARKED_HTML = '<span class="memory-beginning" title="{}">{}</span>'
WORD = re.compile(r"\w+")
#: Words of a question that say nothing about what is wanted.
COMMON_WORDS = frozenset(
    (
        *("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "how", "in", "is", "it", "not", "of", "on"),
        *("or", "that", "the", "this", "to", "was", "what", "when", "where", "which", "who", "why", "with"),
    )
)
ENDINGS = re.compile(r"(?<=\w{3})(?:ings?|ed|es|s|ly)$")
MAX_MARKED_WORDS = 32


def build_word_pattern(query: str) -> re.Pattern[str] | None:
    """Return the pattern of the words of a query and of other forms of them; None if it has no words."""
    words = [word for word in WORD.findall(parse_query(query, operators=True).text.casefold()) if len(word) > 1]
    stems = {ENDINGS.sub("", word) for word in words if word not in COMMON_WORDS}
    longest = sorted(stems, key=len, reverse=True)[:MAX_MARKED_WORDS]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\w*", re.IGNORECASE) if longest else None


def build_text_pattern(text: str) -> re.Pattern[str] | None:
    return re.compile(re.escape(text), re.IGNORECASE) if text else None


def render_marked(text: str, wanted: re.Pattern[str] | None) -> SafeString:
    """Render the part of a text around the first of the wanted words, which are marked; its beginning without any."""
    first = wanted and wanted.search(text)
    start = max(first.start() - LENGTH_BEFORE, 0) if first and first.end() > EXCERPT_LENGTH else 0
    excerpt = truncate(text[start : start + EXCERPT_LENGTH + 1], EXCERPT_LENGTH)
    return format_html(MARKED_HTML, truncate(text, 1000), mark_words(f"…{excerpt}" if start else excerpt, wanted))


def mark_words(text: str, wanted: re.Pattern[str] | None) -> SafeString:
    """Return the text as HTML, escaped, with what the pattern matches between <mark> and </mark>."""
    parts, end = [], 0
    for found in wanted.finditer(text) if wanted else ():
        if found.end() > found.start():
            parts.append((text[end : found.start()], found[0]))
            end = found.end()
    return format_html("{}{}", format_html_join("", "{}<mark>{}</mark>", parts), text[end:])


def find_excerpts(memories: list[Memory], text: str, mode: TextMode) -> dict[Any, tuple[str, SafeString]]:
    """Return for the memories of a page the name of the field with the text and the marked excerpt: one statement."""
    rows = Memory.objects.filter(
        namespace_id__in={each.namespace_id for each in memories}, pk__in=[each.pk for each in memories]
    )
    found = annotate_excerpts(rows, text, mode).values_list("pk", "found_in", "excerpt", "matched")
    return {
        pk: (name, render_excerpt(excerpt or "", text_of_match(name, text, mode, matched)))
        for pk, name, excerpt, matched in found
    }


def annotate_excerpts(rows: MemoryQuerySet, text: str, mode: TextMode) -> MemoryQuerySet:
    """Annotate `found_in`, the first field with a match, `excerpt`, the text around it, and `matched` of a pattern."""
    positions = {f"position_{name}": find_position(name, text, mode) for name in SEARCHED_TEXTS}
    rows = with_json_as_text(rows).alias(**positions)
    names = [Value(name.removesuffix("_text")) for name in SEARCHED_TEXTS]
    found_in = first_match(names, CharField())
    excerpt = first_match(
        [
            Substr(Cast(name, TextField()), Greatest(F(f"position_{name}") - LENGTH_BEFORE, 1), EXCERPT_LENGTH)
            for name in SEARCHED_TEXTS
        ],
        TextField(),
    )
    matched = first_match([match_of_pattern(name, text) for name in SEARCHED_TEXTS], TextField())
    return rows.annotate(
        found_in=found_in, excerpt=excerpt, matched=matched if mode == PATTERN else Value("", TextField())
    )


def first_match(results: list[Any], output_field: Any) -> Case:
    """Return the result of the first field with a match."""
    pairs = zip(SEARCHED_TEXTS, results, strict=True)
    whens = [When(**{f"position_{name}__gt": 0, "then": result}) for name, result in pairs]
    return Case(*whens, default=Value(""), output_field=output_field)


def match_of_pattern(name: str, pattern: str) -> Left:
    found = Func(F(name), Value(pattern), 1, 1, Value("i"), function="regexp_substr", output_field=TextField())
    return Left(found, EXCERPT_LENGTH)


def text_of_match(name: str, text: str, mode: TextMode, matched: str) -> str:
    """Return what to mark: the match of the pattern, or the text as its field has it."""
    if mode == PATTERN:
        return matched
    return escape_for_json(text) if name in JSON_FIELDS else text


def render_excerpt(excerpt: str, wanted: str) -> SafeString:
    return format_html(MARKED_HTML, excerpt, mark_words(excerpt, build_text_pattern(wanted)))
