"""Pattern discovery in a user's messages: recurring topics, and whether most messages ask. Pure functions."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from memories.knowledge.models import PatternType
from memories.knowledge.schemas.patterns import MAX_EXAMPLE_LENGTH

#: Fewer messages give no pattern.
MIN_MESSAGES = 5
#: Bounds of a topic: its length in letters, its occurrences, and how many topics are reported.
MIN_WORD_LENGTH, MAX_WORD_LENGTH, MIN_WORD_COUNT, MAX_TOPICS = 4, 64, 2, 10
MIN_QUESTIONS = 3
MAX_DISCOVERED_EXAMPLES = 3
WORD_PATTERN = re.compile(rf"[^\W\d_]{{{MIN_WORD_LENGTH},}}")
#: A question mark at the end of a sentence, not inside a URL.
QUESTION_PATTERN = re.compile(r"[?？؟](?=[\s\"'”’»)\]*_]|$)")
#: English words of four letters and more that do not name a topic.
STOP_WORD_LIST = """
able about above across actually after again against almost alone along already also although always among another
anybody anyone anything anyway around away back because been before behind being below besides best better between
both came cannot come could couldn didn does doesn doing done down during each either else enough even ever every
everybody everyone everything from further gave gets getting give given gives going gone good hadn hasn have haven
having hello help here hers herself himself however indeed instead into isn itself just keep kind knew know known
last later least less let like likely little look looking made make makes making many maybe mean might mightn more
most much must mustn myself need needn needs neither never next nobody none nothing okay once only onto other others
otherwise ours ourselves over perhaps please quite rather really right said same says seem seems several shall shan
should shouldn show since some somebody someone something sometimes soon still such sure take taken tell than thank
thanks that their theirs them themselves then there therefore these they thing things think this those though
through thus today together told tomorrow took toward towards tried tries trying under unless until upon used using
very want wants wasn well went were weren what whatever when whenever where wherever whether which while whole whom
whose will with within without won would wouldn yeah year years yesterday your yours yourself yourselves
"""
STOP_WORDS = frozenset(STOP_WORD_LIST.split())


def find_patterns(messages: Sequence[str], user_id: str | None) -> list[dict[str, Any]]:
    """Return drafts of the patterns in a user's messages, which are given oldest first.

    Fewer than five messages give none. A draft has the columns of a Pattern.
    """
    found = (build_topics_pattern(messages), build_question_pattern(messages)) if len(messages) >= MIN_MESSAGES else ()
    return [draft | {"user_id": user_id} for draft in found if draft]


def build_topics_pattern(messages: Sequence[str]) -> dict[str, Any] | None:
    """Draft the pattern of words that occur at least twice; `frequency` counts the messages with any of them."""
    topics = dict(rank_topics(messages))
    if not topics:
        return None
    on_topic = [text for text in messages if not topics.keys().isdisjoint(extract_words(text))]
    return {
        "pattern_type": PatternType.PREFERENCE.value,
        "key": "common_topics",
        "description": f"Often speaks of {', '.join(topics)}.",
        "frequency": len(on_topic),
        "confidence": 0.8,
        "examples": pick_examples(messages),
        "metadata": {"topics": topics},
    }


def rank_topics(messages: Sequence[str]) -> list[tuple[str, int]]:
    """Return the most frequent words with their number of occurrences; ties in alphabetical order."""
    counts = Counter(word for text in messages for word in extract_words(text))
    repeated = [(word, count) for word, count in counts.items() if count >= MIN_WORD_COUNT]
    return sorted(repeated, key=lambda each: (-each[1], each[0]))[:MAX_TOPICS]


def extract_words(text: str) -> list[str]:
    """Return the words that may be a topic, normalised to NFKC and case-folded."""
    found = WORD_PATTERN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if len(word) <= MAX_WORD_LENGTH and word not in STOP_WORDS]


def build_question_pattern(messages: Sequence[str]) -> dict[str, Any] | None:
    """Draft the pattern of asking; `frequency` counts the messages with a question."""
    questions = [text for text in messages if QUESTION_PATTERN.search(text)]
    if len(questions) < MIN_QUESTIONS:
        return None
    return {
        "pattern_type": PatternType.DECISION_PATTERN.value,
        "key": "question_pattern",
        "description": f"Asked a question in {len(questions)} of {len(messages)} messages.",
        "frequency": len(questions),
        "confidence": 0.7,
        "examples": pick_examples(questions),
        "metadata": {"questions": len(questions), "messages": len(messages)},
    }


def pick_examples(messages: Sequence[str]) -> list[str]:
    """Return the first three distinct messages, cut to the length of an example."""
    return list(dict.fromkeys(text.strip()[:MAX_EXAMPLE_LENGTH] for text in messages))[:MAX_DISCOVERED_EXAMPLES]
