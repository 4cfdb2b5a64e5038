"""The commands that store, count and show memories."""

import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from memories import tasks
from memories.memory_types import MemoryType
from memories.models import Memory
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db
NAMESPACE_OPTION = ("--namespace", "ours")
EVERY_LISTING = pytest.mark.parametrize("command", ["recent", "counts", "embedding_status"])


def run_command(capsys, *words: object) -> tuple[str, str]:
    """Return what the command writes to stdout and to stderr."""
    call_command(*map(str, words))
    return capsys.readouterr()


def run_listing(capsys, command: str, *words: object) -> list[dict]:
    return json.loads(run_command(capsys, command, *NAMESPACE_OPTION, "--format", "json", *words).out)


def run_refused_command(*words: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        call_command(*map(str, words))
    return caught.value


# remember


def test_remember_embeds_and_prints_the_id(capsys, api):
    out, err = run_command(capsys, "remember", *NAMESPACE_OPTION, "Ada likes tea.")
    memory = api.get(f"/memories/{out.strip()}").json()
    assert (memory["content"], memory["source_system"], memory["embedded"]) == ("Ada likes tea.", "command line", True)
    assert err == "Stored, embedded.\n"


def test_remember_accepts_every_option(capsys, api):
    words = ("--type", "rag", "--user", "ada", "--tag", "a", "--tag", "b", "--importance", "5")
    memory = api.get(
        f"/memories/{run_command(capsys, 'remember', *NAMESPACE_OPTION, 'tea', *words).out.strip()}"
    ).json()
    assert (memory["memory_type"], memory["user_id"], memory["tags"], memory["importance"]) == (
        *("rag", "ada", ["a", "b"], 5),
    )


def test_remember_reports_a_repeat(capsys, api):
    first = run_command(capsys, "remember", *NAMESPACE_OPTION, "tea").out
    out, err = run_command(capsys, "remember", *NAMESPACE_OPTION, "tea")
    assert out == first
    assert err.startswith("Stored before")


def test_remember_stores_without_an_embedder(capsys, api, embedder):
    embedder("Away")
    out, err = run_command(capsys, "remember", *NAMESPACE_OPTION, "tea")
    assert err == "Stored, not yet embedded.\n"
    assert api.get(f"/memories/{out.strip()}").status_code == 200


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("",), "content"),
        ((" ",), "content"),
        (("a\0b",), "content"),
        (("x" * 100_001,), "content"),
        (("tea", "--importance", "6"), "importance"),
        (("tea", "--user", ""), "user_id"),
        (("tea", "--tag", "x" * 129), "tags"),
        (("tea", "--type", "note"), "type"),
        (("tea", "--importance", "high"), "importance"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_remember_names_the_invalid_value(namespace, words, named):
    error = run_refused_command("remember", *NAMESPACE_OPTION, *words)
    assert error.returncode in (1, 2)  # the parser's own refusals carry no code when called from Python
    assert named in str(error)
    assert Memory.objects.count() == 0


# Listings


def test_recent_lists_the_newest_first(capsys, api):
    api.add("second", user_id="ada")
    api.add("first", created_at=(timezone.now() - timedelta(days=2)).isoformat())
    api.add("too old", created_at=(timezone.now() - timedelta(days=31)).isoformat())
    listed = run_listing(capsys, "recent")
    assert [row["content"] for row in listed] == ["second", "first"]
    assert set(listed[0]) == {"id", "created_at", "memory_type", "user_id", "content"}


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (2, 2), (50, 3), (-1, 0)])
def test_recent_respects_the_limit(capsys, api, limit, count):
    for number in range(3):
        api.add(f"number {number}")
    assert len(run_listing(capsys, "recent", "--limit", limit)) == count


def test_counts_groups_by_type_or_user(capsys, api):
    api.add("one", user_id="ada")
    api.add("two", user_id="ada")
    api.add("three", memory_type="rag")
    tasks.embed_due()
    api.add("four", memory_type="rag", user_id="ben")
    assert {row["memory_type"]: (row["memories"], row["embedded"]) for row in run_listing(capsys, "counts")} == {
        "agent": (2, 2),
        "rag": (2, 1),
    }
    by_user = run_listing(capsys, "counts", "--by", "user")
    assert [(row["user_id"], row["memories"]) for row in by_user] == [("ada", 2), ("ben", 1), (None, 1)]


