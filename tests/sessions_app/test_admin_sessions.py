"""The console's pages of sessions, session links and session statistics."""

import re
from collections import Counter
from datetime import datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from sessions_app import history
from sessions_app.models import Conversation, Namespace, SessionLink, SessionMemory
from tests.console import query_rows, render_rows

pytestmark = pytest.mark.django_db
SESSIONS_URL, LINKS_URL = "/admin/sessions_app/sessionmemory/", "/admin/sessions_app/sessionlink/"
STATISTICS_URL = SESSIONS_URL + "statistics/"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
SCRIPT_TAG = "<script>alert(1)</script>"


def create_session(namespace: Namespace, name: str = "chat", *said: tuple[str, str]) -> SessionMemory:
    interactions = [{"query": query, "answer": answer} for query, answer in said or [("a question", "an answer")]]
    history.add(namespace.pk, name, interactions)
    return SessionMemory.objects.get(namespace=namespace, session_id=name)


def create_link(namespace: Namespace, source: str = "chat", target: str = "other", **fields: str) -> SessionLink:
    return SessionLink.objects.create(namespace=namespace, source_session_id=source, target_session_id=target, **fields)


def get_admin_url(model: str, row, what: str = "change") -> str:
    return reverse(f"admin:sessions_app_{model}_{what}", args=[row.pk])


def get_session_url(row: SessionMemory) -> str:
    return get_admin_url("sessionmemory", row)


def fetch_page_text(console, path: str, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def list_rows(console, path: str = SESSIONS_URL, **parameters: object) -> list:
    return query_rows(console, path, **parameters)


def drawn(console, path: str = SESSIONS_URL, **parameters: object) -> list:
    return render_rows(console, path, **parameters)


def create_clerk(client, django_user_model, *permissions: str):
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    return client


# The list of sessions


def test_list_shows_unexpired_sessions_by_last_update(console, namespace):
    create_session(namespace, "first")
    create_session(namespace, "second")
    over = create_session(namespace, "over")
    SessionMemory.objects.filter(pk=over.pk).update(updated_at=timezone.now() - timedelta(hours=25))
    create_session(namespace, "first", ("another", "one"))
    assert [(each.session_id, each.history_length) for each in list_rows(console)] == [("first", 2), ("second", 1)]
    assert console.get(get_session_url(over)).status_code == 302


def test_list_shows_time_to_live(console, namespace, settings):
    settings.MEMORY_TTL_HOURS = 36.0
    create_session(namespace)
    own = create_session(namespace, "own")
    SessionMemory.objects.filter(pk=own.pk).update(ttl_hours=1.5)
    text = fetch_page_text(console, SESSIONS_URL)
    assert "default (36 h)" in text
    assert "1.5 h" in text


def test_list_takes_constant_number_of_statements(console, namespace, django_assert_num_queries):
    create_session(namespace)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console)
    for number in range(60):
        create_session(namespace, f"session {number}")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console)) == 50


def test_list_reads_no_history_and_count_does_not_measure_it(console, namespace):
    create_session(namespace)
    with CaptureQueriesContext(connection) as statements:
        drawn(console)
    count, rows = statements[-2]["sql"], statements[-1]["sql"]
    assert "history" not in count
    assert "sessions_trim_history(" in rows
    assert '"history"' not in re.sub(r"sessions_trim_history\(\S*\"history\"", "", rows)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("chat-1", ["chat-12", "chat-1"]),
        ("chat-12", ["chat-12"]),
        ("hat", []),
        ("%", ["%"]),
        (" chat-12 ", ["chat-12"]),
    ],
)
def test_search_finds_session_by_beginning_of_id(console, namespace, typed, expected):
    for name in ("chat-1", "chat-12", "%"):
        create_session(namespace, name)
    assert [each.session_id for each in list_rows(console, q=typed)] == expected


def test_namespace_filter_narrows_the_list(console, namespace, elsewhere):
    create_session(namespace, "ours")
    create_session(elsewhere, "theirs")
    assert [each.session_id for each in list_rows(console, namespace=namespace.pk)] == ["ours"]
    assert len(list_rows(console, namespace="")) == 2


@pytest.mark.parametrize("path", [SESSIONS_URL, LINKS_URL])
@pytest.mark.parametrize("value", ["x", "9" * 40, "²", "-1", "1\0", "999999"])
def test_unknown_namespace_matches_nothing(console, namespace, path, value):
    create_session(namespace)
    create_link(namespace)
    assert list_rows(console, path, namespace=value) == []


