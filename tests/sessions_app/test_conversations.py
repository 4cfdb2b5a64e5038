"""Conversations: starting, getting, listing and ending."""

from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F

from sessions_app.models import Conversation, SessionMemory
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
ALL_FIELDS = {
    "session_id": "monday",
    "user_id": "ada",
    "topics": ["harbour", "Ünïcode"],
    "summary": "About the harbour.",
    "importance": 0.9,
    "metadata": {"nested": {"ü": "✓", "none": None}},
    "started_at": "2020-01-01T09:00:00Z",
}


def start_conversation(api, **fields: object) -> dict:
    response = api.post("/conversations", fields)
    assert response.status_code == 201, response.content
    return response.json()


def end_conversation(api, conversation: dict, **fields: object) -> dict:
    response = api.post(f"/conversations/{conversation['id']}/end", fields)
    assert response.status_code == 200, response.content
    return response.json()


def list_conversations(api, **parameters: object) -> dict:
    response = api.get(f"/conversations?{urlencode(parameters)}")
    assert response.status_code == 200, response.content
    return response.json()


def list_ids(page: dict) -> list[str]:
    return [each["id"] for each in page["results"]]


def parse_datetime(text: str) -> datetime:
    return datetime.fromisoformat(text)


def is_now(text: str) -> bool:
    return abs(parse_datetime(text) - datetime.now(UTC)) < timedelta(minutes=1)


# Starting


def test_every_field_is_optional(api, namespace):
    conversation = start_conversation(api)
    assert is_now(conversation.pop("started_at"))
    assert Conversation.objects.get().namespace == namespace
    assert conversation.pop("id") == str(Conversation.objects.get().pk)
    assert conversation == {
        **dict.fromkeys(("session_id", "user_id", "ended_at", "duration_seconds", "summary")),
        **{"message_count": 0, "topics": [], "importance": 0.5, "metadata": {}},
    }


def test_every_field_is_stored(api):
    conversation = start_conversation(api, **ALL_FIELDS)
    assert {name: conversation[name] for name in ALL_FIELDS} == ALL_FIELDS
    assert api.get(f"/conversations/{conversation['id']}").json() == conversation


