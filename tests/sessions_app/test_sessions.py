"""Sessions: adding interactions, reading them, expiry, clean-up and analytics."""

import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sessions_app import history
from sessions_app.models import SessionMemory
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


def format_time_ago(**distance: float) -> str:
    return (datetime.now(UTC) - timedelta(**distance)).isoformat()


def add_interaction(api, session: str, query: str = "why?", answer: str = "because", **more: str):
    body = {"query": query, "answer": answer, **more}
    return api.post(f"/sessions/{quote(session, safe='')}/interactions", body)


def get_context(api, session: str, limit: int = 5) -> list[dict]:
    response = api.get(f"/sessions/{quote(session, safe='')}/context?limit={limit}")
    assert response.status_code == 200, response.content
    return response.json()["interactions"]


def list_queries(api, session: str, limit: int = 5) -> list[str]:
    return [each["query"] for each in get_context(api, session, limit)]


def backdate(session: str, **distance: float) -> None:
    """Set the time of the last addition to so long ago."""
    SessionMemory.objects.filter(session_id=session).update(updated_at=timezone.now() - timedelta(**distance))


# Adding


def test_interaction_is_stored(api, namespace):
    response = add_interaction(api, "monday", "why?", "because")
    assert (response.status_code, response.json()) == (201, {"session_id": "monday", "history_length": 1, "expired": 0})
    [found] = get_context(api, "monday")
    assert (found["query"], found["answer"]) == ("why?", "because")
    assert abs(datetime.fromisoformat(found["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert SessionMemory.objects.get().namespace == namespace


def test_stored_history_has_three_fields_and_utc_times(api):
    add_interaction(api, "monday", timestamp=(NOW - timedelta(hours=1)).astimezone().isoformat())
    [stored] = SessionMemory.objects.get().history
    assert stored.keys() == {"query", "answer", "timestamp"}
    assert stored["timestamp"] == (NOW - timedelta(hours=1)).isoformat(timespec="microseconds")


def test_context_is_newest_first_by_given_times(api):
    for hours in (3, 1, 5, 2, 4):
        add_interaction(api, "monday", f"{hours} hours ago", timestamp=format_time_ago(hours=hours))
    assert list_queries(api, "monday") == [f"{hours} hours ago" for hours in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_context_limit_is_exact(api, limit):
    for number in range(6):
        add_interaction(api, "monday", f"number {number}")
    assert list_queries(api, "monday", limit) == [f"number {5 - each}" for each in range(limit)]


def test_context_limit_is_5_by_default(api):
    add_interactions(api, "monday", 8)
    assert len(api.get("/sessions/monday/context").json()["interactions"]) == 5


def add_interactions(api, session: str, count: int):
    interactions = [{"query": f"number {number}", "answer": "yes"} for number in range(count)]
    return api.post(f"/sessions/{session}/interactions", {"interactions": interactions})


@pytest.mark.parametrize("limit", [5, 10, 25])
def test_50_interactions_of_one_request_keep_their_order(api, limit):
    assert add_interactions(api, "monday", 50).json()["history_length"] == 50
    assert list_queries(api, "monday", limit) == [f"number {49 - each}" for each in range(limit)]


def test_session_keeps_the_newest_50(api):
    assert add_interactions(api, "monday", 60).json()["history_length"] == 50
    assert add_interaction(api, "monday", "one more").json()["history_length"] == 50
    found = list_queries(api, "monday", 100)
    assert found == ["one more", *[f"number {number}" for number in range(59, 10, -1)]]


def test_history_limit_is_a_setting(api, settings):
    settings.MEMORY_MAX_CONTEXT_LENGTH = 3
    assert add_interactions(api, "monday", 5).json()["history_length"] == 3


def test_old_interaction_displaces_no_newer_one(api):
    add_interactions(api, "monday", 50)
    add_interaction(api, "monday", "an hour ago", timestamp=format_time_ago(hours=1))
    assert "an hour ago" not in list_queries(api, "monday", 100)
    assert len(list_queries(api, "monday", 100)) == 50


def test_sessions_and_namespaces_are_separate(api, outsider):
    add_interaction(api, "monday", "ours")
    add_interaction(api, "tuesday", "ours too")
    add_interaction(outsider, "monday", "theirs")
    assert [list_queries(api, "monday"), list_queries(api, "tuesday"), list_queries(outsider, "monday")] == [
        ["ours"], ["ours too"], ["theirs"],
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [5, 50])
def test_concurrent_additions_are_stored_in_order_of_arrival(api, count):
    run_at_once([lambda number=number: add_interaction(api, "monday", f"number {number}") for number in range(count)])
    stamps = [each["timestamp"] for each in get_context(api, "monday", 100)]
    assert sorted(list_queries(api, "monday", 100)) == sorted(f"number {number}" for number in range(count))
    assert stamps == sorted(set(stamps), reverse=True)


@pytest.mark.django_db(transaction=True)
def test_200_additions_over_8_connections_are_stored(api, settings):
    settings.MEMORY_MAX_CONTEXT_LENGTH = 1000

    def add_25(caller: int) -> None:
        for number in range(25):
            assert add_interaction(api, "monday", f"{caller} says {number}").status_code == 201

    run_at_once([lambda caller=caller: add_25(caller) for caller in range(8)])
    found = list_queries(api, "monday", 1000)
    assert len(found) == len(set(found)) == 200
    for caller in range(8):
        assert [each for each in found if each.startswith(f"{caller} ")] == [
            f"{caller} says {number}" for number in range(24, -1, -1)
        ]


@pytest.mark.django_db(transaction=True)
def test_retry_with_same_idempotency_key_adds_nothing(api):
    body = {"query": "why?", "answer": "because"}
    key = {"Idempotency-Key": "the same"}
    answers = run_at_once([lambda: api.post("/sessions/monday/interactions", body, **key).json()] * 4)
    assert answers == [{"session_id": "monday", "history_length": 1, "expired": 0}] * 4
    assert len(get_context(api, "monday")) == 1


@pytest.mark.parametrize("session", ["a", "user:1/chat 2", "Ünïcode ☕", "x" * 255, "ü" * 255, "100%", "a/b/c", "?#&"])
def test_any_visible_id_is_accepted(api, session):
    assert add_interaction(api, session).json()["session_id"] == session
    assert len(get_context(api, session)) == 1
    assert api.get(f"/sessions/{quote(session, safe='')}").json()["exists"] is True
    assert api.delete(f"/sessions/{quote(session, safe='')}").json() == {"cleared": True}


@pytest.mark.parametrize(
    "session",
    [
        " ",
        "\t",
        "x" * 256,
        "a\nb",
        "a\x00b",
        "\x7f",
        "\u200b",
        "analytics",
        "a/context",
        "b/interactions",
        "a/",
        ".",
        "..",
        "a/../b",
        "./a",
    ],
)
def test_invalid_id_is_refused(api, session):
    response = add_interaction(api, session)
    assert is_problem(response, 404, 422), response.content
    assert not SessionMemory.objects.exists()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"query": " "}, "query"),
        ({"answer": ""}, "answer"),
        ({"query": "x" * 1_000_000}, "query"),
        ({"answer": "x" * 100_001}, "answer"),
        ({"timestamp": "2026-01-01T00:00:00"}, "timestamp"),
        ({"timestamp": 1767225600}, "timestamp"),
        ({"timestamp": "2190-01-01T00:00:00Z"}, "timestamp"),
        ({"role": "user"}, "role"),
        ({"interactions": []}, "query"),
    ],
    ids=str,
)
def test_invalid_field_is_named(api, changed, field):
    response = api.post("/sessions/monday/interactions", {"query": "why?", "answer": "because"} | changed)
    assert is_problem(response, 422)
    assert field in list_blamed_fields(response)
    assert not SessionMemory.objects.exists()