@pytest.mark.parametrize("path", [SESSIONS_URL, LINKS_URL])
@pytest.mark.parametrize("query", ["a\0b", SCRIPT_TAG, "x" * 5000, "\\", "☃"])
def test_unusual_query_is_searched(console, namespace, path, query):
    create_session(namespace)
    assert SCRIPT_TAG not in fetch_page_text(console, path, q=query)


def test_unlisted_lookup_is_refused(console):
    assert console.get(SESSIONS_URL, {"history__icontains": "a"}).status_code == 400
    assert console.get(LINKS_URL, {"context__regex": "(a+)+$"}).status_code == 400


def test_empty_list_explains_itself(console, namespace):
    assert "A session starts with its first interaction" in fetch_page_text(console, SESSIONS_URL)
    assert "No session matches." in fetch_page_text(console, SESSIONS_URL, q="nothing")
    assert "link a session to the one that it continues or refers to." in fetch_page_text(console, LINKS_URL)


# One session's page


def test_page_shows_interactions_oldest_first(console, namespace):
    row = create_session(namespace, "chat", ("When?", "At nine.\nOr later."), (f"And {SCRIPT_TAG}?", "No."))
    response = console.get(get_session_url(row))
    blocks = response.context["blocks"]
    assert [(block["role"], block["text"]) for block in blocks] == [
        ("user", "When?"),
        ("assistant", "At nine.\nOr later."),
        ("user", f"And {SCRIPT_TAG}?"),
        ("assistant", "No."),
    ]
    text = response.content.decode()
    assert "At nine.\nOr later." in text
    assert "&lt;script&gt;alert(1)" in text
    assert SCRIPT_TAG not in text
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", blocks[0]["at"])
    assert "Encrypted" not in text


def test_only_long_texts_are_folded(console, namespace):
    row = create_session(namespace, "chat", ("short", "word " * 1000), ("lines\n" * 30, "x" * 2000))
    blocks = console.get(get_session_url(row)).context["blocks"]
    assert [bool(block["beginning"]) for block in blocks] == [False, True, True, True]
    assert all(len(block["beginning"]) <= 500 for block in blocks[1:])
    assert fetch_page_text(console, get_session_url(row)).count("<details") == 3


def test_page_hides_expired_interactions_and_changes_nothing(console, namespace):
    row = create_session(namespace)
    old = "2020-01-01T00:00:00.000000+00:00"
    SessionMemory.objects.filter(pk=row.pk).update(
        history=[{"query": "long ago", "answer": "x", "timestamp": old}, *row.history]
    )
    before = SessionMemory.objects.filter(pk=row.pk).values().get()
    text = fetch_page_text(console, get_session_url(row))
    assert "a question" in text
    assert "long ago" not in text
    assert SessionMemory.objects.filter(pk=row.pk).values().get() == before


def test_encrypted_history_is_shown_as_such(console, namespace, settings):
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    text = fetch_page_text(console, get_session_url(create_session(namespace, "chat", ("a secret", "kept"))))
    assert "Encrypted at rest." in text
    assert "a secret" in text


def test_unreadable_history_shows_only_times(console, namespace, settings):
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    row = create_session(namespace, "chat", ("a secret", "kept"))
    sealed = row.history[0]["sealed"]
    for keys in ([], [Fernet.generate_key().decode()]):
        settings.SESSION_ENCRYPTION_KEYS = keys
        text = fetch_page_text(console, get_session_url(row))
        assert "None of the server's keys decrypts this history" in text
        assert row.history[0]["timestamp"][:19].replace("T", " ") in text
        assert sealed[:20] not in text
        assert "a secret" not in text


def test_unreadable_interaction_does_not_hide_readable_ones(console, namespace, settings):
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    create_session(namespace, "chat", ("lost", "with its key"))
    settings.SESSION_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    row = create_session(namespace, "chat", ("a later question", "a later answer"))
    blocks = console.get(get_session_url(row)).context["blocks"]
    assert [block["text"] for block in blocks] == [None, "a later question", "a later answer"]


