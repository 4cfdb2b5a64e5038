"""Estimate how many of the stored texts are not in English, from their script and their most frequent words."""

import re
import unicodedata
from dataclasses import dataclass

from django.db.models.functions import Left

from memories.models import Memory

SAMPLED_TEXTS, SAMPLED_CHARACTERS = 300, 500
#: Fewer letters say nothing.
MIN_LETTERS = 20
WORD_PATTERN = re.compile(r"[^\W\d_]+")
# Words that are frequent in one of the languages, and in none of the other group.
ENGLISH = """the of and to is that it with are this be by from which have has had not were been their they what there
would could should when who you your we our"""
#: German, French, Spanish, Portuguese, Italian, Dutch, Polish, Swedish, Turkish.
FOREIGN = """
der das und ist nicht ein eine einen dem den des mit für auf sich auch wird werden bei nach wir ich sie
le la les et est une dans pour pas sur avec qui au aux ce cette nous vous sont
el los las y en un una por con para del se su es al como más está
os uma com não dos das da ao pelo pela mais são foi
il di che è per non sono della nel gli con più
het een van niet zijn voor wordt ook maar bij
nie się jest na że jak od przez
och att är inte som för på det ett av
ve bir bu için ile olarak"""
ENGLISH_WORDS, FOREIGN_WORDS = frozenset(ENGLISH.split()), frozenset(FOREIGN.split())


@dataclass(frozen=True)
class Languages:
    """How many of the sampled texts were recognised, and how many of these are not in English."""

    recognised: int
    foreign: int


def sample_languages() -> Languages:
    """Look at the beginnings of the latest memories of all namespaces, in the order of the primary key."""
    latest = Memory.objects.order_by("-pk").annotate(beginning=Left("content", SAMPLED_CHARACTERS))
    found = [is_foreign(text) for text in latest.values_list("beginning", flat=True)[:SAMPLED_TEXTS]]
    return Languages(sum(each is not None for each in found), found.count(True))


def is_foreign(text: str) -> bool | None:
    """Return whether a text is in another language than English; None if it does not show, as in code.

    Most letters of another script decide, otherwise which frequent words are more.
    """
    letters = [character for character in text if character.isalpha()]
    other_script = sum(not unicodedata.name(character, "LATIN").startswith("LATIN") for character in letters)
    if other_script * 2 > len(letters) >= MIN_LETTERS / 2:  # a Chinese character says more than a letter
        return True
    words = WORD_PATTERN.findall(text.lower())
    english, foreign = (sum(word in frequent for word in words) for frequent in (ENGLISH_WORDS, FOREIGN_WORDS))
    return foreign > english if len(letters) >= MIN_LETTERS and max(english, foreign) > 1 else None
