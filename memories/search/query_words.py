"""The words of a query, and the operators of web-search syntax: "a phrase", -excluded, or."""

import re
from dataclasses import dataclass

QUOTATION_MARKS = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
PHRASE = re.compile(r'"([^"]*)"')
# A dash excludes what follows it directly; `- eggs`, `--force` and a ruler of dashes exclude nothing.
EXCLUSION = re.compile(r'(?<!\S)-(?:"(?P<phrase>[^"]*)"|(?P<word>[^\W_]\S*))')
# Capitalised inside a sentence. Where more than a quarter of the words are, as in German, it says nothing.
CAPITALISED = re.compile(r"(?<=[\w,;:'\")] )[^\W\d_a-z][\w'-]+")
MAX_CAPITALISED_SHARE = 0.25
BARE_OR = re.compile(r"(?<!\S)or(?!\S)", re.IGNORECASE)


@dataclass(frozen=True)
class QueryWords:
    """What full-text search looks for.

    text: the words and phrases of which any may match. required: what every hit must match, as another query, or None.
    excluded: what no hit may match. written: for each of these a regular expression of how it stands in the query; a
    memory in which it stands like that (`rm -rf`) is a hit all the same. None: there is no such exception.
    """

    text: str
    required: str | None = None
    excluded: tuple[str, ...] = ()
    written: tuple[str | None, ...] = ()

    @property
    def names(self) -> str:
        """The words that are written like names."""
        found = [word for word in CAPITALISED.findall(self.text) if word[0].isupper()]
        return " ".join(found) if len(found) <= MAX_CAPITALISED_SHARE * len(self.text.split()) else ""

    @property
    def restricts(self) -> bool:
        """Whether some rows of the scope are no hits, whatever their score."""
        return bool(self.required or self.excluded)


def parse_query(query: str, *, operators: bool) -> QueryWords:
    """Return the words of a query.

    Without `operators` it is plain text, such as a whole turn of a conversation: nothing is excluded, and a phrase only
    adds weight, unless the query consists of phrases.
    """
    text = query.translate(QUOTATION_MARKS)
    if not operators:
        return QueryWords(text, None if PHRASE.sub("", text).strip() else find_required(text))
    exclusions = {match["phrase"] or match["word"]: match for match in EXCLUSION.finditer(text)}
    exclusions.pop(None, None)
    text = EXCLUSION.sub(" ", text)
    written = tuple(None if match["word"] is None else match_as_written(term) for term, match in exclusions.items())
    return QueryWords(text, find_required(text), tuple(exclusions), written)


def find_required(text: str) -> str | None:
    """Return the phrases that every hit must contain; a bare OR makes them optional, unless there is nothing else."""
    phrases = [f'"{phrase}"' for phrase in PHRASE.findall(text) if phrase.strip()]
    rest = PHRASE.sub(" ", text)
    if not BARE_OR.search(rest):
        return " ".join(phrases) or None
    return None if BARE_OR.sub("", rest).strip() else " or ".join(phrases) or None


def match_as_written(term: str) -> str:
    """Return the regular expression, in PostgreSQL's syntax, of a word behind a dash that joins no other word to it."""
    escaped = re.sub(r"(\W)", r"\\\1", term)
    return rf"(?<![[:alnum:]])-{escaped}(?![[:alnum:]])"
