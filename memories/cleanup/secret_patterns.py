"""Texts that look like secrets: known prefixes of keys, key files, tokens, passwords in URLs and assignments, and long
random strings. A secret found is never shown whole.

The prefixes are those that the issuers document, so that they find hardly anything else. A password is one only if it
looks like one: not `password: ask Tom`, and not a placeholder.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

#: By kind, the pattern; its last group, or all of it, is the secret.
PATTERNS = {
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,8000}?(?:-----END|$)",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255})\b",
    "GitLab token": r"\bglpat-[\w-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[\w-]{10,}",
    "Google key": r"\bAIza[\w-]{35}\b",
    "Stripe key": r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}\b",
    "model provider key": r"\b(?:sk-(?:ant-|proj-|or-)?[\w-]{20,}|hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{40,})",
    "mail provider key": r"\b(?:SG\.[\w-]{16,}\.[\w-]{16,}|key-[0-9a-f]{32})\b",
    "package registry token": r"\b(?:npm_[A-Za-z0-9]{36}|pypi-AgEI[\w-]{50,})",
    "memory site key": r"\bmem_[0-9a-f]{16}_?[\w-]{20,}",
    "JSON web token": r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "password in a URL": r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s/:@]{1,100}:([^\s/@]{3,200})@",
    "password": r"(?i)(?:\b|_)(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key)\b"
    r"[\"'`]?\s*(?:[:=]|\bis\b)\s*[\"'`]?([^\s\"'`,;]{8,200})",
    "random string": r"(?<![\w+/=-])[A-Za-z0-9+/_-]{32,200}={0,2}(?![\w+/=-])",
}
COMPILED = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}
#: Found by what they are like and not by a prefix: they must look random as well.
GUESSED = ("password in a URL", "password", "random string")
#: What stands for a secret in examples.
PLACEHOLDER = re.compile(r"(?i)^(?:\*+|x+|\.+|<.*|\$.*|\{.*|%.*|.*(?:your|example|changeme|placeholder|redacted).*)")
#: Bits for each character: prose has about 4 over its whole alphabet, but a string of 32 random ones of 64 has 4.5.
MIN_RANDOM_BITS, MIN_PASSWORD_BITS = 4.2, 2.5
SHOWN_CHARACTERS, EXCERPT_CHARACTERS = 4, 60
#: Longer texts are looked at up to here.
MAX_CHARACTERS = 400_000


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a text has what looks like a secret, and of what kind."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> list[Secret]:
    """Return what looks like a secret, each place once, in the order of the text."""
    found: list[Secret] = []
    for each in iter_secrets(text[:MAX_CHARACTERS]):
        if all(each.end <= other.start or each.start >= other.end for other in found):
            found.append(each)
    return sorted(found, key=lambda each: each.start)


def iter_secrets(text: str) -> Iterator[Secret]:
    for kind, pattern in COMPILED.items():
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            if kind not in GUESSED or looks_secret(kind, text[start:end]):
                yield Secret(kind, start, end)


def looks_secret(kind: str, text: str) -> bool:
    if PLACEHOLDER.match(text):
        return False
    if kind == "random string":
        return has_mixture(text) and not has_words(text) and measure_bits(text) >= MIN_RANDOM_BITS
    if kind == "password":
        return not text.isalpha() and measure_bits(text) >= MIN_PASSWORD_BITS and any(map(str.isdigit, text))
    return text.lower() not in ("password", "pass", "pw", "secret")


def has_mixture(text: str) -> bool:
    """Tell whether it has digits, capital and small letters. What is hexadecimal is a digest or an id more often."""
    return all(any(test(letter) for letter in text) for test in (str.isdigit, str.isupper, str.islower))


def has_words(text: str) -> bool:
    """Tell whether it is a path or a name: most of it are runs of five small letters or more."""
    return sum(map(len, re.findall(r"[a-z]{5,}", text))) * 2 > len(text)


def measure_bits(text: str) -> float:
    """Return Shannon's entropy of the characters, in bits for each."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def mask(text: str) -> str:
    """Return the text with every secret in it replaced by its beginning and its length."""
    parts, end = [], 0
    for each in find_secrets(text):
        parts += [text[end : each.start], describe(text[each.start : each.end])]
        end = each.end
    return "".join([*parts, text[end:]])


def describe(secret: str) -> str:
    shown = secret[: min(SHOWN_CHARACTERS, len(secret) // 4)]
    return f"{shown}… ({len(secret)} characters)"


def excerpt(text: str) -> str:
    """Return what stands around the first secret, masked, on one line; nothing without one."""
    found = find_secrets(text)
    if not found:
        return ""
    first = found[0]
    before = mask(text[: first.start])[-EXCERPT_CHARACTERS:]
    after = mask(text[first.end :])[:EXCERPT_CHARACTERS]
    return " ".join(f"{before}{describe(text[first.start : first.end])}{after}".split())
