"""What an insight is worth and what it is about, where nobody says: rules that anybody can read and foretell.

They know words, not meaning. What they get wrong, a caller says himself.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from memories.insights.models import InsightType
from memories.insights.redaction import looks_secret

TOPICS_AT_MOST, LONGEST_TOPIC = 8, 64
#: The words that speak for each type, in the order in which ties are decided: what bites comes first.
SIGNS = {
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
SIGN = {kind: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for kind, words in SIGNS.items()}
TECHNOLOGIES = """
api asyncio aws azure bash celery css django docker duckdb elasticsearch fastapi flask gcp git github go graphql grpc
hnsw html http java javascript json jwt kafka kotlin kubernetes linux llm mongodb mysql nginx node numpy oauth pandas
pgvector php postgres postgresql prometheus psycopg pydantic pytest python rabbitmq react redis rest ruby rust
sqlalchemy sqlite sql swift tcp terraform tls typescript unicode valkey vue websocket xml yaml
"""
#: Long words that stand in texts about anything.
EVERYDAY = """
about above across after again against almost along already although always among another around avoid because become
before behind being below between beyond cannot could despite different doesn during either enough every everything
first following found further given having however insight instead itself least makes making maybe means might needs
never nothing often other others otherwise ourselves people perhaps place prefer rather really right second several
shall should since sometimes something still their theirs themselves there therefore these thing things think those
though three through together toward under unless until using usually value wants well where whether which while whole
whose within without works would write wrong yours
"""
KNOWN, PLAIN = frozenset(TECHNOLOGIES.split()), frozenset(EVERYDAY.split())
TICKED = re.compile(r"`([^`\n]{1,64})`")
# CamelCase, snake_case, dotted.names: what people call things in programs.
NAME = re.compile(r"\b(?:[a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*|[A-Za-z]\w*_\w+|[A-Za-z]\w+(?:\.[A-Za-z]\w+)+)\b")
WORD = re.compile(r"[^\W\d_][\w+#]*")
CODE = re.compile(r"`[^`\n]+`|^(?: {4}|\t)\S", re.MULTILINE)
LIST = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+\S", re.MULTILINE)
HEDGE = re.compile(
    r"\b(?:might|maybe|perhaps|probably|possibly|seems?|seemingly|apparently|unsure|not sure|guess|i think)\b",
    re.IGNORECASE,
)
EVIDENCE = re.compile(
    r"\b(?:measured|verified|tested|confirmed|proven|reproduced|benchmark\w*|documented|according to|shows?|showed)\b",
    re.IGNORECASE,
)
REASON = re.compile(
    r"\b(?:because|since|therefore|otherwise|so that|thus|hence|why|due to|which means)\b|→|=>", re.IGNORECASE
)
FIGURE = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Judgement:
    insight_type: str
    topics: list[str]
    confidence: float
    quality: float


def judged(text: str) -> Judgement:
    return Judgement(insight_type(text), topics(text), confidence(text), quality(text))


def insight_type(text: str) -> str:
    """The type for which the most different words speak; of two the one that stands first in SIGNS; `general` when no
    word speaks for any."""
    signs = {kind: len({sign.lower() for sign in words.findall(text)}) for kind, words in SIGN.items()}
    best = max(signs, key=signs.get)
    return best if signs[best] else InsightType.GENERAL


def topics(text: str) -> list[str]:
    """Up to eight, in small letters: first what stands in back-ticks, then names of technologies and of things in
    programs, then words of five letters or more that occur twice. What is named on purpose says more than what is
    merely frequent. Nothing that looks like a secret."""
    words = [word.lower() for word in WORD.findall(text)]
    often = Counter(word for word in words if len(word) >= 5 and word.isalpha() and word not in PLAIN)
    named = [*TICKED.findall(text), *(word for word in words if word in KNOWN), *NAME.findall(text)]
    return chosen([*named, *(word for word, times in often.most_common() if times > 1)])


def chosen(found: Iterable[str]) -> list[str]:
    topics = (" ".join(name.lower().split()) for name in dict.fromkeys(found) if is_topic(name))
    return list(islice(once(topics), TOPICS_AT_MOST))


def once(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name not in seen:
            seen.add(name)
            yield name


def is_topic(name: str) -> bool:
    return 2 <= len(name) <= LONGEST_TOPIC and any(map(str.isalnum, name)) and not looks_secret(name)


def confidence(text: str) -> float:
    """How sure it is: 0.7, since somebody marked it as learned; 0.15 more for evidence (measured, tested, documented
    and the like) and 0.1 for code, which can be tried; 0.3 less when it is hedged (might, perhaps, it seems)."""
    return share(0.7 + 0.15 * has(EVIDENCE, text) + 0.1 * has(CODE, text) - 0.3 * has(HEDGE, text))


def quality(text: str) -> float:
    """How much it helps whoever reads it later: 0.25 for anything; 0.25 for 100 to 2,000 characters, long enough to
    explain and short enough to be read, or half of that from 60 and up to 5,000; 0.15 for a reason; 0.15 for code; 0.1
    for figures and 0.1 for a list or paragraphs. So a bare claim stays below 0.4, where unused insights are pruned."""
    structured = has(LIST, text) or "\n\n" in text
    parts = (0.15 * has(REASON, text), 0.15 * has(CODE, text), 0.1 * has(FIGURE, text), 0.1 * structured)
    return share(0.25 + length_share(len(text)) + sum(parts))


def length_share(length: int) -> float:
    if 100 <= length <= 2_000:
        return 0.25
    return 0.125 if 60 <= length <= 5_000 else 0.0


def has(sign: re.Pattern, text: str) -> bool:
    return sign.search(text) is not None


def share(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 3)
