"""Names of projects: those that look secret are never kept or shown, yet still found by whoever knows them."""

import hashlib
import re
import unicodedata

from sessions_app.models import KEY_PREFIX

#: Parts of a name that say it is nobody else's business.
SECRET_WORDS = frozenset(
    ("secret", "secrets", "password", "passwords", "passwd", "token", "tokens", "credential", "credentials")
    + (
        "passphrase",
        "passphrases",
        "pwd",
        "creds",
        "confidential",
        "private",
        "key",
        "keys",
        "apikey",
        "apikeys",
        "secretkey",
        "privatekey",
        "accesskey",
    )
)
# A name in capitals, or one of small letters that may begin with a capital: ourAPIKeys is our, API and Keys.
NAME_WORD_PATTERN = re.compile(r"[^\W\d_a-z]+(?![a-z])|[^\W\d_]?[a-z]+")
# What is a secret itself: keys of model vendors, our own, Amazon's, GitHub's and Slack's, signed tokens, and anything
# of 32 or more hexadecimal digits, or as many letters and digits of base64 in which both occur.
SECRET_PATTERN = re.compile(
    rf"\bsk-\w|\b{KEY_PREFIX}\w|\b(?:AKIA|ASIA)[0-9A-Z]{{8}}|\bgh[pousr]_\w|\bgithub_pat_|\bxox[a-z]-|\beyJ[\w-]{{8}}"
    r"|(?<![0-9a-fA-F])[0-9a-fA-F]{32}"
    r"|(?<![A-Za-z0-9+/])(?=[A-Za-z+/]*[0-9])(?=[0-9+/]*[A-Za-z])[A-Za-z0-9+/]{32}"
)


def looks_secret(name: str) -> bool:
    """Whether one of its words is one of SECRET_WORDS, in whatever case, or it looks like a secret itself."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")  # unseen
    words = {word.casefold() for word in NAME_WORD_PATTERN.findall(plain)} | set(
        re.findall(r"[^\W\d_]+", plain.casefold())
    )
    return not words.isdisjoint(SECRET_WORDS) or SECRET_PATTERN.search(plain) is not None


def redact_project_name(project: str) -> str:
    """The name, or `project-` with twelve hexadecimal digits of its SHA-256 when it looks secret. Masking a masked name
    changes nothing, so the true name and the one that is shown find the same."""
    if not looks_secret(project):
        return project
    return f"project-{hashlib.sha256(project.encode()).hexdigest()[:12]}"