def test_one_invalid_interaction_refuses_the_request(api):
    response = api.post(
        "/sessions/monday/interactions", {"interactions": [{"query": "why?", "answer": "so"}, {"query": "what?"}]}
    )
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"interactions.1.answer"}
    assert not SessionMemory.objects.exists()


def test_90_000_characters_are_stored(api):
    add_interaction(api, "monday", "x" * 90_000, "y" * 90_000)
    [found] = get_context(api, "monday")
    assert (found["query"], found["answer"]) == ("x" * 90_000, "y" * 90_000)


# Expiry


def test_unknown_session_has_empty_context(api):
    assert api.get("/sessions/unknown/context").json() == {"session_id": "unknown", "interactions": []}


def test_interactions_expire_after_a_day(api):
    add_interaction(api, "monday", "yesterday", timestamp=format_time_ago(hours=25))
    add_interaction(api, "monday", "just now", timestamp=format_time_ago(minutes=30))
    assert list_queries(api, "monday") == ["just now"]
    assert api.get("/sessions/monday").json()["history_length"] == 1


def test_reading_removes_expired_interactions_without_renewal(api):
    add_interactions(api, "monday", 3)
    session = SessionMemory.objects.get()
    session.history[0]["timestamp"] = (NOW - timedelta(hours=25)).isoformat(timespec="microseconds")
    session.save(update_fields=["history"])
    assert api.get("/sessions/monday").json()["history_length"] == 2
    assert list_queries(api, "monday") == ["number 2", "number 1"]
    stored = SessionMemory.objects.get()
    assert ([each["query"] for each in stored.history], stored.updated_at) == (
        ["number 1", "number 2"],
        session.updated_at,
    )


