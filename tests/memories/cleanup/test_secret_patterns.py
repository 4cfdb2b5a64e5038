"""What looks like a secret, what does not, and that nothing shows one whole."""

import time

import pytest

from memories.cleanup.secret_patterns import PATTERNS, excerpt, find_secrets, mask
from sessions_app.models import ApiKey

# Put together, so that no scanner of sources takes them for real ones.
#: The square of the length would take minutes.
MAX_SECONDS = 20
RANDOM = "Zk3vQ9xT1LmB7aWcR2yHd8NfS5uJ0pEg"
SECRETS = {
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----",
    "AWS key": "AKIA" + "IOSFODNN7QWERTYU",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "x7Yz" * 5,
    "Slack token": "xoxb-" + "1234567890-abcdef",
    "Google key": "AIza" + "Sy4" * 11 + "ab",
    "Stripe key": "sk_live_" + "4eC39HqLyjWDarjt",
    "model provider key": "sk-ant-" + "api03-" + "x1Y2" * 8,
    "mail provider key": "SG." + "a1b2" * 5 + "." + "c3d4" * 8,
    "package registry token": "npm_" + "q1W2" * 9,
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N",
    "password in a URL": "postgres://shop:" + "hunter2!" + "@db.internal/shop",
    "password": "password: " + "tr0ub4dor&3",
    "random string": RANDOM,
}
HARMLESS = [
    "The password of the guest network is printed on the back of the calendar.",
    "password: <your password>, token=$TOKEN, api_key: changeme-please-1",
    "https://user:password@example.com/path and https://example.com:8080/a@b",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "digest e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "01a22cc7-557f-7d1b-ba03-420cc76b055d is the id of a memory",
    "/usr/lib/python3.11/site-packages/django/contrib/admin/templates/Password",
    "memories.cleanup.secret_patterns.find_secrets_in_every_text_of_version_2_Of_the_module",
    "skeleton-service-configuration and sk-short",
    "A token is revoked when the secret is rotated; the API key is shown once.",
]


@pytest.mark.parametrize("kind", SECRETS)
def test_secret_is_found_in_the_middle_of_a_sentence(kind):
    text = f"Remember this: {SECRETS[kind]} is what the server wants."
    assert [found.kind for found in find_secrets(text)] == [kind]


def test_every_kind_has_an_example():
    assert {*SECRETS, "memory site key"} == set(PATTERNS)


@pytest.mark.django_db
def test_our_own_key_is_found(namespace):
    _, token = ApiKey.objects.issue(namespace)
    assert [found.kind for found in find_secrets(f"The key is {token}.")] == ["memory site key"]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_has_none(text):
    assert find_secrets(text) == []


@pytest.mark.parametrize("kind", SECRETS)
def test_masked_text_and_excerpt_show_at_most_a_quarter(kind):
    text = f"Before {SECRETS[kind]} after, and again {SECRETS[kind]}."
    for shown in (mask(text), excerpt(text)):
        found = find_secrets(text)[0]
        secret = text[found.start : found.end]
        assert secret not in shown and secret[5:] not in shown
        assert "Before" in shown


@pytest.mark.parametrize(
    "part", ["a.", "eyJ-", "-----BEGIN A ", "password ", "x://", "sk-", "a:b@"], ids=["1", "2", "3", "4", "5", "6", "7"]
)
def test_time_grows_with_the_length_of_the_text(part):
    began = time.process_time()
    find_secrets(part * (100_000 // len(part)))
    assert time.process_time() - began < MAX_SECONDS
