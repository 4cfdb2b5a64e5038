"""Discovery of patterns in the messages of a user."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.knowledge.discovery import (
    MAX_TOPICS,
    MAX_WORD_LENGTH,
    STOP_WORDS,
    build_question_pattern,
    build_topics_pattern,
    extract_words,
    find_patterns,
    rank_topics,
)
from memories.knowledge.models import Pattern
from sessions_app.models import Message
from tests.wire import fingerprint_tables, is_problem

FIVE_MESSAGES = [
    "Does the harbour open at nine?",
    "The harbour festival needs boats.",
    "Which boats are painted?",
    "Paint the lighthouse, please.",
    "Is the lighthouse open?",
]
MESSAGE_LISTS = st.lists(st.text(max_size=80), max_size=12)


def add_conversation(api, *said: str, role: str = "user", **conversation: object) -> str:
    pk = api.post("/conversations", {"user_id": "ada", **conversation}).json()["id"]
    for content in said:
        assert api.post(f"/conversations/{pk}/messages", {"role": role, "content": content}).status_code == 201
    return pk


def discover(api, conversation: str) -> dict:
    response = api.post("/patterns/discover", {"conversation_id": conversation})
    assert response.status_code == 200, response.content
    return response.json()


@pytest.mark.django_db
def test_topics_and_questions_are_discovered_and_stored(api):
    found = discover(api, add_conversation(api, *FIVE_MESSAGES))
    assert found["messages"] == 5
    topics, questions = found["patterns"]
    assert (topics["key"], topics["pattern_type"], topics["confidence"]) == ("common_topics", "preference", 0.8)
    assert topics["metadata"] == {"topics": {"boats": 2, "harbour": 2, "lighthouse": 2, "open": 2}}
    assert (topics["frequency"], topics["examples"], topics["user_id"]) == (5, FIVE_MESSAGES[:3], "ada")
    assert (questions["key"], questions["pattern_type"]) == ("question_pattern", "decision_pattern")
    assert (questions["frequency"], questions["confidence"]) == (3, 0.7)
    assert questions["examples"] == [FIVE_MESSAGES[0], FIVE_MESSAGES[2], FIVE_MESSAGES[4]]
    assert api.get("/patterns?user_id=ada").json()["results"] == [questions, topics]


@pytest.mark.django_db
def test_discovery_takes_two_statements(api, takes):
    conversation = add_conversation(api, *FIVE_MESSAGES)
    with takes(2):
        discover(api, conversation)


@pytest.mark.django_db
def test_fewer_than_five_messages_of_the_user_give_no_pattern(api):
    conversation = add_conversation(api, *FIVE_MESSAGES[:4])
    for _ in range(3):
        api.post(
            f"/conversations/{conversation}/messages", {"role": "assistant", "content": "The harbour? The harbour."}
        )
    assert discover(api, conversation) == {"patterns": [], "messages": 4}
    assert discover(api, add_conversation(api)) == {"patterns": [], "messages": 0}
    assert Pattern.objects.count() == 0


@pytest.mark.django_db
def test_the_same_conversation_is_not_counted_twice(api):
    conversation = add_conversation(api, *FIVE_MESSAGES)
    first = discover(api, conversation)["patterns"]
    again = discover(api, conversation)["patterns"]
    strip = [{name: each[name] for name in each if name != "updated_at"} for each in first]
    assert [{name: each[name] for name in each if name != "updated_at"} for each in again] == strip
    discover(api, add_conversation(api, *FIVE_MESSAGES, *FIVE_MESSAGES))
    discover(api, conversation)
    assert Pattern.objects.get(key="question_pattern").frequency == 6


@pytest.mark.django_db
def test_patterns_are_separate_for_each_user_and_for_none(api, outsider):
    for user in ("ada", "ben", None):
        discover(api, add_conversation(api, *FIVE_MESSAGES, user_id=user))
    assert set(Pattern.objects.values_list("user_id", flat=True)) == {"ada", "ben", None}
    assert set(Pattern.objects.values_list("frequency", flat=True)) == {5, 3}
    assert outsider.get("/patterns").json()["results"] == []


@pytest.mark.django_db
def test_only_the_last_thousand_messages_are_read(api, namespace):
    conversation = add_conversation(api)
    new = {"namespace": namespace, "conversation_id": conversation, "role": "user"}
    Message.objects.bulk_create(Message(content="Where is the kumquat?", **new) for _ in range(3))
    Message.objects.bulk_create(Message(content="harbour", **new) for _ in range(999))
    found = discover(api, conversation)
    assert found["messages"] == 1000
    assert [list(each["metadata"]["topics"].items()) for each in found["patterns"]] == [[("harbour", 999)]]


@pytest.mark.django_db
def test_only_the_beginning_of_a_long_message_is_read(api):
    found = discover(api, add_conversation(api, *["harbour " + "x" * 2_000 + " kumquat" for _ in range(5)]))
    assert found["patterns"][0]["metadata"]["topics"] == {"harbour": 5}


@pytest.mark.django_db
def test_a_conversation_of_another_namespace_is_404(api, outsider):
    conversation = add_conversation(api, *FIVE_MESSAGES)
    before = fingerprint_tables()
    assert is_problem(outsider.post("/patterns/discover", {"conversation_id": conversation}), 404)
    assert is_problem(api.post("/patterns/discover", {"conversation_id": str(uuid4())}), 404)
    assert fingerprint_tables() == before


@given(MESSAGE_LISTS)
def test_drafts_are_valid_for_any_messages(texts):
    for draft in find_patterns(texts, "ada"):
        assert len(texts) >= 5
        assert 1 <= draft["frequency"] <= len(texts)
        assert 1 <= len(draft["examples"]) <= 3 or not any(texts)
        assert all(len(each) <= 500 for each in draft["examples"])


@given(MESSAGE_LISTS)
def test_topics_are_recurring_words_most_frequent_first(texts):
    topics = rank_topics(texts)
    every = [word for text in texts for word in extract_words(text)]
    assert len(topics) <= MAX_TOPICS
    assert topics == sorted(topics, key=lambda each: (-each[1], each[0]))
    for word, count in topics:
        assert every.count(word) == count >= 2
        assert 4 <= len(word) <= MAX_WORD_LENGTH
        assert word not in STOP_WORDS
    missed = {word for word in every if every.count(word) >= 2} - dict(topics).keys()
    assert not missed or (len(topics) == MAX_TOPICS and max(map(every.count, missed)) <= topics[-1][1])


@given(MESSAGE_LISTS)
def test_the_order_of_messages_changes_no_topic(texts):
    assert rank_topics(texts) == rank_topics(texts[::-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The HARBOUR, the harbours", ["harbour", "harbours"]),
        ("one two six", []),
        ("get_user_name and utf8", ["user", "name"]),
        ("Äpfel im März", ["äpfel", "märz"]),
        ("they couldn't", []),
        ("x" * 65, []),
        ("don't-care harbour's", ["care", "harbour"]),
    ],
)
def test_words_are_normalised_letters_without_stop_words(text, expected):
    assert extract_words(text) == expected


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Why?", True),
        ("Why? I wonder.", True),
        ('He said "why?"', True),
        ("なぜ？", True),
        ("Why not", False),
        ("see http://x.y/?a=1", False),
        ("a ?? b", True),
    ],
)
def test_a_question_ends_a_sentence(text, asks):
    assert bool(build_question_pattern([text] * 3)) == asks


def test_two_questions_give_no_pattern():
    assert build_question_pattern(["Why?", "When?", "Now."]) is None
    assert build_topics_pattern(["Now.", "harbour"]) is None