def test_old_interaction_does_not_set_back_last_update(api):
    add_interaction(api, "monday")
    before = SessionMemory.objects.get().updated_at
    add_interaction(api, "monday", timestamp=format_time_ago(hours=20))
    assert SessionMemory.objects.get().updated_at >= before


def test_session_may_have_its_own_time_to_live(api):
    add_interaction(api, "monday", "yesterday's", timestamp=format_time_ago(hours=20))
    add_interaction(api, "monday", "lately", timestamp=format_time_ago(minutes=30))
    before = SessionMemory.objects.get().updated_at
    answer = api.patch("/sessions/monday", {"ttl_hours": 1}).json()
    assert (answer["ttl_hours"], answer["history_length"]) == (1, 1)
    assert list_queries(api, "monday") == ["lately"]
    add_interaction(api, "monday", "30 hours ago", timestamp=format_time_ago(hours=30))
    assert list_queries(api, "monday") == ["lately"]
    api.patch("/sessions/monday", {"ttl_hours": 72})
    add_interaction(api, "monday", "30 hours ago", timestamp=format_time_ago(hours=30))
    assert list_queries(api, "monday") == ["lately", "30 hours ago"]
    assert SessionMemory.objects.get().updated_at >= before


def test_setting_time_to_live_does_not_renew(api):
    add_interaction(api, "monday")
    before = SessionMemory.objects.get().updated_at
    api.patch("/sessions/monday", {"ttl_hours": 72})
    assert SessionMemory.objects.get().updated_at == before
    assert api.patch("/sessions/monday", {"ttl_hours": None}).json()["ttl_hours"] is None


@pytest.mark.parametrize("hours", [0, -1, 1e9, "24", True])
def test_invalid_time_to_live_is_refused(api, hours):
    add_interaction(api, "monday")
    assert is_problem(api.patch("/sessions/monday", {"ttl_hours": hours}), 422)


def test_time_to_live_of_unknown_session_is_404(api):
    assert is_problem(api.patch("/sessions/unknown", {"ttl_hours": 1}), 404)


def test_default_time_to_live_is_a_setting(api, settings):
    add_interaction(api, "monday", "two hours ago", timestamp=format_time_ago(hours=2))
    settings.MEMORY_TTL_HOURS = 1.5
    assert list_queries(api, "monday") == []


def test_expired_session_behaves_as_deleted(api):
    add_interaction(api, "monday", "old", timestamp=(NOW + timedelta(minutes=50)).isoformat())
    api.patch("/sessions/monday", {"ttl_hours": 2})
    backdate("monday", hours=3)
    assert get_context(api, "monday") == []
    assert api.get("/sessions/monday").json()["exists"] is False
    assert api.get("/sessions").json()["results"] == []
    assert api.get("/sessions/analytics").json()["total_sessions"] == 0
    assert is_problem(api.patch("/sessions/monday", {"ttl_hours": 1}), 404)
    assert api.delete("/sessions/monday").json() == {"cleared": False}


def test_expired_session_starts_empty(api):
    add_interaction(api, "monday", "old", timestamp=(NOW + timedelta(minutes=50)).isoformat())
    api.patch("/sessions/monday", {"ttl_hours": 2})
    backdate("monday", hours=3)
    assert add_interaction(api, "monday", "new").json()["history_length"] == 1
    assert list_queries(api, "monday") == ["new"]
    assert api.get("/sessions/monday").json()["ttl_hours"] is None