def test_null_means_omitted(api):
    nothing = dict.fromkeys(("session_id", "user_id", "summary", "started_at"))
    assert is_now(start_conversation(api, **nothing)["started_at"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("topics", value) for value in (["x"] * 65, ["x" * 129], [""], [None], "x", None)),
        *(("summary", value) for value in ("x" * 10_001, "", 1)),
        *(("importance", value) for value in (-0.01, 1.01, "1", None, True)),
        *(("session_id", value) for value in ("", "x" * 256, "a/context", "a\nb")),
        *(("user_id", value) for value in ("", " ", "x" * 256, 1)),
        *(("started_at", value) for value in ("2190-01-01T00:00:00Z", "2020-01-01T00:00:00", 1, "now")),
        *((name, 1) for name in ("message_count", "ended_at", "duration_seconds", "id", "namespace_id")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_invalid_field_is_named(api, field, value):
    response = api.post("/conversations", {field: value})
    assert is_problem(response, 422)
    assert {name.split(".")[0] for name in list_blamed_fields(response)} == {field}
    assert not Conversation.objects.exists()


@pytest.mark.parametrize(
    "fields", [{"topics": ["x" * 128] * 64}, {"summary": "x" * 10_000}, {"importance": 0}], ids=len
)
def test_largest_values_are_accepted(api, fields):
    start_conversation(api, **fields)


def test_start_in_the_future_is_refused(api):
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert list_blamed_fields(api.post("/conversations", {"started_at": soon})) == {"started_at"}


def test_starting_takes_one_statement(api, takes):
    with takes(1):
        start_conversation(api, **ALL_FIELDS)


def test_idempotency_key_starts_one_conversation(api):
    answers = [api.post("/conversations", ALL_FIELDS, **{"Idempotency-Key": "a"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert Conversation.objects.count() == 1


# Getting and listing


def test_unknown_or_foreign_conversation_is_404(api, outsider):
    conversation = start_conversation(api)
    assert is_problem(api.get(f"/conversations/{uuid4()}"), 404)
    assert is_problem(outsider.get(f"/conversations/{conversation['id']}"), 404)


def test_list_is_ordered_by_latest_start(api):
    middle, oldest, newest = (
        start_conversation(api, started_at=f"{year}-01-01T00:00:00Z") for year in (2015, 2010, 2020)
    )
    assert list_ids(list_conversations(api)) == [newest["id"], middle["id"], oldest["id"]]


def test_list_has_all_fields(api):
    conversation = start_conversation(api, **ALL_FIELDS)
    assert list_conversations(api) == {"results": [conversation], "next": None, "previous": None}


def test_filters_are_combined_with_and(api):
    both, session, user = (
        start_conversation(api, session_id="s", user_id="u"),
        start_conversation(api, session_id="s"),
        start_conversation(api, user_id="u"),
    )
    assert list_ids(list_conversations(api, session_id="s", user_id="u")) == [both["id"]]
    assert list_ids(list_conversations(api, session_id="s")) == [session["id"], both["id"]]
    assert list_ids(list_conversations(api, user_id="u")) == [user["id"], both["id"]]
    assert list_conversations(api, user_id="U")["results"] == []


def test_conversations_are_listed_by_the_beginning_of_their_session(api):
    for session in ("a:1", "a:2", "a%3", "b:1"):
        api.post("/conversations", {"session_id": session})
    for prefix, found in (("a:", ["a:2", "a:1"]), ("a%25", ["a%3"]), ("a_", []), ("c", [])):
        results = api.get(f"/conversations?session_prefix={prefix}").json()["results"]
        assert [each["session_id"] for each in results] == found


def test_pages_cover_all_conversations_in_both_directions(api):
    same = "2020-01-01T00:00:00Z"
    for _ in range(5):
        start_conversation(api, started_at=same)
    pages = [list_conversations(api, limit=2)]
    while cursor := pages[-1]["next"]:
        pages.append(list_conversations(api, limit=2, cursor=cursor))
    assert [len(page["results"]) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in list_ids(page)] == list_ids(list_conversations(api))
    assert list_ids(list_conversations(api, limit=2, cursor=pages[2]["previous"])) == list_ids(pages[1])


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "user_id=", "session_id=%00", "topics=a"])
def test_invalid_parameter_is_named(api, query):
    response = api.get(f"/conversations?{query}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {query.split("=")[0]}


def test_list_is_limited_to_the_namespace(api, outsider):
    start_conversation(api, user_id="ada")
    theirs = start_conversation(outsider, user_id="ada")
    assert (
        list_ids(list_conversations(outsider))
        == list_ids(list_conversations(outsider, user_id="ada"))
        == [theirs["id"]]
    )


def test_reading_takes_one_statement(api, takes):
    conversation = start_conversation(api, **ALL_FIELDS)
    with takes(1):
        list_conversations(api, session_id="monday", user_id="ada")
    with takes(1):
        api.get(f"/conversations/{conversation['id']}")


# Ending


def test_duration_is_null_until_the_end(api):
    started = datetime.now(UTC) - timedelta(hours=1)
    conversation = start_conversation(api, started_at=started.isoformat())
    assert api.get(f"/conversations/{conversation['id']}").json()["duration_seconds"] is None
    ended = end_conversation(api, conversation)
    assert is_now(ended["ended_at"])
    assert 3600 <= ended["duration_seconds"] <= (datetime.now(UTC) - started).total_seconds()
    duration = parse_datetime(ended["ended_at"]) - parse_datetime(ended["started_at"])
    assert ended["duration_seconds"] == pytest.approx(duration.total_seconds(), abs=1e-6)
    assert api.get(f"/conversations/{conversation['id']}").json() == ended


def test_database_computes_the_duration(api):
    conversation = end_conversation(api, start_conversation(api))
    Conversation.objects.update(ended_at=F("started_at") + timedelta(seconds=90.25))
    assert api.get(f"/conversations/{conversation['id']}").json()["duration_seconds"] == 90.25


def test_end_may_set_summary_topics_and_importance(api):
    ended = end_conversation(
        api, start_conversation(api, **ALL_FIELDS), summary="In short.", topics=["tea"], importance=0
    )
    assert (ended["summary"], ended["topics"], ended["importance"]) == ("In short.", ["tea"], 0)
    assert (ended["metadata"], ended["user_id"]) == (ALL_FIELDS["metadata"], "ada")


@pytest.mark.parametrize("body", ["{}", "null", '{"summary": null, "topics": null, "importance": null}'])
def test_fields_omitted_at_the_end_are_kept(api, body):
    conversation = start_conversation(api, **ALL_FIELDS)
    response = api.raw("POST", f"/conversations/{conversation['id']}/end", body)
    assert response.status_code == 200, response.content
    assert {name: response.json()[name] for name in ALL_FIELDS} == ALL_FIELDS
    assert is_now(response.json()["ended_at"])


def test_second_end_keeps_the_first_end_time(api):
    first = end_conversation(api, start_conversation(api), summary="first")
    assert end_conversation(api, first) == first
    again = end_conversation(api, first, topics=["tea"])
    assert again == first | {"topics": ["tea"]}


def test_end_is_never_before_the_start(api):
    conversation = start_conversation(api)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    Conversation.objects.update(started_at=ahead)
    ended = end_conversation(api, conversation)
    assert parse_datetime(ended["ended_at"]) == parse_datetime(ended["started_at"]) == ahead
    assert ended["duration_seconds"] == 0


@pytest.mark.parametrize(
    "body",
    [{"summary": ""}, {"topics": "a"}, {"importance": 2}, {"ended_at": "2020-01-01T00:00:00Z"}, {"ended_at": "x"}, []],
    ids=str,
)
def test_invalid_end_ends_nothing(api, body):
    conversation = start_conversation(api)
    assert is_problem(api.post(f"/conversations/{conversation['id']}/end", body), 422)
    assert Conversation.objects.get().ended_at is None


def test_an_end_before_the_start_is_named(api):
    conversation = start_conversation(api)
    response = api.post(f"/conversations/{conversation['id']}/end", {"ended_at": "2020-01-01T00:00:00Z"})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"ended_at"}


def test_the_end_may_be_given(api):
    conversation = start_conversation(api, started_at="2020-01-01T09:00:00Z")
    ended = end_conversation(api, conversation, ended_at="2020-01-01T10:00:00Z")
    assert (ended["ended_at"], ended["duration_seconds"]) == ("2020-01-01T10:00:00Z", 3600)
    assert end_conversation(api, conversation) == ended
    assert end_conversation(api, conversation, ended_at="2020-01-01T09:30:00Z")["duration_seconds"] == 1800


def test_a_conversation_may_be_stored_with_its_end(api):
    both = start_conversation(api, started_at="2020-01-01T09:00:00Z", ended_at="2020-01-01T09:01:00Z")
    assert both["duration_seconds"] == 60
    end_alone = start_conversation(api, ended_at="2020-01-01T09:01:00Z")
    assert (end_alone["started_at"], end_alone["duration_seconds"]) == ("2020-01-01T09:01:00Z", 0)
    body = {"started_at": "2020-01-01T09:00:00Z", "ended_at": "2019-01-01T09:00:00Z"}
    response = api.post("/conversations", body)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"ended_at"}


# Changing


def change_conversation(api, conversation: dict, **fields: object) -> dict:
    response = api.patch(f"/conversations/{conversation['id']}", fields)
    assert response.status_code == 200, response.content
    return response.json()


def test_given_fields_are_changed_and_others_stay(api):
    conversation = start_conversation(api, **ALL_FIELDS)
    changes = {"topics": [], "summary": None, "importance": 0.1, "metadata": {"new": 1}}
    assert change_conversation(api, conversation, **changes) == conversation | changes
    assert change_conversation(api, conversation) == conversation | changes
    times = {"started_at": "2019-01-01T00:00:00Z", "ended_at": "2019-01-01T01:00:00Z"}
    changed = change_conversation(api, conversation, **times)
    assert changed == conversation | changes | times | {"duration_seconds": 3600}


def test_an_ended_conversation_is_opened_again(api):
    conversation = start_conversation(api)
    end_conversation(api, conversation)
    assert change_conversation(api, conversation, ended_at=None)["ended_at"] is None
    message = {"role": "user", "content": "One more thing."}
    assert api.post(f"/conversations/{conversation['id']}/messages", message).status_code == 201


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("ended_at", {"ended_at": "2019-12-31T00:00:00Z"}),
        ("ended_at", {"started_at": "2020-01-03T00:00:00Z", "ended_at": "2020-01-02T00:00:00Z"}),
        ("started_at", {"started_at": "2020-01-03T00:00:00Z"}),
        ("started_at", {"started_at": None}),
        ("topics", {"topics": None}),
        ("importance", {"importance": None}),
        ("metadata", {"metadata": None}),
        ("summary", {"summary": ""}),
        ("user_id", {"user_id": "ben"}),
        ("session_id", {"session_id": "tuesday"}),
    ],
)
def test_an_invalid_change_changes_nothing_and_is_named(api, field, body):
    conversation = start_conversation(api, started_at="2020-01-01T00:00:00Z", ended_at="2020-01-02T00:00:00Z")
    response = api.patch(f"/conversations/{conversation['id']}", body)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert api.get(f"/conversations/{conversation['id']}").json() == conversation


