"""The console's pages of conversations and their messages."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from memories.models import Memory
from memory_site.core.admin.formatting import format_duration
from sessions_app import history
from sessions_app.admin import conversations as pages
from sessions_app.models import Conversation, Message, Namespace, SessionMemory
from tests.console import query_rows, render_rows

pytestmark = pytest.mark.django_db
LIST_URL = "/admin/sessions_app/conversation/"
MAX_LIST_STATEMENTS = 5  # session, user, saved filters, count, page
SCRIPT_TAG = "<script>alert(1)</script>"


def create_conversation(namespace: Namespace, *said: str, **fields: object) -> Conversation:
    """A conversation of these messages, by user and assistant in turns."""
    conversation = Conversation.objects.create(namespace=namespace, message_count=len(said), **fields)
    start = timezone.now() - timedelta(hours=1)
    Message.objects.bulk_create(
        Message(
            namespace=namespace,
            conversation=conversation,
            role="assistant" if place % 2 else "user",
            content=text,
            created_at=start + timedelta(seconds=place),
        )
        for place, text in enumerate(said)
    )
    return conversation


def get_page_url(row, what: str = "change") -> str:
    return reverse(f"admin:sessions_app_conversation_{what}", args=[row.pk])


def fetch_page_text(console, path: str = LIST_URL, **parameters: object) -> str:
    response = console.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def list_rows(console, **parameters: object) -> list[Conversation]:
    return query_rows(console, LIST_URL, **parameters)


def drawn(console, **parameters: object) -> list[Conversation]:
    return render_rows(console, LIST_URL, **parameters)


# The list


def test_list_shows_newest_first_by_summary_or_first_message(console, namespace):
    now = timezone.now()
    create_conversation(namespace, "the first words\nof many", "an answer", started_at=now - timedelta(days=1))
    create_conversation(namespace, "not these", summary=f"in short {SCRIPT_TAG}", started_at=now)
    create_conversation(namespace, started_at=now - timedelta(days=2))
    assert [each.beginning for each in list_rows(console)] == [
        f"in short {SCRIPT_TAG}",
        "the first words\nof many",
        None,
    ]
    text = fetch_page_text(console)
    assert SCRIPT_TAG not in text
    assert "the first words of many" in text
    assert "No messages yet" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
        (86_401, "1 d"),
        (59.6, "1 min"),
    ],
)
def test_duration_is_formatted_in_its_two_largest_units(seconds, words):
    assert format_duration(seconds) == words


def test_list_shows_durations_and_open_conversations(console, namespace):
    start = timezone.now() - timedelta(days=1)
    create_conversation(namespace, started_at=start, ended_at=start + timedelta(seconds=200))
    create_conversation(namespace)
    text = fetch_page_text(console)
    assert "3 min 20 s" in text
    assert re.search(r'class="spoken-open">open<', text)


def test_list_takes_constant_number_of_statements(console, namespace, django_assert_num_queries):
    create_conversation(namespace, "one")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        drawn(console)
    for number in range(60):
        create_conversation(Namespace.objects.create(name=f"n{number}"), f"message {number}", session_id=f"s{number}")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(drawn(console)) == 50
    with django_assert_num_queries(MAX_LIST_STATEMENTS + 1):
        assert len(drawn(console, q="message")) == 50


def test_list_reads_only_beginnings_of_texts(console, namespace):
    create_conversation(namespace, "a" * 5000, summary="b" * 5000)
    create_conversation(namespace, "a" * 5000)
    with CaptureQueriesContext(connection) as statements:
        rows = drawn(console)
    assert [len(each.beginning) for each in rows] == [160, 160]
    cut = re.sub(r'LEFT\([^)]*"(?:summary|content)"', "", statements[-1]["sql"])
    assert '"summary"' not in cut
    assert '"content"' not in cut


def test_filters_narrow_the_list(console, namespace, elsewhere):
    now = timezone.now()
    ours = create_conversation(
        namespace, user_id="ada", session_id="chat", started_at=now - timedelta(days=1), ended_at=now
    )
    theirs = create_conversation(elsewhere, user_id="bram")
    assert list_rows(console, namespace=namespace.pk) == [ours]
    assert list_rows(console, state="open") == [theirs]
    assert list_rows(console, state="ended") == [ours]
    assert list_rows(console, user_id="bram") == [theirs]
    assert list_rows(console, session_id="chat") == [ours]
    assert list_rows(console, session_id="cha") == []
    assert len(list_rows(console, state="", user_id="", session_id="", namespace="")) == 2


@pytest.mark.parametrize(
    "parameters", [{"namespace": "²"}, {"namespace": "9" * 40}, {"user_id": "a\0"}, {"session_id": "x" * 5000}]
)
def test_invalid_filter_value_matches_nothing(console, namespace, parameters):
    create_conversation(namespace, user_id="a")
    assert list_rows(console, **parameters) == []


def test_unlisted_lookup_is_refused(console):
    assert console.get(LIST_URL, {"messages__content__icontains": "a"}).status_code == 400


def test_empty_list_explains_itself(console, namespace):
    assert "API clients start conversations" in fetch_page_text(console)
    assert "No conversation matches." in fetch_page_text(console, state="open")


# The search box


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("harbour", {"summed up", "told", "sorted"}),
        ("HARBOUR nine", {"told"}),
        ("festival harbour", {"summed up"}),
        ("100%", {"odd"}),
        ("a_b", {"odd"}),
        ("back\\slash", {"odd"}),
        ("axb", set()),
        ("Ünder", {"odd"}),
        ("harbour nothing", set()),
    ],
)
def test_search_finds_all_words_in_summary_and_topics_or_one_message(console, namespace, query, expected):
    create_conversation(namespace, "When?", user_id="summed up", summary="Harbour festival")
    create_conversation(namespace, "When?", "The harbour opens at nine.", user_id="told")
    create_conversation(namespace, "Hm.", user_id="sorted", topics=["people", "harbour"])
    create_conversation(namespace, "100% of a_b, back\\slash, ünder", user_id="odd")
    assert {each.user_id for each in list_rows(console, q=query)} == expected


def test_search_applies_after_filters(console, namespace, elsewhere, monkeypatch):
    monkeypatch.setattr(pages, "MAX_SEARCHED_CONVERSATIONS", 1)
    ours = create_conversation(namespace, "harbour", started_at=timezone.now() - timedelta(days=1))
    create_conversation(elsewhere, "harbour")
    assert list_rows(console, q="harbour", namespace=namespace.pk) == [ours]


def test_search_is_limited_to_newest_conversations_messages_and_beginnings(console, namespace, monkeypatch):
    monkeypatch.setattr(pages, "MAX_SEARCHED_CONVERSATIONS", 2)
    for day in range(3):
        create_conversation(namespace, "harbour", started_at=timezone.now() - timedelta(days=day))
    assert len(list_rows(console, q="harbour")) == 2
    create_conversation(namespace, "needle", *["straw"] * pages.MAX_SEARCHED_MESSAGES)
    assert list_rows(console, q="needle") == []
    assert len(list_rows(console, q="straw")) == 1
    create_conversation(namespace, "beginning " + "x" * pages.MAX_SEARCHED_CHARACTERS + " end")
    assert len(list_rows(console, q="beginning")) == 1
    assert list_rows(console, q="end") == []


def test_search_states_its_limits(console, namespace):
    text = " ".join(fetch_page_text(console, q="harbour").split())
    assert "newest 1 000 conversations" in text
    assert "the first 10 000 characters of each of the last 100 messages" in text
    assert "Only the first 10 words" in fetch_page_text(console, q="word " * 11)


@pytest.mark.parametrize("query", ["a\0b", SCRIPT_TAG, "x" * 5000, "\\", "%", "☃", "word " * 2000, "{}", "%s {newest}"])
def test_unusual_query_is_searched(console, namespace, query):
    create_conversation(namespace, "harbour")
    assert SCRIPT_TAG not in fetch_page_text(console, q=query)


# One conversation's page


def test_page_shows_fields_and_messages_in_order(console, namespace):
    history.add(namespace.pk, "chat", [{"query": "q", "answer": "a"}])
    memory = Memory.objects.create(namespace=namespace, content="kept", memory_type="agent", source_system="test")
    row = create_conversation(
        namespace, "When?", f"At nine.\n{SCRIPT_TAG}", session_id="chat", summary="Hours", topics=["harbour <b>"],
        metadata={"note": "</div>" + SCRIPT_TAG},
    )  # fmt: skip
    Message.objects.filter(role="assistant").update(agent_id="planner", memory_id=memory.pk)
    response = console.get(get_page_url(row))
    blocks = response.context["blocks"]
    assert [(block["role"], block["text"], block["agent"]) for block in blocks] == [
        ("user", "When?", None),
        ("assistant", f"At nine.\n{SCRIPT_TAG}", "planner"),
    ]
    text = response.content.decode()
    assert reverse("admin:memories_memory_change", args=[memory.pk]) in text
    assert reverse("admin:sessions_app_sessionmemory_change", args=[SessionMemory.objects.get().pk]) in text
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", blocks[0]["at"])
    assert "At nine.\n&lt;script&gt;" in text
    assert "spoken-assistant" in text
    assert "Hours" in text
    assert "harbour &lt;b&gt;" in text
    assert SCRIPT_TAG not in text


def test_messages_are_paginated_by_100(console, namespace):
    row = create_conversation(namespace, *[f"message {number}." for number in range(205)])
    texts = [block["text"] for block in console.get(get_page_url(row)).context["blocks"]]
    assert (len(texts), texts[0], texts[-1]) == (100, "message 0.", "message 99.")
    assert [block["text"] for block in console.get(get_page_url(row), {"page": 3}).context["blocks"]][
        -1
    ] == "message 204."
    assert "101–200 of 205" in fetch_page_text(console, get_page_url(row), page=2)


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 40, "\0"])
def test_invalid_page_number_shows_nearest_page(console, namespace, number):
    assert "only this" in fetch_page_text(
        console, get_page_url(create_conversation(namespace, "only this")), page=number
    )


def test_page_takes_constant_number_of_statements(console, namespace, django_assert_num_queries):
    row = create_conversation(namespace, "one", session_id="chat")
    console.get(get_page_url(row))  # after which its content type is known
    with django_assert_num_queries(5):  # session, user, the row, count, messages
        console.get(get_page_url(row))
    row = create_conversation(namespace, *["more"] * 150, session_id="chat")
    with django_assert_num_queries(5):
        console.get(get_page_url(row))


def test_page_without_messages_says_so(console, namespace):
    assert "This conversation has no messages yet." in fetch_page_text(
        console, get_page_url(create_conversation(namespace))
    )


def test_expired_session_is_shown_without_link(console, namespace):
    SessionMemory.objects.create(
        namespace=namespace, session_id="chat", updated_at=timezone.now() - timedelta(days=400)
    )
    assert "chat (expired)" in fetch_page_text(console, get_page_url(create_conversation(namespace, session_id="chat")))


def test_session_that_never_existed_is_not_called_expired(console, namespace, elsewhere):
    SessionMemory.objects.create(
        namespace=elsewhere, session_id="chat", updated_at=timezone.now() - timedelta(days=400)
    )
    text = fetch_page_text(console, get_page_url(create_conversation(namespace, session_id="chat")))
    assert "chat" in text
    assert "(expired)" not in text


# Deleting


def test_conversation_cannot_be_added_or_changed(console, namespace):
    row = create_conversation(namespace, "one", summary="as it was")
    assert console.get(LIST_URL + "add/").status_code == 403
    assert console.post(get_page_url(row), {"summary": "other"}).status_code == 403
    row.refresh_from_db()
    assert row.summary == "as it was"


def test_delete_shows_message_count_and_keeps_memories(console, namespace):
    memory = Memory.objects.create(namespace=namespace, content="kept", memory_type="agent", source_system="test")
    row, other = create_conversation(namespace, "one", "two", "three"), create_conversation(namespace, "another")
    Message.objects.filter(conversation=row).update(memory_id=memory.pk)
    path = get_page_url(row, "delete")
    response = console.get(path)
    assert dict(response.context["model_count"]) == {"conversations": 1, "messages": 3}
    assert "Memories made from messages are kept." in response.content.decode()
    assert Message.objects.count() == 4
    assert console.post(path, {"post": "yes"}).status_code == 302
    assert Conversation.objects.get() == other
    assert Message.objects.get().content == "another"
    assert Memory.objects.get() == memory


def test_bulk_delete_shows_exact_counts(console, namespace):
    rows = [create_conversation(namespace, *["said"] * (number + 1), summary=SCRIPT_TAG) for number in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]]}
    response = console.post(LIST_URL, chosen)
    assert dict(response.context["model_count"]) == {"conversations": 2, "messages": 5}
    assert SCRIPT_TAG not in response.content.decode()
    assert Conversation.objects.count() == 3
    assert console.post(LIST_URL, chosen | {"post": "yes"}).status_code == 302
    assert Conversation.objects.get() == rows[0]
    assert Message.objects.count() == 1


# Who may see it


def test_user_without_permission_sees_nothing(client, namespace, django_user_model):
    row = create_conversation(namespace, "one")
    client.force_login(django_user_model.objects.create(username="clerk", is_staff=True))
    for path in (LIST_URL, get_page_url(row), get_page_url(row, "delete")):
        assert client.get(path).status_code == 403, path
    assert LIST_URL not in client.get("/admin/").content.decode()


def test_user_with_view_permission_cannot_delete(client, namespace, django_user_model):
    row = create_conversation(namespace, "one")
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_conversation"))
    client.force_login(clerk)
    assert "one" in fetch_page_text(client, get_page_url(row))
    assert client.post(get_page_url(row, "delete"), {"post": "yes"}).status_code == 403
    client.post(LIST_URL, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert Conversation.objects.count() == 1