def test_clearing_returns_whether_session_existed(api):
    add_interaction(api, "monday")
    assert [api.delete("/sessions/monday").json()["cleared"] for _ in range(2)] == [True, False]
    assert get_context(api, "monday") == []


def test_cleanup_counts_deleted_sessions(api, outsider):
    for session in ("new", "old", "older", "long"):
        add_interaction(api, session)
    add_interaction(outsider, "theirs")
    api.patch("/sessions/long", {"ttl_hours": 1000})
    for session, hours in {"old": 30, "older": 60, "long": 60, "theirs": 60}.items():
        backdate(session, hours=hours)
    assert api.post("/sessions/cleanup", {"max_age_hours": 100}).json() == {"deleted": 0}
    assert api.post("/sessions/cleanup", {}).json() == {"deleted": 2}
    assert api.post("/sessions/cleanup", {"max_age_hours": 48}).json() == {"deleted": 1}
    assert set(SessionMemory.objects.values_list("session_id", flat=True)) == {"new", "theirs"}


# Statistics


def test_statistics_of_known_and_unknown_sessions(api):
    add_interactions(api, "monday", 3)
    known, unknown = api.get("/sessions/monday").json(), api.get("/sessions/tuesday").json()
    assert (known["session_id"], known["exists"], known["history_length"]) == ("monday", True, 3)
    assert datetime.fromisoformat(known["last_updated"]) == SessionMemory.objects.get().updated_at
    assert unknown == {
        "session_id": "tuesday", "exists": False, "history_length": 0, "last_updated": None, "ttl_hours": None
    }  # fmt: skip


def test_list_is_ordered_by_last_addition(api, outsider):
    for session in ("a", "b", "c", "a"):
        add_interaction(api, session)
    add_interaction(outsider, "theirs")
    first = api.get("/sessions?limit=2").json()
    rest = api.get(f"/sessions?limit=2&cursor={first['next']}").json()
    assert [each["session_id"] for each in first["results"] + rest["results"]] == ["a", "c", "b"]
    assert [each["history_length"] for each in first["results"]] == [2, 1]
    assert rest["next"] is None


def test_analytics_count_unexpired_interactions(api, outsider):
    add_interactions(api, "busy", 4)
    add_interaction(api, "quiet", timestamp=format_time_ago(hours=30))
    now = datetime.fromisoformat(get_context(api, "busy")[0]["timestamp"])
    add_interaction(api, "quiet", timestamp=(now - timedelta(hours=23)).isoformat())
    backdate("quiet", hours=2)
    add_interactions(outsider, "theirs", 9)
    found = api.get("/sessions/analytics").json()
    assert (found["total_sessions"], found["total_interactions"]) == (2, 5)
    assert (found["active_last_hour"], found["average_length"]) == (1, 2.5)
    assert [(each["session_id"], each["history_length"]) for each in found["busiest"]] == [("busy", 4), ("quiet", 1)]
    assert sum(each["interactions"] for each in found["interactions_per_day"]) == 5
    days = {moment.date().isoformat() for moment in (now - timedelta(hours=23), now)}
    assert [each["day"] for each in found["interactions_per_day"]] == sorted(days)


def test_analytics_without_sessions(api):
    assert api.get("/sessions/analytics").json() == {
        "total_sessions": 0, "total_interactions": 0, "active_last_hour": 0, "average_length": 0.0, "busiest": [],
        "interactions_per_day": [],
    }  # fmt: skip


# Statements


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/sessions/monday/interactions", {"query": "why?", "answer": "because"}),
        ("GET", "/sessions/monday/context", None),
        ("GET", "/sessions/monday", None),
        ("GET", "/sessions", None),
        ("GET", "/sessions/analytics", None),
    ],
    ids=str,
)
def test_operation_takes_one_statement(api, remembered_callers, method, path, body):
    add_interactions(api, "monday", 50)
    with CaptureQueriesContext(connection) as found:
        assert api.call(method, path, body).status_code < 300
    assert len(found) == 1, json.dumps([each["sql"][:80] for each in found])


def test_list_reads_an_index(api, namespace):
    add_interaction(api, "monday")
    rows = SessionMemory.objects.in_namespace(namespace.pk).order_by(F("updated_at").desc(), F("id").desc())[:20]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    assert "session_newest" in rows.explain()


