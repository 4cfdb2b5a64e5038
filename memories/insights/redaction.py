"""Redact names of projects that look secret. The database holds only the redacted name; because redaction is
deterministic, the true name finds the same rows."""

import hashlib
import re
import unicodedata

from sessions_app.models import KEY_PREFIX

#: A name with one of these words looks secret.
SECRET_WORDS = frozenset([
    "secret", "secrets", "password", "passwords", "passwd", "passphrase", "passphrases", "pwd", "token", "tokens",
    "credential", "credentials", "creds", "confidential", "private", "key", "keys", "apikey", "apikeys", "secretkey",
    "privatekey", "accesskey",
])  # fmt: skip
# A word in capitals, or one of small letters that may begin with a capital: ourAPIKeys is our, API and Keys.
NAME_WORD_PATTERN = re.compile(r"[^\W\d_a-z]+(?![a-z])|[^\W\d_]?[a-z]+")
LETTERS_PATTERN = re.compile(r"[^\W\d_]+")
# Secrets themselves: keys of model vendors, API keys of this server, AWS access keys, tokens of GitHub and Slack, JWTs,
# 32 or more hexadecimal digits, and 32 or more base64 characters with both letters and digits.
SECRET_PATTERN = re.compile(
    rf"\bsk-\w|\b{KEY_PREFIX}\w|\b(?:AKIA|ASIA)[0-9A-Z]{{8}}|\bgh[pousr]_\w|\bgithub_pat_|\bxox[a-z]-|\beyJ[\w-]{{8}}"
    r"|(?<![0-9a-fA-F])[0-9a-fA-F]{32}"
    r"|(?<![A-Za-z0-9+/])(?=[A-Za-z+/]*[0-9])(?=[0-9+/]*[A-Za-z])[A-Za-z0-9+/]{32}"
)


def looks_secret(name: str) -> bool:
    """Return whether the name has one of SECRET_WORDS, in any case, or matches SECRET_PATTERN."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")  # unseen
    words = {word.casefold() for word in NAME_WORD_PATTERN.findall(plain)}
    words |= set(LETTERS_PATTERN.findall(plain.casefold()))
    return not words.isdisjoint(SECRET_WORDS) or SECRET_PATTERN.search(plain) is not None


def redact_project_name(project: str) -> str:
    """Return the name, or `project-` with twelve hexadecimal digits of its SHA-256 if it looks secret.

    Idempotent: a redacted name does not look secret, so the true name and the redacted one find the same rows.
    """
    if not looks_secret(project):
        return project
    return f"project-{hashlib.sha256(project.encode()).hexdigest()[:12]}"
