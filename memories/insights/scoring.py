"""Estimate type, topics, confidence and quality of an insight where the client gives none.

The rules look at words, not at meaning, so that their results are predictable; a client can override each of them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from memories.insights.models import InsightType
from memories.insights.redaction import looks_secret

MAX_EXTRACTED_TOPICS, MAX_TOPIC_LENGTH = 8, 64
#: Words that indicate each type. At a tie the type that stands first wins: a warning matters most.
TYPE_WORDS = {
    InsightType.GOTCHA: (
        r"gotchas?|pitfalls?|traps?|caveats?|beware|watch out|careful|surpris\w+|unexpected\w*|silently|footguns?|bugs?"
        r"|breaks?|fails?|does not work|doesn't work"
    ),
    InsightType.BEST_PRACTICE: (
        r"best practices?|should|always|never|prefer\w*|recommend\w*|avoid\w*|conventions?|rules? of thumb|instead of"
    ),
    InsightType.ARCHITECTURE: (
        r"architect\w+|layers?|layered|modules?|components?|boundar\w+|coupl\w+|dependenc\w+|interfaces?|services?"
        r"|schemas?|separation"
    ),
    InsightType.PATTERN: (
        r"patterns?|idioms?|idiomatic|approach\w*|techniques?|strateg\w+|factor(?:y|ies)|singletons?|decorators?"
        r"|adapters?|recipes?"
    ),
}
TYPE_PATTERNS = {kind: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for kind, words in TYPE_WORDS.items()}
TECHNOLOGIES = """
api asyncio aws azure bash celery css django docker duckdb elasticsearch fastapi flask gcp git github go graphql grpc
hnsw html http java javascript json jwt kafka kotlin kubernetes linux llm mongodb mysql nginx node numpy oauth pandas
pgvector php postgres postgresql prometheus psycopg pydantic pytest python rabbitmq react redis rest ruby rust
sqlalchemy sqlite sql swift tcp terraform tls typescript unicode valkey vue websocket xml yaml
"""
#: Long words without a topic.
COMMON_LONG_WORDS = """
about above across after again against almost along already although always among another around avoid because become
before behind being below between beyond cannot could despite different doesn during either enough every everything
first following found further given having however insight instead itself least makes making maybe means might needs
never nothing often other others otherwise ourselves people perhaps place prefer rather really right second several
shall should since sometimes something still their theirs themselves there therefore these thing things think those
though three through together toward under unless until using usually value wants well where whether which while whole
whose within without works would write wrong yours
"""
KNOWN_TECHNOLOGIES, TOPIC_STOP_WORDS = frozenset(TECHNOLOGIES.split()), frozenset(COMMON_LONG_WORDS.split())
BACKTICKED_PATTERN = re.compile(r"`([^`\n]{1,64})`")
# CamelCase, snake_case and dotted.names: identifiers of programs.
IDENTIFIER_PATTERN = re.compile(
    r"\b(?:[a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*|[A-Za-z]\w*_\w+|[A-Za-z]\w+(?:\.[A-Za-z]\w+)+)\b"
)
TOPIC_WORD_PATTERN = re.compile(r"[^\W\d_][\w+#]*")
CODE_PATTERN = re.compile(r"`[^`\n]+`|^(?: {4}|\t)\S", re.MULTILINE)
LIST_ITEM_PATTERN = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+\S", re.MULTILINE)
HEDGE_PATTERN = re.compile(
    r"\b(?:might|maybe|perhaps|probably|possibly|seems?|seemingly|apparently|unsure|not sure|guess|i think)\b",
    re.IGNORECASE,
)
EVIDENCE_PATTERN = re.compile(
    r"\b(?:measured|verified|tested|confirmed|proven|reproduced|benchmark\w*|documented|according to|shows?|showed)\b",
    re.IGNORECASE,
)
REASON_PATTERN = re.compile(
    r"\b(?:because|since|therefore|otherwise|so that|thus|hence|why|due to|which means)\b|→|=>", re.IGNORECASE
)
DIGIT_PATTERN = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class InsightScore:
    insight_type: str
    topics: list[str]
    confidence: float
    quality: float


def score_insight(text: str) -> InsightScore:
    return InsightScore(classify_type(text), extract_topics(text), estimate_confidence(text), estimate_quality(text))


def classify_type(text: str) -> str:
    """Return the type with the most different words of TYPE_WORDS in the text; `general` if there is none."""
    counts = {kind: len({word.lower() for word in pattern.findall(text)}) for kind, pattern in TYPE_PATTERNS.items()}
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] else InsightType.GENERAL


def extract_topics(text: str) -> list[str]:
    """Return at most MAX_EXTRACTED_TOPICS topics in lower case, none of which looks like a secret.

    First texts in back-ticks, then technologies and identifiers, then words of at least five letters that occur at
    least twice: a name says more than a frequent word.
    """
    words = [word.lower() for word in TOPIC_WORD_PATTERN.findall(text)]
    frequent = Counter(word for word in words if len(word) >= 5 and word.isalpha() and word not in TOPIC_STOP_WORDS)
    named = [
        *BACKTICKED_PATTERN.findall(text),
        *(word for word in words if word in KNOWN_TECHNOLOGIES),
        *IDENTIFIER_PATTERN.findall(text),
    ]
    return select_topics([*named, *(word for word, count in frequent.most_common() if count > 1)])


def select_topics(names: Iterable[str]) -> list[str]:
    topics = (" ".join(name.lower().split()) for name in dict.fromkeys(names) if is_valid_topic(name))
    return list(islice(iterate_unique(topics), MAX_EXTRACTED_TOPICS))


def iterate_unique(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name not in seen:
            seen.add(name)
            yield name


def is_valid_topic(name: str) -> bool:
    return 2 <= len(name) <= MAX_TOPIC_LENGTH and any(map(str.isalnum, name)) and not looks_secret(name)


def estimate_confidence(text: str) -> float:
    """Return a confidence from 0 to 1.

    0.7 because the text was marked as an insight, + 0.15 for evidence (measured, tested, documented and the like),
    + 0.1 for code, which can be tried, − 0.3 for a hedge (might, perhaps, it seems).
    """
    return clamp_to_unit_interval(
        0.7
        + 0.15 * has_match(EVIDENCE_PATTERN, text)
        + 0.1 * has_match(CODE_PATTERN, text)
        - 0.3 * has_match(HEDGE_PATTERN, text)
    )


def estimate_quality(text: str) -> float:
    """Return a quality from 0 to 1: how useful the text is to a later reader.

    0.25 for any text, + `score_length` (100 to 2,000 characters are long enough to explain and short enough to be
    read), + 0.15 for a reason, + 0.15 for code, + 0.1 for figures, + 0.1 for a list or paragraphs. So a bare claim
    stays below 0.4, where unused insights are pruned.
    """
    is_structured = has_match(LIST_ITEM_PATTERN, text) or "\n\n" in text
    parts = (
        0.15 * has_match(REASON_PATTERN, text),
        0.15 * has_match(CODE_PATTERN, text),
        0.1 * has_match(DIGIT_PATTERN, text),
        0.1 * is_structured,
    )
    return clamp_to_unit_interval(0.25 + score_length(len(text)) + sum(parts))


def score_length(length: int) -> float:
    """Return 0.25 for 100 to 2,000 characters, half of it for 60 to 5,000, else 0."""
    if 100 <= length <= 2_000:
        return 0.25
    return 0.125 if 60 <= length <= 5_000 else 0.0


def has_match(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is not None


def clamp_to_unit_interval(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 3)