def test_outsider_and_reader_cannot_change(api, outsider, reader):
    conversation, before = start_conversation(api), fingerprint_tables()
    for caller, status in ((outsider, 404), (reader, 403)):
        assert is_problem(caller.patch(f"/conversations/{conversation['id']}", {"summary": "x"}), status)
    assert is_problem(api.patch(f"/conversations/{uuid4()}", {"summary": "x"}), 404)
    assert fingerprint_tables() == before


def test_outsider_and_reader_cannot_end(api, outsider, reader):
    conversation, before = start_conversation(api), fingerprint_tables()
    for caller, status in ((outsider, 404), (reader, 403)):
        assert is_problem(caller.post(f"/conversations/{conversation['id']}/end", {"summary": "x"}), status)
    assert is_problem(api.post(f"/conversations/{uuid4()}/end", {}), 404)
    assert fingerprint_tables() == before


def test_ending_takes_one_statement(api, takes):
    conversation = start_conversation(api)
    with takes(1):
        end_conversation(api, conversation, summary="In short.")


@pytest.mark.django_db(transaction=True)
def test_concurrent_ends_return_the_same_end_time(api):
    path = f"/conversations/{start_conversation(api)['id']}/end"
    answers = run_at_once([partial(api.post, path, {}) for _ in range(8)])
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["ended_at"] for answer in answers}) == 1