def test_counts_in_a_table_name_what_has_no_user_and_end_with_the_total(capsys, api):
    api.add("one", user_id="ada")
    api.add("two", memory_type="rag")
    api.add("three", memory_type="rag")
    lines = run_command(capsys, "counts", *NAMESPACE_OPTION, "--by", "user", "type").out.splitlines()
    cells = [line.split()[:4] for line in lines]
    assert cells[1][:3] == ["(no", "user)", "rag"]
    assert [cells[2][0], cells[3][:2]] == ["ada", ["total", "3"]]
    rows = run_listing(capsys, "counts", "--by", "user", "type")
    assert [(row["user_id"], row["memory_type"], row["memories"]) for row in rows] == [
        (None, "rag", 2),
        ("ada", "agent", 1),
    ]


def test_recent_is_of_the_given_days_user_and_type(capsys, api):
    api.add("ours", user_id="ada")
    api.add("step", user_id="ada", memory_type="temporary_state")
    api.add("other", user_id="ben")
    api.add("older", user_id="ada", created_at=(timezone.now() - timedelta(days=40)).isoformat())
    listed = run_listing(capsys, "recent", "--days", 50, "--user", "ada", "--type", "agent")
    assert [row["content"] for row in listed] == ["ours", "older"]
    assert [row["content"] for row in run_listing(capsys, "recent", "--user", "ben", "--days", 0.5)] == ["other"]


@pytest.mark.parametrize("days", [0, -1, "nan", "inf", 1e9])
def test_recent_refuses_days_that_are_none(namespace, days):
    error = run_refused_command("recent", *NAMESPACE_OPTION, "--days", str(days))
    assert (str(error), error.returncode) == ("--days must be above 0 and at most 100,000.", 2)


def test_embedding_status_shows_models_backlog_and_refusals(capsys, api, embedder):
    embedder("Refusing", model="old")
    api.add("one")
    api.add("poison")
    tasks.embed_due()
    embedder("Watched", model="new")
    Namespace.objects.update(embedding_model="new")
    api.add("two")
    tasks.embed_due()
    api.add("three")
    rows = {(row["what"], row["note"]): row["memories"] for row in run_listing(capsys, "embedding_status")}
    assert rows == {
        ("model new", "active: used by searches"): 1,
        ("model old", "of another model: not used by searches"): 1,
        ("waiting", "to be embedded"): 1,
        ("refused", "It tastes of almonds."): 1,
    }


def test_entities_are_listed_by_system_and_user(capsys, api):
    for system, number, user in (("jira", "A-1", "ada"), ("jira", "A-2", "ben"), ("salesforce", "001", "ada")):
        entity = {"system": system, "id": number, "type": "thing", "name": f"thing {number}"}
        api.add(f"{system} {number}", entity=entity, user_id=user)
    api.add("no entity")
    listed = run_listing(capsys, "entities")
    assert [row["entity_id"] for row in listed] == ["001", "A-2", "A-1"]
    assert listed[0]["entity_name"] == "thing 001"
    assert [row["entity_id"] for row in run_listing(capsys, "entities", "--system", "jira")] == ["A-2", "A-1"]
    assert [row["entity_id"] for row in run_listing(capsys, "entities", "--user", "ada", "--limit", "1")] == ["001"]


def test_summaries_filters_by_pattern(capsys, api):
    api.add("one", summary="Won the Acme deal")
    api.add("two", summary="Lost the Bravo deal")
    api.add("three")
    api.post("/documents", {"content": "Both deals are in the book.", "title": "Book of deals"})
    assert [row["summary"] for row in run_listing(capsys, "summaries")] == ["Lost the Bravo deal", "Won the Acme deal"]
    assert [row["summary"] for row in run_listing(capsys, "summaries", "^won .* deal$")] == ["Won the Acme deal"]
    error = run_refused_command("summaries", *NAMESPACE_OPTION, "(")
    assert (str(error), error.returncode) == ("Not a regular expression: (", 2)


