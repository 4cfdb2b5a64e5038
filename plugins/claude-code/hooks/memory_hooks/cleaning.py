"""What must not be sent: what the hooks have injected, what is private, what looks like a secret."""

from __future__ import annotations

import re
from typing import NamedTuple

from .fence import FENCE

#: Of a question or an answer, whose middle is left out if it is longer, and of what is read of it at all.
MAX_TEXT_LENGTH, MAX_READ_LENGTH = 20_000, 1_000_000
MASK = "[secret removed]"
#: They go first: within a mark they would hide it. Tabs and ends of lines stay.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
INJECTED = re.compile(rf"<({FENCE}|system-reminder)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
PRIVATE = re.compile(r"<private\b[^<>]*>.*?(?:</private\s*>|\Z)", re.IGNORECASE | re.DOTALL)
SECRETS = re.compile(
    r"""-----BEGIN[ A-Z]*PRIVATE\ KEY-----.*?(?:-----END[ A-Z]*PRIVATE\ KEY-----|\Z)
    | \b(?:sk|pk|rk)[-_](?:[a-z]+[-_])?[A-Za-z0-9_-]{16,}      # OpenAI, Anthropic, Stripe
    | \b(?:gh[pousr]|github_pat|glpat|hf|npm|pypi)[-_][A-Za-z0-9_-]{16,}
    | \bxox[a-z]-[A-Za-z0-9-]{10,}                              # Slack
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                             # AWS
    | \bAIza[A-Za-z0-9_-]{30,}                                  # Google
    | \bmem_[0-9a-f]{16}_[A-Za-z0-9_-]{20,}                     # of a memory site
    | (?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*  # JSON web token
    | (?<=Bearer\ )[A-Za-z0-9._~+/=-]{16,}
    | (?<=://)[^\s/:@]+:[^\s/@]+(?=@)                           # user and password in an address
    | (?i:(?<=password)|(?<=passwd)|(?<=secret)|(?<=api_key)|(?<=api-key)|(?<=apikey)|(?<=token))
      ["']?\s*[=:]\s*["']?[^\s"',;]{8,}""",
    re.VERBOSE | re.DOTALL,
)


class Clean(NamedTuple):
    """Text without what must not be sent, and whether a private part was in it."""

    text: str
    had_private: bool


def clean(text: str) -> Clean:
    """Remove what the hooks have injected and what is private, and mask what looks like a secret."""
    text = INJECTED.sub("", UNPRINTABLE.sub("", text[:MAX_READ_LENGTH]))
    public = PRIVATE.sub("", text)
    return Clean(SECRETS.sub(mask, public).strip(), public != text)


def mask(match: re.Match[str]) -> str:
    """Replace a secret, but not the `=` or `: ` in front of it."""
    lead = re.match(r"[\s\"'=:]*", match[0])
    return (lead[0] if lead else "") + MASK


def shorten(text: str, length: int = MAX_TEXT_LENGTH) -> str:
    """Return a text of at most that many characters, without the middle of a longer one."""
    half = length // 2 - 10
    return text if len(text) <= length else f"{text[:half]}\n[…]\n{text[-half:]}"
