"""Which texts the server takes, and texts of conversations in the form in which it takes them."""

import re
import unicodedata
from uuid import UUID

#: Characters of a memory and of a query; more is refused.
MAX_CONTENT_LENGTH, MAX_QUERY_LENGTH = 100_000, 4_096
#: Letters and symbols by their category that are nevertheless invisible.
INVISIBLE_CHARACTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
#: With these a query requires a phrase; with a dash before a word it excludes that.
QUOTATION_MARKS = re.compile('["“”„‟«»＂]')
EXCLUDING_DASH = re.compile(r"(?<!\S)-(?=[^\W_])")


def make_storable(text: str, most: int = MAX_CONTENT_LENGTH) -> str:
    """Return the beginning of the text without NUL and lone surrogates, or "" if there is nothing to be seen in it."""
    stored = UNSTORABLE.sub("", text)[:most]
    return stored if has_visible(stored) else ""


def make_query(text: str) -> str:
    """Return the text as a query that only describes what is looked for: what stands in quotation marks or behind a
    dash in a turn of a conversation is no operator. "" if there is nothing to look for."""
    plain = EXCLUDING_DASH.sub("", QUOTATION_MARKS.sub(" ", text))
    return make_storable(plain.strip(), MAX_QUERY_LENGTH)


def is_storable(text: str) -> bool:
    """Return whether the server takes it as content, as it is."""
    return len(text) <= MAX_CONTENT_LENGTH and UNSTORABLE.search(text) is None and has_visible(text)


def has_visible(text: str) -> bool:
    return any(map(is_visible, text))


def is_unicode(text: str) -> bool:
    """Return whether it has no lone surrogates."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in INVISIBLE_CHARACTERS


def is_uuid(text: object) -> bool:
    """Whether it can be the id of a memory."""
    try:
        UUID(text)  # type: ignore[arg-type]  # whatever a model gives
    except (ValueError, AttributeError, TypeError):
        return False
    return True
