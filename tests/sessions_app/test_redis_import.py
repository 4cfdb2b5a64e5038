"""The command import_sessions: sessions imported from a Redis or Valkey server."""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from io import RawIOBase
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from redis import Redis

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory
from sessions_app import history
from sessions_app.management.commands import import_sessions
from sessions_app.models import Namespace, SessionMemory
from tests.stack.stack import MANAGE, build_environment
from tests.wire import is_lock_awaited, run_at_once

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC).replace(microsecond=0)
NAMESPACE_OPTION = ("--namespace", "ours")


@pytest.fixture(autouse=True)
def be_patient(monkeypatch) -> None:
    monkeypatch.setattr(import_sessions, "TIMEOUT_SECONDS", 60.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with Broker(DataDirectory(Path(directory) / "home")) as broker:
            yield broker


@pytest.fixture
def url(server) -> str:
    return f"unix://{quote(str(server.home.broker_socket))}"


@pytest.fixture
def redis(server) -> Iterator[Redis]:
    """The server to import from, empty at first."""
    with Redis(unix_socket_path=str(server.home.broker_socket)) as client:
        client.flushall()
        yield client


def format_time_ago(**distance: float) -> str:
    return (NOW - timedelta(**distance)).isoformat()


def build_interaction(query: str, answer: str = "yes", **more: object) -> dict:
    return {"query": query, "answer": answer, **more}


def push_interactions(redis: Redis, key: str, *interactions: object) -> None:
    redis.rpush(key, *map(json.dumps, interactions))


def run_import(capsys, url: str, *words: object) -> tuple[str, str]:
    """Return what the command prints on stdout and on stderr."""
    call_command("import_sessions", url, *NAMESPACE_OPTION, *map(str, words))
    return capsys.readouterr()


def run_refused_command(url: str, *words: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command("import_sessions", url, *NAMESPACE_OPTION, *map(str, words))
    return caught.value


def load_history(namespace: Namespace, session: str) -> list[dict]:
    """Return the interactions, oldest first."""
    return history.fetch_context(namespace.pk, session, 1000)[::-1]


def list_queries(namespace: Namespace, session: str) -> list[str]:
    return [each["query"] for each in load_history(namespace, session)]


def parse_summary(out: str) -> list[int]:
    """Return the counts of the summary: sessions, added, existing, too old, surplus, skipped."""
    words = out.replace(",", "").split()
    return [int(word) for word in words if word.isdigit()]


# Reading


def test_list_is_imported_with_its_times(capsys, namespace, redis, url):
    push_interactions(
        redis,
        "session:monday",
        build_interaction("one", "1", timestamp=format_time_ago(hours=2)),
        build_interaction("two", "2", timestamp=format_time_ago(hours=1)),
    )
    out, err = run_import(capsys, url)
    assert [
        (each["query"], each["answer"], datetime.fromisoformat(each["timestamp"]))
        for each in load_history(namespace, "monday")
    ] == [("one", "1", NOW - timedelta(hours=2)), ("two", "2", NOW - timedelta(hours=1))]
    assert out == (
        "1 sessions: 2 interactions added, 0 already existed, 0 too old, 0 over the history limit; 0 skipped.\n"
    )
    assert "1 of 1 sessions are done" in err
    assert len(err.splitlines()) == 1


def test_string_with_json_array_is_imported(capsys, namespace, redis, url):
    redis.set(
        "session:monday",
        json.dumps(
            [
                build_interaction("one", timestamp=format_time_ago(hours=2)),
                build_interaction("two", timestamp=format_time_ago(hours=1)),
            ]
        ),
    )
    run_import(capsys, url)
    assert list_queries(namespace, "monday") == ["one", "two"]


@pytest.mark.parametrize("turn", [1, -1], ids=["oldest first", "newest first"])
def test_interactions_are_sorted_by_time_then_by_direction_of_the_list(capsys, namespace, redis, url, turn):
    times = [
        format_time_ago(hours=3),
        format_time_ago(hours=2),
        format_time_ago(hours=2),
        format_time_ago(hours=2),
        format_time_ago(hours=1),
    ]
    push_interactions(
        redis,
        "session:monday",
        *[build_interaction(f"number {n}", timestamp=time) for n, time in enumerate(times)][::turn],
    )
    run_import(capsys, url)
    assert list_queries(namespace, "monday") == [f"number {n}" for n in range(5)]


def test_interactions_without_times_keep_their_order_and_get_time_of_import(capsys, namespace, redis, url):
    push_interactions(redis, "session:monday", *[build_interaction(f"number {n}") for n in range(5)])
    run_import(capsys, url)
    assert list_queries(namespace, "monday") == [f"number {n}" for n in range(5)]
    assert datetime.now(UTC) - datetime.fromisoformat(load_history(namespace, "monday")[0]["timestamp"]) < timedelta(
        minutes=1
    )


def test_interaction_without_time_stays_beside_its_neighbours(capsys, namespace, redis, url):
    first, last = (
        build_interaction("b", timestamp=format_time_ago(hours=3)),
        build_interaction("d", timestamp=format_time_ago(hours=1)),
    )
    push_interactions(
        redis,
        "session:monday",
        build_interaction("a"),
        first,
        build_interaction("c"),
        last,
        build_interaction("e", timestamp=None),
    )
    run_import(capsys, url)
    assert list_queries(namespace, "monday") == ["a", "b", "c", "d", "e"]


def test_interactions_without_times_come_before_existing_ones(capsys, namespace, redis, url):
    history.add(namespace.pk, "monday", [build_interaction("here")])
    push_interactions(redis, "session:monday", build_interaction("a"), build_interaction("b"))
    run_import(capsys, url)
    assert list_queries(namespace, "monday") == ["a", "b", "here"]


@pytest.mark.parametrize(
    "written",
    [
        format_time_ago(hours=1),
        format_time_ago(hours=1).replace("+00:00", "Z"),
        format_time_ago(hours=1).removesuffix("+00:00"),
        (NOW - timedelta(hours=1)).astimezone(timezone(timedelta(hours=5))).isoformat(),
        (NOW - timedelta(hours=1)).timestamp(),
        int((NOW - timedelta(hours=1)).timestamp()),
    ],
    ids=["with offset", "Z", "naive is UTC", "another zone", "seconds", "whole seconds"],
)
@pytest.mark.parametrize("form", ["list", "string"])
def test_time_formats_are_accepted(capsys, namespace, redis, url, written, form):
    one = build_interaction("one", timestamp=written)
    redis.set("session:monday", json.dumps([one])) if form == "string" else push_interactions(
        redis, "session:monday", one
    )
    run_import(capsys, url)
    assert [each["timestamp"] for each in load_history(namespace, "monday")] == [
        f"{format_time_ago(hours=1)[:19]}.000000+00:00"
    ]


def test_pattern_and_prefix_select_keys_and_ids(capsys, namespace, redis, url):
    for key in ("chat/1", "chat/2/é", "session:3", "chat"):
        push_interactions(redis, key, build_interaction(key))
    run_import(capsys, url, "--pattern", "chat/*", "--prefix", "chat/")
    assert set(SessionMemory.objects.values_list("session_id", flat=True)) == {"1", "2/é"}


def test_unknown_fields_are_ignored(capsys, namespace, redis, url):
    push_interactions(redis, "session:monday", build_interaction("one", model="gpt", tokens=[1]))
    run_import(capsys, url)
    assert load_history(namespace, "monday")[0].keys() == {"query", "answer", "timestamp"}


@pytest.mark.parametrize("form", ["unix://{path}", "redis+socket://{path}", "redis+socket://{path}?virtual_host=0"])
def test_celery_address_schemes_are_accepted(capsys, namespace, redis, server, form):
    push_interactions(redis, "session:monday", build_interaction("one"))
    run_import(capsys, form.format(path=quote(str(server.home.broker_socket))))
    assert list_queries(namespace, "monday") == ["one"]


def test_database_number_is_respected(capsys, namespace, redis, url):
    push_interactions(redis, "session:monday", build_interaction("one"))
    assert parse_summary(run_import(capsys, f"{url}?db=3").out)[0] == 0


def test_import_changes_nothing_on_the_other_server(capsys, namespace, redis, url):
    push_interactions(redis, "session:monday", build_interaction("one"))
    before = redis.dump("session:monday")
    run_import(capsys, url)
    assert redis.keys() == [b"session:monday"]
    assert redis.dump("session:monday") == before


def test_import_adds_to_the_named_namespace_only(capsys, api, namespace, outsider, redis, url):
    push_interactions(redis, "session:monday", build_interaction("one"))
    run_import(capsys, url)
    assert outsider.get("/sessions").json()["results"] == []
    assert api.get("/sessions/monday/context").json()["interactions"][0]["query"] == "one"


# Repeated imports


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("dated", ["all", "none", "some"])
def test_repeated_import_adds_nothing(capsys, settings, namespace, redis, url, dated, encrypted):
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()] if encrypted else []
    times = {"all": (3, 2, 1, 1), "none": (None,) * 4, "some": (None, 2, None, 1)}[dated]
    push_interactions(
        redis,
        "session:monday",
        *[build_interaction(f"{n}", timestamp=time and format_time_ago(hours=time)) for n, time in enumerate(times)],
    )
    run_import(capsys, url)
    before = SessionMemory.objects.values().get()
    assert parse_summary(run_import(capsys, url).out) == [1, 0, 4, 0, 0, 0]
    assert SessionMemory.objects.values().get() == before
    assert list_queries(namespace, "monday") == ["0", "1", "2", "3"]


@pytest.mark.parametrize("time", [None, format_time_ago(hours=1)], ids=["without time", "with time"])
def test_equal_interactions_are_imported_as_often_as_they_occur(capsys, namespace, redis, url, time):
    push_interactions(redis, "session:monday", *[build_interaction("and now?", timestamp=time)] * 2)
    assert parse_summary(run_import(capsys, url).out)[1] == 2
    assert parse_summary(run_import(capsys, url).out)[1:3] == [0, 2]
    assert list_queries(namespace, "monday") == ["and now?"] * 2


def test_equal_text_at_another_time_is_another_interaction(capsys, namespace, redis, url):
    history.add(namespace.pk, "monday", [build_interaction("one")])
    push_interactions(redis, "session:monday", build_interaction("one", timestamp=format_time_ago(hours=1)))
    assert parse_summary(run_import(capsys, url).out)[1] == 1


@pytest.mark.parametrize("dated", [True, False])
def test_repeated_import_adds_only_new_interactions(capsys, namespace, redis, url, dated):
    turns = [
        build_interaction(f"{n}", **({"timestamp": format_time_ago(minutes=10 - n)} if dated else {})) for n in range(5)
    ]
    push_interactions(redis, "session:monday", *turns[:3])
    run_import(capsys, url)
    history.add(namespace.pk, "monday", [build_interaction("here")])
    push_interactions(redis, "session:monday", *turns[3:])
    assert parse_summary(run_import(capsys, url).out) == [1, 2, 3, 0, 0, 0]
    assert list_queries(namespace, "monday") == ["0", "1", "2", "3", "4", "here"]


@pytest.mark.parametrize("dated", [True, False])
def test_newest_are_kept_and_dropped_ones_are_not_imported_again(capsys, settings, namespace, redis, url, dated):
    settings.MEMORY_MAX_CONTEXT_LENGTH = 5
    push_interactions(
        redis,
        "session:monday",
        *[
            build_interaction(f"{n}", **({"timestamp": format_time_ago(minutes=9 - n)} if dated else {}))
            for n in range(8)
        ],
    )
    assert parse_summary(run_import(capsys, url).out) == [1, 5, 0, 0, 3, 0]
    history.add(namespace.pk, "monday", [build_interaction("here"), build_interaction("and here")])
    expected = ["5", "6", "7", "here", "and here"]
    assert list_queries(namespace, "monday") == expected
    for _ in range(2):
        assert parse_summary(run_import(capsys, url).out) == [1, 0, 3, 0, 5, 0]
        assert list_queries(namespace, "monday") == expected


# Expired interactions


def test_expired_interactions_are_counted_and_not_stored(capsys, namespace, redis, url):
    push_interactions(
        redis,
        "session:monday",
        build_interaction("old", timestamp=format_time_ago(hours=25)),
        build_interaction("young", timestamp=format_time_ago(hours=12)),
    )
    push_interactions(redis, "session:sunday", build_interaction("older", timestamp=format_time_ago(days=3)))
    assert parse_summary(run_import(capsys, url).out) == [2, 1, 0, 2, 0, 0]
    assert list_queries(namespace, "monday") == ["young"]
    assert [session.session_id for session in SessionMemory.objects.all()] == ["monday"]


def test_given_time_to_live_applies_before_expiry(capsys, namespace, redis, url):
    push_interactions(
        redis,
        "session:monday",
        build_interaction("old", timestamp=format_time_ago(hours=70)),
        build_interaction("older", timestamp=format_time_ago(hours=73)),
    )
    assert parse_summary(run_import(capsys, url, "--ttl-hours", 72).out) == [1, 1, 0, 1, 0, 0]
    assert list_queries(namespace, "monday") == ["old"]
    assert SessionMemory.objects.get().ttl_hours == 72


@pytest.mark.parametrize(("own", "given", "then"), [(None, 72, 72), (48, 72, 72), (96, 72, 96), (None, 12, None)])
def test_import_never_shortens_time_to_live(capsys, namespace, redis, url, own, given, then):
    history.add(
        namespace.pk, "monday", [build_interaction("here", timestamp=f"{format_time_ago(hours=20)[:19]}.000000+00:00")]
    )
    SessionMemory.objects.update(ttl_hours=own)
    push_interactions(redis, "session:monday", build_interaction("one", timestamp=format_time_ago(hours=1)))
    run_import(capsys, url, "--ttl-hours", given)
    assert SessionMemory.objects.get().ttl_hours == then
    assert list_queries(namespace, "monday") == ["here", "one"]


def test_expired_session_starts_empty(capsys, namespace, redis, url):
    history.add(namespace.pk, "monday", [build_interaction("over")])
    SessionMemory.objects.update(updated_at=NOW - timedelta(hours=25))
    push_interactions(redis, "session:monday", build_interaction("one"))
    run_import(capsys, url, "--ttl-hours", 72)
    assert list_queries(namespace, "monday") == ["one"]


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1e9"])
def test_invalid_time_to_live_is_a_usage_error(namespace, url, hours):
    error = run_refused_command(url, "--ttl-hours", hours)
    assert error.returncode == 2
    assert "--ttl-hours must be above 0" in str(error)


# What is wrong there


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("not json", "Invalid JSON"),
        ("[]", "index 1"),
        ("null", "index 1"),
        ('{"query": "x"}', "answer: Field required"),
        ('{"query": "", "answer": "x"}', "query"),
        ('{"query": " ", "answer": "x"}', "query: may not be blank"),
        ('{"query": "a\\u0000b", "answer": "x"}', "NUL"),
        ('{"query": "\\ud800", "answer": "x"}', "index 1"),
        ('{"query": 5, "answer": "x"}', "query"),
        (json.dumps(build_interaction("x", "y" * 100_001)), "answer"),
        (json.dumps(build_interaction("x", timestamp="yesterday")), "timestamp"),
        (json.dumps(build_interaction("x", timestamp=True)), "timestamp"),
        (json.dumps(build_interaction("x", timestamp=float("nan"))), "timestamp"),
        (json.dumps(build_interaction("x", timestamp=1e300)), "timestamp: must lie between 2000 and 2200"),
        (json.dumps(build_interaction("x", timestamp=10**400)), "index 1"),
        (json.dumps(build_interaction("x", timestamp=1_700_000_000_000)), "timestamp"),
        (json.dumps(build_interaction("x", timestamp=0)), "timestamp: must lie between 2000 and 2200"),
        (
            json.dumps(build_interaction("x", timestamp="2199-01-01T00:00:00Z")),
            "timestamp: may lie at most an hour in the future",
        ),
        (b'{"query": "\xff", "answer": "x"}', "index 1"),
        ("[" * 100_000, "index 1"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_invalid_interaction_skips_its_session_only(capsys, namespace, redis, url, bad, message):
    push_interactions(redis, "session:bad", build_interaction("fine"))
    redis.rpush("session:bad", bad)
    for key in ("session:aaa", "session:zzz"):
        push_interactions(redis, key, build_interaction("fine"))
    error = run_refused_command(url)
    out, err = capsys.readouterr()
    assert error.returncode == 1
    assert parse_summary(out) == [2, 2, 0, 0, 0, 1]
    [line] = [line for line in err.splitlines() if "session:bad" in line]
    assert "index 1" in line
    assert message in line
    assert set(SessionMemory.objects.values_list("session_id", flat=True)) == {"aaa", "zzz"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "not JSON"),
        ("[", "not JSON"),
        ('{"query": "x", "answer": "y"}', "not an array"),
        ("5", "not an array"),
        ('[{"query": "x", "answer": "y"}, {"query": "x"}]', "index 1: answer: Field required"),
        (b"[\xff]", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_invalid_string_is_reported(capsys, namespace, redis, url, bad, message):
    redis.set("session:bad", bad)
    assert run_refused_command(url).returncode == 1
    assert message in capsys.readouterr().err
    assert SessionMemory.objects.count() == 0


def test_many_errors_of_one_session_are_abbreviated(capsys, namespace, redis, url):
    redis.rpush("session:bad", *["x"] * 1000)
    run_refused_command(url)
    err = capsys.readouterr().err
    assert "and 990 more" in err
    assert len(err.splitlines()) < 20


@pytest.mark.parametrize(
    "fill",
    [
        lambda redis: redis.hset("session:bad", "a", "b"),
        lambda redis: redis.sadd("session:bad", "a"),
        lambda redis: redis.zadd("session:bad", {"a": 1}),
        lambda redis: redis.xadd("session:bad", {"a": 1}),
    ],
    ids=["hash", "set", "sorted set", "stream"],
)
def test_value_of_another_type_is_reported(capsys, namespace, redis, url, fill):
    fill(redis)
    push_interactions(redis, "session:monday", build_interaction("one"))
    assert run_refused_command(url).returncode == 1
    assert "'session:bad': it is a " in capsys.readouterr().err
    assert list_queries(namespace, "monday") == ["one"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (b"session:", "at least 1"),
        (b"session:" + b"x" * 256, "at most 255"),
        (b"session:a\nb", "control characters"),
        (b"session:a\x1b[31mb", "control characters"),
        (b"session:a\x00b", "NUL"),
        (b"session:\xff", "not UTF-8"),
        (b"session: ", "blank"),
        (b"other:monday", "does not begin with 'session:'"),
    ],
    ids=repr,
)
def test_key_without_valid_session_id_is_reported(capsys, namespace, redis, url, key, message):
    push_interactions(redis, key, build_interaction("one"))
    push_interactions(redis, "session:monday", build_interaction("one"))
    assert run_refused_command(url, "--pattern", "*").returncode == 1
    out, err = capsys.readouterr()
    assert message in err
    assert "\x1b" not in err
    assert parse_summary(out)[0] == 1
    assert [session.session_id for session in SessionMemory.objects.all()] == ["monday"]


def test_unreadable_session_is_skipped_and_reported(capsys, settings, namespace, redis, url):
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    history.add(namespace.pk, "closed", [build_interaction("here")])
    before = SessionMemory.objects.values().get()
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    for key in ("session:closed", "session:open"):
        push_interactions(redis, key, build_interaction("one"))
    assert run_refused_command(url, "--ttl-hours", 72).returncode == 1
    assert "'session:closed': " in (err := capsys.readouterr().err)
    assert "SESSION_ENCRYPTION_KEYS" in err
    assert SessionMemory.objects.values().get(session_id="closed") == before
    assert list_queries(namespace, "open") == ["one"]


# Dry run


def test_dry_run_prints_the_same_counts_and_changes_nothing(capsys, namespace, redis, url):
    history.add(namespace.pk, "monday", [build_interaction("here")])
    push_interactions(
        redis,
        "session:monday",
        build_interaction("two", timestamp=format_time_ago(days=2)),
        build_interaction("one", timestamp=format_time_ago(hours=1)),
    )
    push_interactions(redis, "session:tuesday", build_interaction("one"))
    before = list(SessionMemory.objects.values())
    dry = run_import(capsys, url, "--dry-run", "--ttl-hours", 30).out
    assert list(SessionMemory.objects.values()) == before
    assert "would be added" in dry
    assert parse_summary(dry) == parse_summary(run_import(capsys, url, "--ttl-hours", 30).out) == [2, 2, 0, 1, 0, 0]


def test_empty_server_gives_zero_counts(capsys, namespace, redis, url):
    assert parse_summary(run_import(capsys, url).out) == [0] * 6


# Concurrency


def wait_for(condition, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("exists", [True, False], ids=["a session that is there", "a new one"])
def test_concurrent_addition_is_not_lost(namespace, redis, url, exists):
    if exists:
        history.add(
            namespace.pk,
            "monday",
            [build_interaction("before", timestamp=f"{format_time_ago(hours=2)[:19]}.000000+00:00")],
        )
    push_interactions(redis, "session:monday", build_interaction("imported", timestamp=format_time_ago(hours=1)))
    with transaction.atomic():
        history.add(namespace.pk, "monday", [build_interaction("meanwhile")])
        importing = threading.Thread(
            target=partial(run_at_once, [lambda: call_command("import_sessions", url, *NAMESPACE_OPTION)])
        )
        importing.start()
        assert wait_for(is_lock_awaited)
    importing.join(60)
    assert list_queries(namespace, "monday") == ["before"] * exists + ["imported", "meanwhile"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("dated", [True, False])
def test_concurrent_imports_and_additions_lose_nothing(namespace, redis, url, dated):
    for session in range(10):
        turns = [
            build_interaction(f"{n}", **({"timestamp": format_time_ago(minutes=9 - n)} if dated else {}))
            for n in range(5)
        ]
        push_interactions(redis, f"session:{session}", *turns)

    def run_import_command() -> None:
        call_command("import_sessions", url, *NAMESPACE_OPTION)

    def add_interactions() -> None:
        for number in range(30):
            history.add(namespace.pk, f"{number % 10}", [build_interaction("here")])

    run_at_once([run_import_command, run_import_command, add_interactions])
    for session in range(10):
        assert sorted(list_queries(namespace, f"{session}")) == ["0", "1", "2", "3", "4", "here", "here", "here"]


# Unavailable servers


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "x",
        "http://localhost",
        "redis:localhost",
        "localhost:6379",
        "postgresql://h/d",
        "redis://h:port",
        "redis://h/x",
    ],
)
def test_invalid_address_is_a_usage_error(namespace, bad):
    error = run_refused_command(bad)
    assert error.returncode == 2
    assert "not the address of a Redis or Valkey server" in str(error)


@pytest.mark.parametrize("options", ["db=x", "colour=red", "socket_timeout=soon"])
def test_unknown_address_option_is_a_usage_error(namespace, redis, url, options):
    assert run_refused_command(f"{url}?{options}").returncode == 2


@pytest.mark.parametrize("nowhere", ["redis://127.0.0.1:1", "unix:///nowhere", "rediss://:secret@127.0.0.1:1/0"])
def test_unreachable_server_is_a_short_error(namespace, nowhere):
    error = run_refused_command(nowhere)
    assert error.returncode == 1
    assert str(error).startswith("The server cannot be used: ")
    assert "secret" not in str(error)


def test_wrong_password_is_a_short_error(namespace, redis, url):
    redis.config_set("requirepass", "right")
    try:
        for address in (url, url.replace("unix://", "unix://:wrong@")):
            error = run_refused_command(address)
            assert error.returncode == 1
            assert "wrong" not in str(error)
    finally:
        redis.config_set("requirepass", "")


def test_password_in_address_is_used(capsys, namespace, redis, url):
    push_interactions(redis, "session:monday", build_interaction("one"))
    redis.config_set("requirepass", "a b")
    try:
        run_import(capsys, url.replace("unix://", "unix://:a%20b@"))
    finally:
        redis.config_set("requirepass", "")
    assert list_queries(namespace, "monday") == ["one"]


def test_frozen_server_times_out(monkeypatch, namespace, server, url):
    monkeypatch.setattr(import_sessions, "TIMEOUT_SECONDS", 0.3)
    process = psutil.Process(server.pid)
    process.suspend()
    try:
        assert run_refused_command(url).returncode == 1
    finally:
        process.resume()


def test_lost_connection_is_an_error_with_the_progress(capsys, monkeypatch, namespace, redis, url):
    for n in range(4):
        push_interactions(redis, f"session:{n}", build_interaction("one"))
    monkeypatch.setattr(import_sessions, "READ_BATCH_SIZE", 2)
    merge_session, merged = import_sessions.merge_session, []

    def disconnect_at_second(**arguments):
        merged.append(arguments)
        if len(merged) == 2:
            for other in redis.client_list():
                if int(other["id"]) != redis.client_id():
                    redis.client_kill_filter(_id=other["id"])
            redis.config_set("requirepass", "closed")
        return merge_session(**arguments)

    monkeypatch.setattr(import_sessions, "merge_session", disconnect_at_second)
    try:
        error = run_refused_command(url)
    finally:
        redis.config_set("requirepass", "")
    assert error.returncode == 1
    assert "2 of 4 sessions are done" in str(error)
    assert SessionMemory.objects.count() == 2


def test_unknown_namespace_is_a_usage_error(namespace, redis, url):
    assert run_refused_command(url, "--namespace", "nowhere").returncode == 2


# Interruption


def fill_redis(redis: Redis, sessions: int = 300, interactions: int = 10_000) -> None:
    with redis.pipeline(transaction=False) as pipeline:
        for n in range(interactions):
            turn = build_interaction(
                f"question {n}", f"answer {n} " + "x" * 50, timestamp=format_time_ago(seconds=20_000 - n)
            )
            pipeline.rpush(f"session:{n % sessions:03}", json.dumps(turn))
        pipeline.execute()


def start_command(url: str, namespace: str, **streams: object) -> subprocess.Popen:
    """Start the command in a process of its own, on the tests' database."""
    ours = connection.settings_dict
    place = f"host={quote(ours['HOST'], safe='')}&port={ours['PORT']}"
    address = f"postgresql://{ours['USER']}:{quote(ours['PASSWORD'])}@/{ours['NAME']}?{place}"
    env = build_environment(DATABASE_URL=address, REDIS_URL="redis://127.0.0.1:1", SECRET_KEY="imported" * 8)
    words = [sys.executable, str(MANAGE), "import_sessions", url, "--namespace", namespace]
    return subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, **streams)


def run_on_terminal(url: str, namespace: str) -> tuple[str, str]:
    """Return what the command prints on stdout, and on a stderr that is a terminal."""
    ours, theirs = pty.openpty()
    with (
        open(ours, "rb", buffering=0) as terminal,
        start_command(url, namespace, stdout=subprocess.PIPE, stderr=theirs) as it,
    ):
        os.close(theirs)
        bar = b"".join(iter(partial(read_terminal, terminal), b""))
        out = it.stdout.read().decode()
    assert it.returncode == 0
    return out, bar.decode()


def read_terminal(terminal: RawIOBase) -> bytes:
    with suppress(OSError):  # raised by a terminal that has no writer any more
        return terminal.read(65536)
    return b""


@pytest.mark.django_db(transaction=True)
def test_interrupted_import_is_completed_by_running_it_again(namespace, redis, url):
    """Compare an uninterrupted run, with a progress bar on a terminal, to an interrupted and repeated one."""
    fill_redis(redis)
    undisturbed = Namespace.objects.create(name="undisturbed")
    out, bar = run_on_terminal(url, "undisturbed")
    assert parse_summary(out) == [300, 10_000, 0, 0, 0, 0]
    assert "300/300" in bar
    assert "/s" in bar

    history.add(namespace.pk, "150", [build_interaction("here")])
    with transaction.atomic():
        SessionMemory.objects.select_for_update().get(namespace=namespace)
        cut = start_command(url, "ours", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert wait_for(is_lock_awaited)
        cut.send_signal(signal.SIGINT)
        _, err = cut.communicate(timeout=120)
    assert cut.returncode == 130
    assert err == "CommandError: Stopped: 150 of 300 sessions are done. Run it again to continue.\n"
    assert SessionMemory.objects.filter(namespace=namespace).count() == 151

    again = start_command(url, "ours", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0
    assert "300 of 300 sessions are done, in" in err
    assert sum(parse_summary(out)[1:3]) == 10_000
    [here] = [each for each in load_history(namespace, "150") if each["query"] == "here"]
    states = [
        {
            session: [each for each in stored if each != here]
            for session, stored in SessionMemory.objects.filter(namespace=each).values_list("session_id", "history")
        }
        for each in (namespace, undisturbed)
    ]
    assert states[0] == states[1]
    assert SessionMemory.objects.filter(namespace=namespace, created_at__gt=F("updated_at")).count() == 0