def test_literal_search_covers_content_summary_data_and_metadata(capsys, api):
    api.add("100% of the harbour")
    api.add("two", summary="1000 of the Harbour")
    api.add("three", data={"deep": {"place": ["harbour 100%"]}})
    api.add("four", metadata={"ref": "Harbour-7"})
    api.add("nothing of it")
    found = run_listing(capsys, "search", "HARBOUR", "--literal")
    assert [row["content"] for row in found] == ["four", "three", "two", "100% of the harbour"]
    assert [row["content"] for row in run_listing(capsys, "search", "100%", "--literal")] == [
        "three",
        "100% of the harbour",
    ]


@EVERY_LISTING
def test_jsonl_prints_one_object_per_line(capsys, api, command):
    api.add("tea\nand coffee")
    out = run_command(capsys, command, *NAMESPACE_OPTION, "--format", "jsonl").out
    assert [json.loads(line) for line in out.splitlines()] == run_listing(capsys, command)


@EVERY_LISTING
def test_table_is_readable(capsys, api, command):
    api.add("tea [bold]and[/bold] coffee " + "x" * 300, user_id="ada")
    out = run_command(capsys, command, *NAMESPACE_OPTION).out
    assert len(out.splitlines()) >= 2
    assert "[bold]" in out or command != "recent"
    assert "x" * 200 not in out


@pytest.mark.parametrize("command", ["recent", "counts"])
def test_empty_listing_says_nothing(capsys, namespace, command):
    assert run_listing(capsys, command) == []
    assert run_command(capsys, command, *NAMESPACE_OPTION, "--format", "jsonl").out == ""
    out, err = run_command(capsys, command, *NAMESPACE_OPTION)
    assert (out, err) == ("", "Nothing.\n")


@EVERY_LISTING
def test_listing_excludes_other_namespaces(capsys, api, outsider, command):
    outsider.add("theirs")
    assert "theirs" not in run_command(capsys, command, *NAMESPACE_OPTION).out
    assert sum(row.get("memories", 1) for row in run_listing(capsys, command)) == 0


@pytest.mark.parametrize("command", ["recent", "counts"])
def test_listing_excludes_expired_memories(capsys, api, command):
    api.add("tea")
    Memory.objects.update(expires_at=timezone.now())
    assert run_listing(capsys, command) == []


# show


def test_show_prints_the_memory(capsys, api):
    memory = api.add("tea", metadata={"ü": 1}, entity={"system": "jira", "id": "A-1"})
    out = run_command(capsys, "show", *NAMESPACE_OPTION, memory["id"]).out
    assert json.loads(out) == api.get(f"/memories/{memory['id']}").json()
    assert "ü" in out


def test_show_fails_for_a_missing_memory(namespace):
    assert run_refused_command("show", *NAMESPACE_OPTION, uuid4()).returncode == 1


def test_show_fails_for_another_namespace(api, outsider):
    assert run_refused_command("show", *NAMESPACE_OPTION, outsider.add("theirs")["id"]).returncode == 1


@pytest.mark.parametrize("text", ["x", "", "00000000-0000-0000-0000-00000000000g"])
def test_show_refuses_an_invalid_id(namespace, text):
    error = run_refused_command("show", *NAMESPACE_OPTION, text)
    assert error.returncode == 2
    assert repr(text) in str(error)


# Everywhere


@pytest.mark.parametrize(
    "words", [("recent",), ("counts",), ("embedding_status",), ("show", UUID(int=7)), ("remember", "tea")], ids=str
)
def test_unknown_namespace_is_refused_and_known_ones_are_named(namespace, words):
    error = run_refused_command(*words, "--namespace", "nowhere")
    assert error.returncode == 2
    assert "'nowhere'" in str(error)
    assert "ours" in str(error)


@EVERY_LISTING
def test_unknown_format_is_refused(namespace, command):
    assert "xml" in str(run_refused_command(command, *NAMESPACE_OPTION, "--format", "xml"))


@pytest.mark.parametrize("kind", list(MemoryType))
def test_every_type_can_be_remembered(capsys, api, kind):
    run_command(capsys, "remember", *NAMESPACE_OPTION, "tea", "--type", kind)
    assert Memory.objects.get().memory_type == kind
