"""The commands create_api_key and revoke_api_key."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from sessions_app import auth
from sessions_app.commands import format_cell
from sessions_app.models import ApiKey, Namespace
from tests.wire import is_problem

pytestmark = pytest.mark.django_db


def run_command(capsys, *words: object) -> tuple[str, str]:
    """Return what the command prints on stdout and on stderr."""
    call_command(*map(str, words))
    return capsys.readouterr()


def run_refused_command(*words: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(*map(str, words))
    return caught.value


def test_new_token_is_alone_on_stdout_and_gives_access(capsys, api):
    out, err = run_command(capsys, "create_api_key", "--namespace", "team")
    token = out.strip()
    assert out == f"{token}\n"
    assert token.startswith("mem_")
    assert "new namespace 'team'" in err
    caller = type(api)(token)
    assert caller.add("tea")["created"]
    assert caller.get("/summary").json()["total_memories"] == 1
    assert api.get("/summary").json()["total_memories"] == 0


def test_second_key_gives_access_to_the_same_namespace(capsys, api):
    tokens = [run_command(capsys, "create_api_key", "--namespace", "team").out.strip() for _ in range(2)]
    first, second = map(type(api), tokens)
    assert second.get(f"/memories/{first.add('tea')['id']}").status_code == 200
    assert Namespace.objects.filter(name="team").count() == 1


def test_name_scopes_and_expiry_can_be_set(capsys, api):
    words = ("--scopes", "read", "read", "--name", "for the dashboard", "--expires-in-days", 30)
    token = run_command(capsys, "create_api_key", "--namespace", "team", *words).out.strip()
    key = ApiKey.objects.get(namespace__name="team")
    assert (key.scopes, key.name) == (["read"], "for the dashboard")
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert is_problem(type(api)(token).post("/memories", {"content": "tea"}), 403)


def test_default_key_reads_and_writes_and_never_expires(capsys):
    run_command(capsys, "create_api_key", "--namespace", "team")
    key = ApiKey.objects.get(namespace__name="team")
    assert (key.scopes, key.expires_at) == (["read", "write"], None)


@pytest.mark.parametrize(
    "words",
    [
        ("--namespace", ""),
        ("--namespace", "  "),
        ("--namespace", "x" * 256),
        ("--namespace", "team", "--name", "x" * 256),
        ("--namespace", "team", "--expires-in-days", "0"),
        ("--namespace", "team", "--expires-in-days", "-1"),
        ("--namespace", "team", "--expires-in-days", "99999999"),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_invalid_value_is_a_usage_error(words):
    assert run_refused_command("create_api_key", *words).returncode == 2
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize(
    "words", [(), ("--namespace", "team", "--scopes", "root"), ("--namespace", "team", "--scopes")]
)
def test_parser_error_creates_no_key(words):
    run_refused_command("create_api_key", *words)
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize("how", ["token", "id", "mem_id"])
def test_revoked_key_is_refused(capsys, api, how):
    key = ApiKey.objects.get()
    assert api.get("/memories").status_code == 200
    out = run_command(capsys, "revoke_api_key", {"token": api.token, "id": key.id, "mem_id": f"mem_{key.id}"}[how]).out
    assert out == f"mem_{key.id}_… is revoked.\n"
    auth.caller_cache.clear()
    assert is_problem(api.get("/memories"), 401)


def test_second_revocation_is_reported(capsys, api):
    run_command(capsys, "revoke_api_key", api.token)
    assert "was already revoked" in run_command(capsys, "revoke_api_key", api.token).out


def test_revocation_does_not_print_the_secret(capsys, api):
    out, err = run_command(capsys, "revoke_api_key", api.token)
    assert api.token[13:] not in out + err


@pytest.mark.parametrize("key", ["nobody", "mem_nobody_x", "", "mem_", "x" * 1000, "é"])
def test_unknown_key_is_a_usage_error(api, key):
    error = run_refused_command("revoke_api_key", key)
    assert error.returncode == 2
    assert ApiKey.objects.get().revoked_at is None


def test_a_role_without_rights_is_told_so_in_one_sentence():
    with connection.cursor() as cursor:
        cursor.execute("REVOKE ALL ON sessions_app_apikey FROM CURRENT_USER")
    error = run_refused_command("revoke_api_key", "none")
    assert str(error) == "The site's role has too few rights: permission denied for table sessions_app_apikey."


def test_what_a_terminal_would_obey_is_not_printed(capsys):
    Namespace.objects.create(name="a\n\x1b[2Jb")
    error = run_refused_command("delete_expired", "--namespace", "none")
    assert "a\ufffd\ufffd[2Jb" in str(error)
    assert format_cell("a\x1b[2J\u202e\nb é 猫", None) == "a\ufffd[2J\ufffd b é 猫"


def test_times_in_tables_are_whole_seconds():
    assert format_cell(datetime(2026, 5, 1, 9, 30, 5, 123456, tzinfo=UTC), None) == "2026-05-01 09:30:05+00:00"
