"""What must not be sent."""

import re

import pytest
from memory_hooks.cleaning import MASK, clean

CLEANED = {
    "injected": ("a <recalled-memories>\nold\n</recalled-memories> b", "a  b"),
    "injected-unclosed": ("a <recalled-memories> old", "a"),
    "reminder": ("<system-reminder>x</system-reminder>a", "a"),
    "private": ("a <private>PIN 1234</private> b <PRIVATE >x", "a  b"),
    "private-with-control-characters": ("a <pri\x00vate>PIN\x1b</private> b", "a  b"),
    "control-characters": ("a\x00\x1b[31m\ud83d b\n\tc", "a[31m b\n\tc"),
}
SECRETS = {
    "openai": "sk-proj-abcDEF1234567890abcd",
    "anthropic": "sk-ant-api03-abcDEF1234567890",
    "github": "ghp_abcDEF1234567890abcDEF1234567890",
    "slack": "xoxb-1234567890-abcdef",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "google": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "our-own": "mem_0123456789abcdef_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
    "jwt": "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc_def",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "bearer": "Bearer abcdefghij0123456789",
    "assignment": 'DB_PASSWORD="hunter2hunter2"',
    "yaml": "api_key: abcdefgh12345",
    "address": "postgres://ada:sesame@db/x",
}


@pytest.mark.parametrize("case", CLEANED)
def test_what_must_not_be_sent_is_removed(case):
    text, cleaned = CLEANED[case]
    assert clean(text) == (cleaned, case.startswith("private"))


@pytest.mark.parametrize("case", SECRETS)
def test_secrets_are_masked(case):
    text = clean(f"before {SECRETS[case]} after").text
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert MASK in text
    for word in re.findall(r"\w{6,}", SECRETS[case].replace("PRIVATE", "")):
        assert word in ("Bearer", "DB_PASSWORD", "api_key", "postgres") or word not in text


@pytest.mark.parametrize(
    "text",
    ["def f(token): return token", "the password is in the vault", "task-list and sk-learn", "https://a.b/c?d=e"],
)
def test_ordinary_text_is_left_alone(text):
    assert clean(text) == (text, False)