def test_page_shows_links_in_both_directions_and_conversations(console, namespace, elsewhere):
    row, other = create_session(namespace), create_session(namespace, "other")
    links = [create_link(namespace, "chat", "other"), create_link(namespace, "gone", "chat", context=SCRIPT_TAG)]
    create_link(namespace, "other", "gone")
    create_link(elsewhere, "chat", "other")
    mine = Conversation.objects.create(namespace=namespace, session_id="chat", summary="ours")
    Conversation.objects.create(namespace=elsewhere, session_id="chat", summary="theirs")
    response = console.get(get_session_url(row))
    assert {each["link"].pk for each in response.context["links"]} == {each.pk for each in links}
    text = response.content.decode()
    assert get_session_url(other) in text
    assert "gone (expired)" in text
    assert get_admin_url("conversation", mine) in text
    assert "theirs" not in text
    assert SCRIPT_TAG not in text
    assert len(list_rows(console, response.context["all_links"])) == 2
    assert [each.pk for each in list_rows(console, response.context["all_conversations"])] == [mine.pk]


def test_page_takes_constant_number_of_statements(console, namespace, django_assert_num_queries):
    row = create_session(namespace)
    create_link(namespace)
    Conversation.objects.create(namespace=namespace, session_id="chat")
    console.get(get_session_url(row))  # after which its content type is known
    with django_assert_num_queries(6):  # session, user, the row, its history, links, conversations
        console.get(get_session_url(row))
    for number in range(30):
        create_session(namespace, "chat", (f"question {number}", "answer"))
        create_session(namespace, f"session {number}")
        create_link(namespace, "chat", f"session {number}")
        Conversation.objects.create(namespace=namespace, session_id="chat")
    with django_assert_num_queries(6):
        console.get(get_session_url(row))


def test_page_of_empty_session_says_so(console, namespace):
    row = SessionMemory.objects.create(namespace=namespace, session_id="silent")
    text = fetch_page_text(console, get_session_url(row))
    assert "This session has no interactions." in text
    assert "No other session is linked to this one." in text
    assert "No conversation belongs to this session." in text


# Changing and clearing sessions


@pytest.mark.parametrize(("typed", "kept"), [("48", 48), ("0.5", 0.5), ("", None), ("876000", 876_000)])
def test_only_time_to_live_can_be_changed(console, namespace, typed, kept):
    row = create_session(namespace)
    before = SessionMemory.objects.filter(pk=row.pk).values().get()
    sent = {"ttl_hours": typed, "session_id": "other", "history": "[]"}
    assert console.post(get_session_url(row), sent).status_code == 302
    assert SessionMemory.objects.filter(pk=row.pk).values().get() == before | {"ttl_hours": kept}


@pytest.mark.parametrize("typed", ["0", "-1", "nan", "inf", "876001", "1e400", "soon", "\0"])
def test_invalid_time_to_live_is_a_form_error(console, namespace, typed):
    row = create_session(namespace)
    response = console.post(get_session_url(row), {"ttl_hours": typed})
    assert response.status_code == 200
    assert response.context["errors"]
    row.refresh_from_db()
    assert row.ttl_hours is None


def test_saving_unchanged_form_changes_nothing(console, namespace):
    row = create_session(namespace)
    SessionMemory.objects.filter(pk=row.pk).update(ttl_hours=1234567.0 / 7)
    bound = console.get(get_session_url(row)).context["adminform"].form["ttl_hours"]
    assert console.post(get_session_url(row), {"ttl_hours": str(bound.value())}).status_code == 302
    row.refresh_from_db()
    assert row.ttl_hours == 1234567.0 / 7


def test_session_cannot_be_added(console, namespace):
    assert console.get(SESSIONS_URL + "add/").status_code == 403
    assert console.post(SESSIONS_URL + "add/", {"session_id": "x"}).status_code == 403


def test_delete_shows_interaction_count_and_keeps_links_and_conversations(console, namespace):
    row, other = (
        create_session(namespace, "chat", ("a", "b"), ("c", "d"), ("e", "f")),
        create_session(namespace, "other"),
    )
    create_link(namespace)
    Conversation.objects.create(namespace=namespace, session_id="chat")
    path = get_admin_url("sessionmemory", row, "delete")
    response = console.get(path)
    assert dict(response.context["model_count"]) == {"sessions": 1, "interactions": 3}
    assert "This permanently deletes the session" in response.content.decode()
    assert SessionMemory.objects.count() == 2
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert SessionMemory.objects.get() == other
    assert SessionLink.objects.count() == Conversation.objects.count() == 1


def test_bulk_delete_shows_exact_counts(console, namespace):
    rows = [create_session(namespace, f"chat {number}", *[("q", "a")] * (number + 1)) for number in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]]}
    response = console.post(SESSIONS_URL, chosen)
    assert dict(response.context["model_count"]) == {"sessions": 2, "interactions": 5}
    assert SessionMemory.objects.count() == 3
    assert console.post(SESSIONS_URL, chosen | {"post": "yes"}).status_code == 302
    assert SessionMemory.objects.get() == rows[0]


