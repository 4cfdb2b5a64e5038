"""Which project names are redacted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.insights.redaction import redact_project_name


@pytest.mark.parametrize(
    "name",
    ["shop", "memory-site", "keyboard", "monkey", "tokenizer", "secretary", "privateer", "django.contrib.auth", "über"]
    + ["passage", "keynote", "my_project_2", "a1b2c3d4", "org/repo", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "SK", "sk"]
    + ["authentication-service-for-everybody-here", "x" * 255],
)
def test_plain_names_stay(name):
    assert redact_project_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["secret", "my-secret-project", "SecretProject", "SECRET_STORE", "ourSecrets", "passwords", "password.db", "passwd"]
    + ["token-service", "userToken", "credentials", "credential", "confidential plans", "private", "api key", "apiKey"]
    + [
        "MyAPIKeys",
        "api_keys",
        "apikey",
        "ssh-key",
        "keys",
        "ｓｅｃｒｅｔ",
        "sk-abc123",
        "mem_1_abc",
        "AKIAIOSFODNN7EXAMPLE",
    ]
    + ["ghp_0123456789", "0123456789abcdef0123456789abcdef", "dGhpcyBpcyBhIHNlY3JldCBrZXkgaW5kZWVk1234"],
)
def test_secret_names_become_a_hash(name):
    hidden = redact_project_name(name)
    assert hidden.startswith("project-")
    assert len(hidden) == 20
    assert set(hidden[8:]) <= set("0123456789abcdef")


def test_different_secret_names_stay_different():
    assert redact_project_name("secret-a") != redact_project_name("secret-b")


def test_hash_is_the_sha256_of_the_name():
    assert redact_project_name("secret") == "project-2bb80d537b1d"


@given(st.text(max_size=255))
def test_redaction_is_idempotent(name):
    assert redact_project_name(redact_project_name(name)) == redact_project_name(name)