def test_histories_can_be_searched_by_an_index(api):
    add_interaction(api, "monday", "the harbour")
    add_interaction(api, "tuesday", "a lighthouse")
    rows = SessionMemory.objects.filter(history__contains=[{"query": "the harbour"}])
    assert [each.session_id for each in rows] == ["monday"]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "session_history" in rows.explain()


# Importing old interactions


def test_first_interaction_may_set_time_to_live(api):
    response = add_interaction(api, "monday", "two days ago", timestamp=format_time_ago(hours=48), ttl_hours=72)
    assert response.json()["history_length"] == 1
    assert api.get("/sessions/monday").json()["ttl_hours"] == 72
    assert add_interaction(api, "monday", "now").json()["history_length"] == 2
    assert api.get("/sessions/monday").json()["ttl_hours"] == 72


@pytest.mark.parametrize(("hours", "ttl", "expired"), [(30, None, 1), (23, None, 0), (30, 72, 0), (3, 2, 1)])
def test_an_addition_counts_what_is_too_old_to_be_kept(api, hours, ttl, expired):
    more = {} if ttl is None else {"ttl_hours": ttl}
    answer = add_interaction(api, "monday", timestamp=format_time_ago(hours=hours), **more).json()
    assert answer == {"session_id": "monday", "history_length": 1 - expired, "expired": expired}
    assert len(list_queries(api, "monday")) == 1 - expired


def test_an_addition_of_several_counts_those_that_are_too_old(api):
    add_interactions(api, "monday", 2)
    api.patch("/sessions/monday", {"ttl_hours": 2})
    old, new = ({"query": "q", "answer": "a", "timestamp": format_time_ago(hours=hours)} for hours in (3, 1))
    answer = api.post("/sessions/monday/interactions", {"interactions": [old, new, old, {"query": "q", "answer": "a"}]})
    assert answer.json() == {"session_id": "monday", "history_length": 4, "expired": 2}


def test_later_addition_may_change_time_to_live(api):
    add_interactions(api, "monday", 2)
    add_interaction(api, "monday", "three hours ago", timestamp=format_time_ago(hours=3))
    assert len(list_queries(api, "monday")) == 3
    body = {"interactions": [{"query": "now", "answer": "yes"}], "ttl_hours": 2}
    assert api.post("/sessions/monday/interactions", body).json()["history_length"] == 3
    assert "three hours ago" not in list_queries(api, "monday")


@pytest.mark.parametrize("hours", [0, -1, 1e9, "24"])
def test_invalid_time_to_live_adds_nothing(api, hours):
    assert is_problem(add_interaction(api, "monday", ttl_hours=hours), 422)
    assert not SessionMemory.objects.exists()


def test_cleanup_needs_no_body(api):
    add_interaction(api, "monday")
    backdate("monday", hours=30)
    assert api.post("/sessions/cleanup").json() == {"deleted": 1}


# Limits


def test_oldest_are_dropped_above_4_megabytes(api):
    for number in range(16):
        add_interaction(api, "monday", f"number {number}", "☕" * 100_000)
    found = list_queries(api, "monday", 100)
    assert found == [f"number {number}" for number in range(15, -1, -1)][: len(found)]
    assert (
        4 * 2**20 - 400_000 < sum(len(each["answer"].encode()) for each in get_context(api, "monday", 100)) < 4 * 2**20
    )


def test_single_interaction_is_stored_regardless_of_size(api):
    add_interaction(api, "monday", "☕" * 100_000, "☕" * 100_000)
    assert len(get_context(api, "monday")) == 1


@pytest.mark.django_db(transaction=True)
def test_expiry_is_decided_by_one_clock_reading(api, namespace):
    """Writing a long history takes so long that a clock read twice would give two times."""
    turns = [{"query": "x" * 20_000, "answer": "y" * 20_000}] * 45
    for number in range(20):
        session, ttl_seconds = f"session {number}", 0.2
        history.add(namespace.pk, session, turns, ttl_hours=ttl_seconds / 3600)
        time.sleep(ttl_seconds - 0.02 + number * 0.002)
        length, _ = history.add(namespace.pk, session, [{"query": "why?", "answer": "so"}])
        own = SessionMemory.objects.get(session_id=session).ttl_hours
        assert (length, own is None) in {(46, False), (1, True), (1, False)}