# Links


def build_form(namespace: Namespace, **changes: object) -> dict[str, object]:
    sent = {"namespace": namespace.pk, "source_session_id": "a", "target_session_id": "b", "link_type": "reference"}
    return sent | {"context": ""} | changes


def test_link_list_is_newest_first_searched_by_either_id_and_filtered_by_type(console, namespace, elsewhere):
    first = create_link(namespace, "chat-1", "chat-2", link_type="reference")
    second = create_link(elsewhere, "web-1", "chat-1", context=SCRIPT_TAG)
    assert list_rows(console, LINKS_URL) == [second, first]
    assert list_rows(console, LINKS_URL, q="chat-1") == [second, first]
    assert list_rows(console, LINKS_URL, q="chat-2") == [first]
    assert list_rows(console, LINKS_URL, link_type="reference") == [first]
    assert list_rows(console, LINKS_URL, namespace=elsewhere.pk) == [second]
    assert list_rows(console, LINKS_URL, link_type="nothing") == [second, first]
    assert SCRIPT_TAG not in fetch_page_text(console, LINKS_URL)


def test_link_list_takes_constant_number_of_statements(console, namespace, django_assert_num_queries):
    create_link(namespace)
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console, LINKS_URL)
    for number in range(60):
        create_link(Namespace.objects.create(name=f"n{number}"))
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console, LINKS_URL)) == 50


def test_link_can_be_added_changed_and_deleted(console, namespace):
    assert console.get(LINKS_URL + "add/").status_code == 200
    assert console.post(LINKS_URL + "add/", build_form(namespace, context="why\r\nnot")).status_code == 302
    row = SessionLink.objects.get()
    assert (row.source_session_id, row.target_session_id, row.link_type, row.context) == (
        "a", "b", "reference", "why\nnot",
    )  # fmt: skip
    assert (
        console.post(get_admin_url("sessionlink", row), build_form(namespace, target_session_id="c")).status_code == 302
    )
    changed = SessionLink.objects.get()
    assert (changed.pk, changed.target_session_id, changed.context) == (row.pk, "c", None)
    assert changed.updated_at > changed.created_at == row.created_at
    path = get_admin_url("sessionlink", row, "delete")
    assert dict(console.get(path).context["model_count"]) == {"session links": 1}
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert not SessionLink.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_session_id": "a"},
        {"source_session_id": ""},
        {"source_session_id": "\u200b"},
        {"source_session_id": "a\0"},
        {"target_session_id": "x" * 256},
        {"link_type": "nothing"},
        {"context": "x" * 100_001},
        {"namespace": ""},
        {"namespace": "999999"},
    ],
)
def test_invalid_link_is_a_form_error(console, namespace, wrong):
    response = console.post(LINKS_URL + "add/", build_form(namespace) | wrong)
    assert response.status_code == 200
    assert response.context["errors"]
    assert not SessionLink.objects.exists()


def test_duplicate_link_is_a_form_error_with_link_to_existing(console, namespace, elsewhere):
    first = create_link(namespace, "a", "b", link_type="reference")
    response = console.post(LINKS_URL + "add/", build_form(namespace))
    assert response.status_code == 200
    assert get_admin_url("sessionlink", first) in str(response.context["adminform"].form.non_field_errors())
    assert console.post(LINKS_URL + "add/", build_form(elsewhere)).status_code == 302
    second = create_link(namespace, "a", "c", link_type="reference")
    response = console.post(get_admin_url("sessionlink", second), build_form(namespace))
    assert response.status_code == 200
    assert "between these sessions already exists" in str(response.context["adminform"].form.non_field_errors())
    second.refresh_from_db()
    assert second.target_session_id == "c"


def test_concurrently_added_duplicate_link_is_a_message(console, namespace, monkeypatch):
    create_link(namespace, "a", "b", link_type="reference")
    monkeypatch.setattr("sessions_app.admin.session_links.SessionLinkForm._reject_duplicate", lambda *_: None)
    response = console.post(LINKS_URL + "add/", build_form(namespace), follow=True)
    assert response.status_code == 200
    assert "changed by someone else" in response.content.decode()
    assert SessionLink.objects.count() == 1


