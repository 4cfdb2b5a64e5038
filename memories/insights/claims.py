"""Tell a correction from a rewording: two texts of nearly the same letters that claim different things.

Claims are what changes a statement with few letters: numbers and their units, negations, opposites and symbols, in
their order. The lists name one word of a pair at least, which is enough: in the other text it is missing.
"""

import re

#: Stands for every negation, so that "cannot" and "can't" claim the same.
NEGATION = "not"
# English without apostrophes, which normalising takes away ("isn t"), then other languages of Europe, then Arabic.
NEGATION_WORDS = """
not no never none nothing nobody nowhere neither nor cannot without
dont doesnt didnt isnt arent wasnt werent cant wont shouldnt wouldnt couldnt mustnt hasnt havent hadnt neednt
nicht kein keine keinen keinem keiner keines nie niemals ohne weder nichts
ne n pas jamais sans aucun aucune rien
nunca jamás sin ningún ninguna ninguno nada tampoco ni
não nem sem nenhum nenhuma non mai senza nessun nessuno nessuna niente
niet geen nooit zonder inte aldrig utan ikke aldri uten uden
nie nigdy bez żaden nikdy žádný
не нет ни никогда без нельзя ні немає değil yok asla
لا ليس لم لن غير بدون
"""
NEGATIONS = frozenset(NEGATION_WORDS.split())
# Of scripts without spaces, and of Korean, whose negations are parts of words.
NEGATIONS_INSIDE = re.compile("[不没沒无無非未勿毋않없못]|ない|ません|なかった|ไม่")
NUMBERS_AS_WORDS = """
zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half once twice double
triple single both all
"""
NUMBER_WORDS = frozenset(NUMBERS_AS_WORDS.split())
# Beginnings of words; with $, whole words.
UNITS = "nanosec|microsec|millisec|second|minute|hour|day|week|month|year|byte|[kmgt]i?b$|[mn]s$|percent"
OPPOSITES = (
    "enabl|disabl|allow|den[yi]|forbid|prohibit|permit|requir|optional|recommend|avoid|increas|decreas|reduc|rais"
    "|lower|higher|highest|lowest|before$|after$|always|rare|often|true$|false$|yes$|off$|min$|minim|max$|maxim|more$"
    "|less$|fewer|most$|least|above|below|under$|over$|first$|last$|earl[yi]|late|start|stop|open|clos|includ|exclud"
    "|succe|fail|fast|slow|safe|dangerous|good$|bad$|better|worse|best$|worst|right$|left$|wrong|big|small|large|long"
    "|short|old|new|sync|async|writ|public|private|up$|down$|ascend|descend|asc$|desc$|remov|delet|deprecat"
)
CLAIM_STEM = re.compile(f"(?:{OPPOSITES}|{UNITS})")
NEGATING_PREFIXES = ("un", "in", "im", "il", "ir", "non", "dis", "de", "mis", "a")
MIN_PREFIXED_LENGTH = 4  # "to" and "into" are no opposites
WORD_OR_SYMBOLS = re.compile(r"\w+|[^\w\s]+")


def contradict(one: str, other: str) -> bool:
    """Return whether two normalised texts, nearly the same by their letters, claim different things."""
    words, other_words = WORD_OR_SYMBOLS.findall(one), WORD_OR_SYMBOLS.findall(other)
    return extract_claims(words) != extract_claims(other_words) or differ_by_prefix({*words}, {*other_words})


def extract_claims(words: list[str]) -> list[str]:
    """Return the claims in their order."""
    claims = []
    for before, word in zip(["", *words], words, strict=False):
        if word in NEGATIONS or (word == "t" and before.endswith("n")):
            claims.append(NEGATION)
        elif is_claim(word):
            claims.append(word)
        claims += [NEGATION] * len(NEGATIONS_INSIDE.findall(word))
    return claims


def is_claim(word: str) -> bool:
    """Return whether the word is a number, a name with digits, a unit, one of two opposites or a symbol."""
    return (
        any(character.isdigit() for character in word)
        or not (word[0].isalnum() or word[0] == "_")
        or word in NUMBER_WORDS
        or CLAIM_STEM.match(word) is not None
    )


def differ_by_prefix(words: set[str], other_words: set[str]) -> bool:
    """Return whether one text has a word and the other its opposite by a prefix, as in safe and unsafe."""
    only, only_other = words - other_words, other_words - words
    return bool(only & add_prefixes(only_other) or only_other & add_prefixes(only))


def add_prefixes(words: set[str]) -> set[str]:
    return {prefix + word for word in words if len(word) >= MIN_PREFIXED_LENGTH for prefix in NEGATING_PREFIXES}