# Retention


def test_session_cleanup_keeps_conversations(api):
    api.post("/sessions/monday/interactions", {"query": "why?", "answer": "because"})
    conversation = start_conversation(api, session_id="monday")
    path = f"/conversations/{conversation['id']}/messages"
    message = api.post(path, {"role": "user", "content": "why?"}).json()
    SessionMemory.objects.update(updated_at=F("updated_at") - timedelta(days=365))
    assert api.post("/sessions/cleanup", {"max_age_hours": 1}).json() == {"deleted": 1}
    SessionMemory.objects.all().delete()
    assert api.get(f"/conversations/{conversation['id']}").json() == conversation | {"message_count": 1}
    assert [each["id"] for each in api.get(path).json()["results"]] == [message["id"]]


def test_database_deletes_conversations_with_their_namespace(api, outsider, namespace):
    path = f"/conversations/{start_conversation(api)['id']}/messages"
    api.post(path, {"role": "user", "content": "why?"})
    theirs = start_conversation(outsider)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sessions_app_apikey WHERE namespace_id = %s", [namespace.pk])
        cursor.execute("DELETE FROM sessions_app_namespace WHERE id = %s", [namespace.pk])
        cursor.execute("SELECT count(*) FROM sessions_app_message")
        assert cursor.fetchone() == (0,)
    assert [str(each.pk) for each in Conversation.objects.all()] == [theirs["id"]]


def test_body_is_optional_for_end_and_required_for_start(api):
    conversation = api.post("/conversations", {}).json()
    assert api.post(f"/conversations/{conversation['id']}/end").status_code == 200
    assert is_problem(api.post("/conversations"), 415)