def test_link_keeps_namespace_and_shows_unexpired_sessions(console, namespace, elsewhere):
    living = create_session(namespace)
    row = create_link(namespace)
    text = fetch_page_text(console, get_admin_url("sessionlink", row))
    assert get_session_url(living) in text
    console.post(get_admin_url("sessionlink", row), build_form(elsewhere))
    row.refresh_from_db()
    assert row.namespace == namespace


# Statistics


def test_statistics_show_totals_days_and_busiest_sessions(console, namespace, elsewhere):
    busy = create_session(namespace, f"busy {SCRIPT_TAG}", ("a", "b"), ("c", "d"))
    create_session(elsewhere, "quiet")
    response = console.get(STATISTICS_URL)
    assert [figure for _, figure in response.context["cards"]] == ["2", "3", "2", "1.5"]
    text = response.content.decode()
    assert get_session_url(busy) in text
    assert SCRIPT_TAG not in text
    histories = SessionMemory.objects.values_list("history", flat=True)
    added = [datetime.fromisoformat(each["timestamp"]) for history in histories for each in history]
    assert all(f"{moment:%m-%d}" in response.context["chart"].data for moment in added)
    hours = {hour: cell.value for hour, [cell] in response.context["hours"].rows}
    assert hours == Counter(f"{moment:%Y-%m-%d %H}" for moment in added)
    assert sum(cells[0].value for _, cells in response.context["chart"].rows) == len(added)
    assert [row[2] for row in response.context["busiest"]["rows"]] == ["2", "1"]


def test_statistics_can_be_of_one_namespace(console, namespace, elsewhere):
    create_session(namespace, "ours")
    create_session(elsewhere, "theirs")
    response = console.get(STATISTICS_URL, {"namespace": elsewhere.pk})
    assert response.context["cards"][0] == ("Sessions", "1")
    text = response.content.decode()
    assert "theirs" in text
    assert "ours" not in text


@pytest.mark.parametrize("value", ["x", "9" * 40, "²", "1\0", "999999"])
def test_statistics_of_unknown_namespace_are_of_all_with_a_warning(console, namespace, value):
    create_session(namespace)
    response = console.get(STATISTICS_URL, {"namespace": value})
    assert response.status_code == 200
    assert "There is no such namespace" in response.content.decode()
    assert response.context["cards"][0] == ("Sessions", "1")


def test_statistics_take_constant_number_of_statements(console, namespace, django_assert_num_queries):
    create_session(namespace)
    with django_assert_num_queries(4):  # session, user, figures, the busiest
        console.get(STATISTICS_URL)
    for number in range(20):
        create_session(Namespace.objects.create(name=f"n{number}"))
    with django_assert_num_queries(4):
        assert len(console.get(STATISTICS_URL).context["busiest"]["rows"]) == 10


def test_statistics_without_sessions_say_so(console, namespace):
    text = fetch_page_text(console, STATISTICS_URL, namespace=namespace.pk)
    assert f"There are no interactions yet in {namespace}." in text
    assert f"There are no sessions in {namespace}." in text


# Who may see it


def test_user_without_permission_sees_nothing(client, namespace, django_user_model):
    row, linked = create_session(namespace), create_link(namespace)
    client = create_clerk(client, django_user_model)
    for path in (
        SESSIONS_URL,
        STATISTICS_URL,
        get_session_url(row),
        LINKS_URL,
        get_admin_url("sessionlink", linked),
        LINKS_URL + "add/",
    ):
        assert client.get(path).status_code == 403, path
    text = fetch_page_text(client, "/admin/")
    assert SESSIONS_URL not in text
    assert LINKS_URL not in text


def test_user_with_view_permission_cannot_change(client, namespace, django_user_model):
    row, linked = create_session(namespace), create_link(namespace)
    client = create_clerk(client, django_user_model, "view_sessionmemory", "view_sessionlink")
    for path in (SESSIONS_URL, STATISTICS_URL, get_session_url(row), LINKS_URL, get_admin_url("sessionlink", linked)):
        assert client.get(path).status_code == 200, path
    assert STATISTICS_URL in fetch_page_text(client, "/admin/")
    assert client.post(get_session_url(row), {"ttl_hours": "1"}).status_code == 403
    assert client.post(get_admin_url("sessionmemory", row, "delete"), {"post": "yes"}).status_code == 403
    assert client.post(get_admin_url("sessionlink", linked), build_form(namespace)).status_code == 403
    client.post(SESSIONS_URL, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert SessionMemory.objects.filter(ttl_hours=None).count() == SessionLink.objects.count() == 1
