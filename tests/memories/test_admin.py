"""The admin pages of memories: list, search box, page of a memory, command palette."""

import re
from html import unescape

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingestion.models import Document
from memories import tasks
from memories.admin.columns import OPTIONAL_COLUMNS, USUAL_COLUMNS
from memories.models import Embedding, Memory
from memory_site.core.admin.base import MAX_COUNTED_ROWS
from memory_site.core.admin.formatting import THIN_SPACE
from memory_site.core.lists.models import SavedFilter
from sessions_app.models import Namespace

pytestmark = pytest.mark.django_db
LIST_URL = "/admin/memories/memory/"
MAX_LIST_STATEMENTS = 9  # session, user, saved filters, count with its limit, page


def get_page_url(pk) -> str:
    return reverse("admin:memories_memory_change", args=[pk])


@pytest.fixture
def console(client, django_user_model):
    """The browser of a signed-in superuser."""

    def get(path: str = LIST_URL, **parameters):
        response = client.get(path, parameters)
        assert response.status_code == 200, (response.status_code, response.content[:300])
        return response

    # Without a password: hashing one takes longer than any of these pages.
    operator = django_user_model.objects.create(username="operator", is_staff=True, is_superuser=True)
    client.force_login(operator)
    client.page, client.operator, client.raise_request_exception = get, operator.pk, False
    return client


def list_beginnings(response) -> list[str]:
    return [
        unescape(each) for each in re.findall(r'class="memory-beginning" title="([^"]*)"', response.content.decode())
    ]


def join_messages(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def read_form(response) -> dict[str, str]:
    """Return what a browser would submit unchanged: every line end as two characters."""
    form = response.context["adminform"].form
    data = {}
    for bound in form:
        value = bound.value()
        widget = bound.field.widget
        if hasattr(widget, "widgets"):
            parts = widget.decompress(value)
            data |= {f"{bound.name}_{i}": part or "" for i, part in enumerate(map(str, parts)) if part != "None"}
        else:
            data[bound.name] = "" if value is None else re.sub(r"\r\n?|\n", "\r\n", str(value))
    return data


def save_form(console, pk, **changes):
    return console.post(get_page_url(pk), read_form(console.page(get_page_url(pk), edit=1)) | changes)


# The list


def test_list_shows_newest_first(console, api):
    api.add("the older one", created_at="2024-01-01T00:00:00Z")
    api.add("the newer one")
    assert list_beginnings(console.page()) == ["the newer one", "the older one"]


def test_list_takes_a_constant_number_of_statements(console, api, django_assert_num_queries):
    api.add("one")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        console.page()
    for number in range(60):
        api.add(f"memory {number}", user_id=f"user {number}")
    with django_assert_num_queries(MAX_LIST_STATEMENTS):
        assert len(list_beginnings(console.page())) == 50


def test_list_loads_neither_whole_contents_nor_json(console, api):
    api.add("a" * 500, data={"some": "data"}, metadata={"some": "metadata"})
    with CaptureQueriesContext(connection) as statements:
        console.page()
    beginning = 'LEFT("memories_memory"."content"'
    rows = statements[-1]["sql"]
    assert beginning in rows
    wide = ("content", "data", "metadata", "search_vector")
    assert not any(f'"memories_memory"."{name}"' in rows.replace(beginning, "") for name in wide)


def test_expired_memories_are_hidden(console, api):
    gone = api.add("short-lived")["id"]
    Memory.objects.filter(pk=gone).update(expires_at=timezone.now())
    assert list_beginnings(console.page()) == []
    assert console.get(get_page_url(gone)).status_code == 302


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"memory_type": "insight"}, ["insight"]),
        ({"memory_type": ["insight", "rag"]}, ["insight", "rag"]),
        ({"user_id": "ada"}, ["ada's"]),
        ({"agent_id": "planner"}, ["planner's"]),
        ({"source_system": "agno"}, ["from agno"]),
        ({"entity_system": "jira"}, ["a ticket"]),
        ({"tag": "red, blue"}, ["tagged"]),
        ({"min_importance": "5"}, ["critical"]),
        ({"important": "1"}, ["important"]),
        ({"created_from": "2020-05-01", "created_to": "2020-05-31"}, ["of the last of May"]),
        ({"created_from": "2020-05-31T23:00", "created_to": "2020-06-01T00:00"}, ["of the last of May"]),
        ({"embedding": "refused"}, ["poison"]),
        ({"user_id": "", "tag": "", "namespace": "", "min_importance": ""}, 12),
    ],
)
def test_list_filters(console, api, embedder, parameters, expected):
    embedder("Refusing")
    api.add("insight", memory_type="insight")
    api.add("rag", memory_type="rag")
    api.add("ada's", user_id="ada")
    api.add("planner's", agent_id="planner")
    api.add("from agno", source_system="agno")
    api.add("a ticket", entity={"system": "jira", "id": "A-1"})
    api.add("tagged", tags=["red, blue"])
    api.add("critical", importance=5)
    api.add("important", metadata={"important": True})
    api.add("of the last of May", created_at="2020-05-31T23:59:00Z")
    api.add("of June", created_at="2020-06-01T00:00:00Z")
    api.add("poison")
    tasks.embed_due()
    shown = list_beginnings(console.page(**parameters))
    assert (len(shown) if isinstance(expected, int) else sorted(shown)) == expected


def test_namespace_filter(console, api, outsider, namespace):
    api.add("ours")
    outsider.add("theirs")
    assert list_beginnings(console.page(namespace=namespace.pk)) == ["ours"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"namespace": "abc"},
        {"namespace": "9" * 40},
        {"user_id": "a\0b"},
        {"tag": "x" * 300},
        {"min_importance": "nine"},
        {"memory_type": "nothing"},
        {"created_from": "yesterday"},
        {"created_from": "2020-05-31T99:00"},
        {"created_to": "9999-12-31"},
    ],
)
def test_invalid_filter_value_matches_nothing_and_says_why(console, api, parameters):
    api.add("something")
    response = console.page(**parameters)
    assert list_beginnings(response) == []
    assert join_messages(response).startswith("Nothing can match")


def test_unknown_lookup_in_the_url_is_refused(console):
    assert console.get(LIST_URL, {"content__regex": "(a+)+$"}).status_code == 400


def test_count_of_a_large_list_is_capped(console, namespace):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memories_memory (id, namespace_id, content, metadata, memory_type, source_system, user_id,"
            " importance, confidence, tags, created_at, updated_at, access_count)"
            " SELECT gen_random_uuid(), %s, n::text, '{}', 'agent', 'test', 'ada', 3, 1, '{}', now(), now(), 0"
            " FROM generate_series(1, %s) n",
            [namespace.pk, MAX_COUNTED_ROWS + 5],
        )
        cursor.execute("ANALYZE memories_memory")
    assert f"about 10{THIN_SPACE}000" in console.page().content.decode()
    assert f"10{THIN_SPACE}000+" in console.page(user_id="ada").content.decode()
    assert len(list_beginnings(console.page(user_id="ada", p=MAX_COUNTED_ROWS // 50))) == 50


# The search box


def test_search_box_finds_by_words_and_meaning_best_first(console, api):
    api.add("the harbour of Porto")
    api.add("harbour harbour harbour masters of the old harbour")
    api.add("nothing to do with it")
    tasks.embed_due()
    hits = api.search("harbour masters", limit=100)["results"]
    response = console.page(q="harbour masters")
    assert list_beginnings(response) == [hit["memory"]["content"] for hit in hits[:2]]  # the third is noise
    first = response.content.decode().partition("memory-score")[2]
    assert first.startswith(f'">{hits[0]["score"]:.2f}<')
    assert first.partition("memory-arm")[2].startswith('">both<')


def test_search_takes_at_most_two_more_statements_than_the_list(console, api, django_assert_max_num_queries):
    for number in range(30):
        api.add(f"harbour {number}")
    tasks.embed_due()
    console.page(q="harbour")
    with django_assert_max_num_queries(MAX_LIST_STATEMENTS + 2):
        console.page(q="harbour")


def test_hits_stay_in_score_order_when_the_list_is_sorted(console, api):
    api.add("harbour harbour")
    api.add("tea in the harbour of another town")
    tasks.embed_due()
    assert list_beginnings(console.page(q="harbour", o="7")) == list_beginnings(console.page(q="harbour"))


def test_filters_apply_inside_the_search(console, api, outsider, namespace):
    for number in range(120):
        api.add(f"harbour harbour harbour {number}", user_id="bram")
    api.add("a harbour", user_id="ada")
    outsider.add("a harbour", user_id="ada")
    tasks.embed_due()
    assert list_beginnings(console.page(q="harbour", user_id="ada", namespace=namespace.pk)) == ["a harbour"]


def test_search_by_id(console, api):
    api.add("another")
    memory = api.add("this one")
    assert list_beginnings(console.page(q=f" {memory['id']} ")) == ["this one"]


def test_unknown_id_is_searched_as_text(console, api):
    text = "01890000-0000-7000-8000-000000000000"
    api.add(f"see {text}")
    assert list_beginnings(console.page(q=text)) == [f"see {text}"]


def test_search_without_the_embedder_uses_words_and_says_so(console, api, embedder):
    api.add("the harbour of Porto")
    embedder("Away")
    response = console.page(q="harbour")
    assert list_beginnings(response) == ["the harbour of Porto"]
    assert "by words only" in join_messages(response)
    assert "words" in response.content.decode()


@pytest.mark.parametrize("query", ["harbour " * 1000, "\u200b", "\0", "a\0b", "'\"<script>%s{}", "\\", "☃", "OR AND -"])
def test_odd_queries_do_not_fail(console, api, query):
    api.add("the harbour of Porto")
    tasks.embed_due()
    response = console.page(q=query)
    assert "<script>%s" not in response.content.decode()
    assert console.page("/admin/search/", s=query, extended=1)


def test_long_query_is_truncated(console, api):
    api.add("the harbour of Porto")
    response = console.page(q="harbour " * 1000)
    assert list_beginnings(response) == ["the harbour of Porto"]
    assert "4096" in join_messages(response)


# The palette


def test_palette_finds_memories(console, api):
    memory = api.add("the harbour of Porto")
    tasks.embed_due()
    found = console.page("/admin/search/", s="harbour", extended=1).content.decode()
    assert "the harbour of Porto" in found
    assert get_page_url(memory["id"]) in found


def test_palette_needs_the_view_permission(client, api, django_user_model):
    api.add("the harbour of Porto")
    client.force_login(django_user_model.objects.create(username="clerk", is_staff=True))
    assert "Porto" not in client.get("/admin/search/", {"s": "harbour", "extended": 1}).content.decode()


# One memory's page


def test_page_describes_the_vector_without_its_numbers(console, api):
    memory = api.add("the harbour of Porto", data={"city": "Porto"})
    tasks.embed_due()
    text = console.page(get_page_url(memory["id"])).content.decode()
    assert "hashing-1" in text
    assert "768" in text
    assert "from the current content" in text
    number = next(number for number in Embedding.objects.get(memory=memory["id"]).vector if number)
    assert f"{number:.4f}" not in text


def test_page_takes_a_constant_number_of_statements(console, api, django_assert_num_queries):
    memory = api.add("the harbour of Porto")
    for many in (range(30), range(30, 60)):
        for number in many:
            api.add(f"the harbour of Porto {number}", tags=["a", "b"])
        tasks.embed_due()
        console.page(get_page_url(memory["id"]))
        # Session, user, memory, relationships, pending, namespace, message, run, use, vector, neighbours.
        with django_assert_num_queries(11):
            console.page(get_page_url(memory["id"]))


def test_similar_memories_are_of_the_same_namespace(console, api, outsider):
    memory = api.add("the harbour of Porto")
    near, far = api.add("the harbour of Porto again"), api.add("tea")
    theirs = outsider.add("the harbour of Porto")
    expired = api.add("the harbour of Porto once")
    tasks.embed_due()
    Memory.objects.filter(pk=expired["id"]).update(expires_at=timezone.now())
    found = console.page(get_page_url(memory["id"])).context["similar_memories"]
    assert [str(each.id) for each in found] == [near["id"], far["id"]]
    assert found[0].similarity > found[1].similarity
    assert theirs["id"] not in console.page(get_page_url(memory["id"])).content.decode()


def test_similar_memories_are_of_the_same_model(console, api, embedder):
    memory = api.add("the harbour of Porto")
    tasks.embed_due()
    embedder("Constant", "another")
    Namespace.objects.update(embedding_model="another")
    again = api.add("the harbour of Porto again")
    tasks.embed_due()
    assert console.page(get_page_url(memory["id"])).context["embedding"] is None
    assert console.page(get_page_url(again["id"])).context["similar_memories"] == []


def test_refused_memory_shows_the_reason(console, api, embedder):
    embedder("Refusing")
    memory = api.add("poison")
    tasks.embed_due()
    assert "It tastes of almonds." in console.page(get_page_url(memory["id"])).content.decode()
    assert "refused" in console.page().content.decode()


def test_list_says_of_each_memory_whether_it_is_embedded(console, api):
    def read_column() -> list[str]:
        return re.findall(r"field-embedded[^>]*>\s*(?:<[^>]*>)?([^<]*?)\s*<", console.page().content.decode())

    api.add("The harbour opens at nine.")
    assert read_column() == ["not yet"]
    tasks.embed_due()
    assert read_column() == ["yes"]


def test_json_is_readable_and_escaped(console, api):
    memory = api.add("x", data={"city": "Kraków", "note": "</div><script>alert(1)</script>"}, metadata={"n": 1})
    text = console.page(get_page_url(memory["id"])).content.decode()
    assert "Kraków" in text
    assert "<script>alert" not in text


def test_history_page(console, api):
    memory = api.add("text")
    save_form(console, memory["id"], summary="short")
    history = console.page(reverse("admin:memories_memory_history", args=[memory["id"]])).content.decode()
    assert re.search(r"Changed [Ss]ummary", history)


def test_labels_link_to_memories_with_the_same_label(console, api, namespace):
    memory = api.add("one", user_id="ada & co", tags=["red, blue"])
    api.add("two", user_id="ada & co")
    api.add("three", tags=["red, blue"])
    links = {link["name"]: link["query"] for link in console.page(get_page_url(memory["id"])).context["links"]}
    assert list_beginnings(console.page(LIST_URL + links["user"])) == ["two", "one"]
    assert list_beginnings(console.page(LIST_URL + links["tag"])) == ["three", "one"]


# Changing, adding, deleting


def test_insight_memory_links_to_its_insight(console, api):
    text = "A harbour is as deep as its shallowest berth, whatever the chart says."
    insight, plain = api.add(text, memory_type="insight"), api.add(text, memory_type="agent")
    page = reverse("admin:insights_insight_change", args=[insight["id"]])
    assert page in console.get(reverse("admin:memories_memory_change", args=[insight["id"]])).content.decode()
    assert page not in console.get(reverse("admin:memories_memory_change", args=[plain["id"]])).content.decode()


def test_new_content_is_queued_for_embedding(console, api):
    memory = api.add("the old text")
    tasks.embed_due()
    assert save_form(console, memory["id"], content="the new text").status_code == 302
    stored = Memory.objects.get(pk=memory["id"])
    assert (stored.content, stored.due.attempts) == ("the new text", 0)
    assert "from older content" in console.page(get_page_url(memory["id"])).content.decode()
    assert tasks.embed_due() == 1
    assert "from the current content" in console.page(get_page_url(memory["id"])).content.decode()


def test_saving_an_unchanged_form_changes_nothing(console, api):
    entity = {"system": "jira", "id": "A-1"}
    memory = api.add(
        " two\nlines, and a third\r\n",
        summary=" a\nb",
        tags=["a, b", "c"],
        user_id=" ada ",
        entity=entity,
        data={"a": [1.5]},
    )
    tasks.embed_due()
    before = Memory.objects.filter(pk=memory["id"]).values().get()
    assert save_form(console, memory["id"]).status_code == 302
    assert Memory.objects.filter(pk=memory["id"]).values().get() == before


def test_every_field_can_be_changed(console, api):
    memory = api.add("text")
    changes = {
        "summary": "short", "memory_type": "insight", "importance": "5", "confidence": "0.5", "tags": "a, b",
        "source_system": "agno", "user_id": "ada", "agent_id": "planner", "workflow_id": "w", "repo_id": "r",
        "session_id": "s", "entity_system": "jira", "entity_id": "A-1", "entity_type": "Issue", "entity_name": "Login",
        "data": '{"a": {"b": null}}', "metadata": '{"c": "ü"}', "expires_at_0": "2150-01-01",
        "expires_at_1": "00:00:00",
    }  # fmt: skip
    assert save_form(console, memory["id"], **changes).status_code == 302
    stored = api.get(f"/memories/{memory['id']}").json()
    assert stored["entity"] == {"system": "jira", "id": "A-1", "type": "Issue", "name": "Login"}
    assert (stored["data"], stored["metadata"], stored["tags"]) == ({"a": {"b": None}}, {"c": "ü"}, ["a", "b"])
    assert (stored["importance"], stored["confidence"], stored["expires_at"][:10]) == (5, 0.5, "2150-01-01")
    assert [stored[name] for name in ("user_id", "agent_id", "workflow_id", "repo_id", "session_id")] == [
        "ada", "planner", "w", "r", "s",
    ]  # fmt: skip
    assert (stored["summary"], stored["memory_type"], stored["source_system"]) == ("short", "insight", "agno")


def test_emptied_fields_are_cleared(console, api):
    entity = {"system": "jira", "id": "A-1"}
    memory = api.add("text", summary="s", user_id="ada", tags=["a"], data={"a": 1}, metadata={"b": 1}, entity=entity)
    emptied = dict.fromkeys(("summary", "user_id", "tags", "data", "metadata", "entity_system", "entity_id"), "")
    assert save_form(console, memory["id"], **emptied).status_code == 302
    stored = api.get(f"/memories/{memory['id']}").json()
    assert [stored[name] for name in ("summary", "user_id", "data", "entity")] == [None] * 4
    assert (stored["tags"], stored["metadata"]) == ([], {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", ""),
        ("content", "\u200b"),
        ("content", "a\0b"),
        ("content", "x" * 100_001),
        ("user_id", "x" * 256),
        ("source_system", " "),
        ("tags", "x" * 129),
        ("confidence", "1.5"),
        ("confidence", "nan"),
        ("importance", "6"),
        ("memory_type", "nothing"),
        ("expires_at_0", "2001-01-01"),
        ("entity_id", "A-1"),
        ("data", "[1, 2]"),
        ("data", "{"),
        ("data", '{"a": NaN}'),
        ("data", '{"a": ' + "9" * 5000 + "}"),
        ("data", "[" * 100_000),
        ("metadata", '{"a": "\\u0000"}'),
        ("metadata", '{"a": ' * 20 + "1" + "}" * 20),
    ],
)
def test_form_refuses_what_the_api_refuses(console, api, field, value):
    memory = api.add("text")
    extra = {"expires_at_1": "00:00"} if field == "expires_at_0" else {}
    response = save_form(console, memory["id"], **{field: value}, **extra)
    assert response.status_code == 200
    assert response.context["errors"]
    assert api.get(f"/memories/{memory['id']}").json()["updated_at"] == memory["updated_at"]


def test_duplicate_content_is_a_form_error_with_a_link(console, api):
    first, second = api.add("one"), api.add("two")
    response = save_form(console, second["id"], content="one")
    assert response.status_code == 200
    assert get_page_url(first["id"]) in str(response.context["adminform"].form.errors["content"])


def test_duplicate_entity_is_a_form_error(console, api):
    api.add("one", entity={"system": "jira", "id": "A-1"})
    second = api.add("two")
    response = save_form(console, second["id"], entity_system="jira", entity_id="A-1")
    assert response.status_code == 200
    assert "entity_id" in response.context["adminform"].form.errors


def build_form(namespace: Namespace, **changes: str) -> dict[str, str]:
    return {
        "namespace": str(namespace.pk), "content": "by hand", "memory_type": "agent", "importance": "3",
        "confidence": "1", "source_system": "admin", "metadata": "",
    } | changes  # fmt: skip


def test_add_form_stores_a_memory(console, api, namespace):
    assert console.page(LIST_URL + "add/")
    response = console.post(
        LIST_URL + "add/", build_form(namespace, content="by hand\r\nand more", tags="a", data='{"a": 1}')
    )
    assert response.status_code == 302
    memory = Memory.objects.get()
    assert (memory.content, memory.tags, memory.data, memory.metadata) == ("by hand\nand more", ["a"], {"a": 1}, {})
    assert (memory.namespace, memory.due.attempts) == (namespace, 0)
    assert tasks.embed_due() == 1


def test_adding_a_duplicate_is_a_form_error(console, api, namespace):
    api.add("by hand")
    response = console.post(LIST_URL + "add/", build_form(namespace))
    assert response.status_code == 200
    assert "stored already" in str(response.context["adminform"].form.errors["content"])


def test_expired_duplicate_does_not_block_adding(console, api, namespace):
    gone = api.add("by hand")
    Memory.objects.filter(pk=gone["id"]).update(expires_at=timezone.now())
    assert console.post(LIST_URL + "add/", build_form(namespace)).status_code == 302
    assert Memory.objects.get().content == "by hand"


def test_expired_duplicate_does_not_block_a_change(console, api):
    gone, memory = api.add("one"), api.add("two")
    Memory.objects.filter(pk=gone["id"]).update(expires_at=timezone.now())
    assert save_form(console, memory["id"], content="one").status_code == 302
    assert Memory.objects.get().content == "one"


def test_view_permission_allows_no_change(client, api, django_user_model):
    memory = api.add("text", data={"a": 1})
    clerk = django_user_model.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_memory"))
    client.force_login(clerk)
    assert client.get(LIST_URL).status_code == 200
    assert client.get(get_page_url(memory["id"])).status_code == 200
    assert client.post(get_page_url(memory["id"]), {"content": "other"}).status_code == 403
    assert client.get(LIST_URL + "add/").status_code == 403


# Search modes


@pytest.mark.parametrize(
    ("mode", "text", "found_in", "marked"),
    [
        ("literal", "zx-9912", "content", "<mark>ZX-9912</mark>-QQ71 &lt;b&gt;"),
        ("literal", "px-4471", "metadata", "<mark>PX-4471</mark>"),
        ("literal", 'say "hi"', "data", "<mark>say \\&quot;hi\\&quot;</mark>"),
        ("pattern", r"qq\d+", "content", "<mark>QQ71</mark>"),
        ("pattern", r"^a summ", "summary", "<mark>A summ</mark>ary"),
    ],
)
def test_text_and_pattern_are_found_in_every_field_and_marked(console, api, mode, text, found_in, marked):
    api.add("order ZX-9912-QQ71 <b>", summary="A summary", metadata={"code": "PX-4471"}, data={"note": 'say "hi"'})
    api.add("another")
    page = console.page(q=text, mode=mode)
    assert [row.found_in for row in page.context["cl"].result_list] == [found_in]
    assert marked in page.content.decode()


def test_words_of_a_smart_search_are_marked_and_escaped(console, api):
    api.add("<i>deploying</i> on Fridays is forbidden")
    tasks.embed_due()
    assert "&lt;i&gt;<mark>deploying</mark>&lt;/i&gt; on" in console.page(q="how are deploys done").content.decode()


@pytest.mark.parametrize("text", ["a(b", "[", "*"])
def test_wrong_pattern_is_a_message(console, api, text):
    api.add("a(b")
    page = console.page(q=text, mode="pattern")
    assert list_beginnings(page) == []
    assert "Nothing can match: pattern: " in join_messages(page)


def test_search_that_stops_says_so_and_goes_on_behind(console, api, monkeypatch):
    monkeypatch.setattr("memories.search.text_scan.FIRST_CHUNK_ROWS", 2)
    monkeypatch.setattr("memories.search.text_scan.MAX_SCAN_HITS", 2)
    for number in range(5):
        api.add(f"needle {number}", created_at=f"2026-01-0{number + 1}T00:00:00Z")
    page = console.page(q="needle", mode="literal")
    assert list_beginnings(page) == ["needle 4", "needle 3"]
    following = re.search(r'href="\?([^"]+)"', join_messages(page))[1]
    page = console.get(f"{LIST_URL}?{unescape(following)}")
    assert list_beginnings(page) == ["needle 2", "needle 1"]


def test_pattern_without_end_is_stopped(console, api, monkeypatch):
    monkeypatch.setattr("memories.search.text_scan.SCAN_SECONDS", 0.05)
    monkeypatch.setattr("memories.search.text_scan.MIN_CHUNK_SECONDS", 0.05)
    api.add(f"b{'a' * 600}c")
    page = console.page(q=r"^b(a*)(a*)(a*)\1\2\3.{5}$", mode="pattern")
    assert "takes too long" in join_messages(page)


def test_old_memory_with_the_words_is_found_when_the_scan_stops_before_it(console, api, monkeypatch):
    api.add("the harbour of Porto", created_at="2020-01-01T00:00:00Z")
    api.add("newer")
    monkeypatch.setattr("memories.search.text_scan.FIRST_CHUNK_ROWS", 1)
    monkeypatch.setattr("memories.search.text_scan.SCAN_SECONDS", -1)
    assert list_beginnings(console.page(q="harbour of", mode="literal")) == ["the harbour of Porto"]


# Tabs, filters, facets, orders, columns, saved filters


@pytest.fixture
def chunk(api, namespace):
    """A chunk of a document beside a memory."""
    api.add("a memory of ada", user_id="ada.lovelace@example.com", tags=["red"], source_system="crm")
    pk = api.add("a chunk", memory_type="rag", source_system="ingestion")["id"]
    document = Document.objects.create(namespace=namespace, repo_id="site", path="a.py", digest=b"", size=1)
    Memory.objects.filter(pk=pk).update(document_id=document.pk)


def test_usual_list_is_without_chunks_of_documents(console, chunk):
    assert list_beginnings(console.page()) == ["a memory of ada"]
    assert list_beginnings(console.page(chunks="only")) == ["a chunk"]
    assert list_beginnings(console.page(chunks="all")) == ["a chunk", "a memory of ada"]
    assert list_beginnings(console.page(memory_type="rag")) == ["a chunk"]
    assert [tab["is_active"] for tab in console.page().context["list_tabs"]] == [True, False, False]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"user_id_like": "LOVE"}, ["ada's"]),
        ({"tag_like": "ed"}, ["ada's"]),
        ({"user_id_like": "nobody"}, []),
        ({"not_memory_type": "insight"}, ["ada's", "entity", "plain"]),
        ({"not_user_id": ["ada.lovelace", "bob"]}, ["entity", "insight", "plain"]),
        ({"not_tag": "red"}, ["entity", "insight", "plain"]),
        ({"has_summary": "1"}, ["plain"]),
        ({"used": "1"}, []),
        ({"related": "1"}, ["ada's", "related"]),
        ({"max_confidence": "0.5"}, ["insight"]),
        ({"expires_within": "7"}, ["plain"]),
        ({"metadata": "code=7"}, ["entity"]),
        ({"metadata": '{"code": 7}'}, ["entity"]),
        ({"entity_type": "ticket"}, ["entity"]),
        ({"entity_id": "A-1"}, ["entity"]),
    ],
)
def test_further_filters(console, api, parameters, expected):
    ada = api.add("ada's", user_id="ada.lovelace", tags=["red"])["id"]
    api.add("insight", memory_type="insight", confidence=0.4)
    api.add("plain", summary="of it", ttl_seconds=3600)
    api.add("entity", entity={"system": "jira", "id": "A-1", "type": "ticket"}, metadata={"code": 7})
    if "related" in parameters:
        other = api.add("related", user_id="ada.lovelace")["id"]
        assert api.post(f"/memories/{ada}/relationships", {"to_id": other, "type": "relates_to"}).status_code == 201
    assert sorted(list_beginnings(console.page(**parameters))) == expected


def test_active_filters_are_chips_that_can_be_removed_one_by_one(console, api, namespace):
    api.add("one", user_id="ada")
    query = {"memory_type": ["insight", "agent"], "user_id": "ada", "not_tag": "red", "namespace": namespace.pk}
    chips = {(chip.title, chip.value): chip.url for chip in console.page(**query).context["chips"]}
    assert set(chips) == {
        *(("namespace", "ours"), ("type", "insight"), ("type", "agent"), ("user", "ada"), ("not tag", "red"))
    }
    assert chips["type", "insight"] == f"?memory_type=agent&namespace={namespace.pk}&not_tag=red&user_id=ada"


def test_facets_count_the_rows_of_the_list(console, api, django_assert_num_queries):
    for user in ("ada", "ada", "bob"):
        api.add(f"of {user} {Memory.objects.count()}", user_id=user, tags=["red"])
    api.add("other", source_system="crm")
    with django_assert_num_queries(7):  # session, user, and one statement with its limit
        facets = console.page(f"{LIST_URL}facets/", tag="red").context["facets"]
    counts = {facet["title"]: [(each["label"], each["count"]) for each in facet["values"]] for facet in facets}
    assert counts["user"] == [("ada", "2"), ("bob", "1")]
    assert counts["source"] == [("api", "3")]
    [ada, _] = next(facet["values"] for facet in facets if facet["title"] == "user")
    assert ada["url"] == f"{LIST_URL}?tag=red&user_id=ada"
    assert ada["without_url"] == f"{LIST_URL}?tag=red&not_user_id=ada"


def test_fields_suggest_values_that_contain_the_text(console, api):
    for user in ("ada.lovelace@a.example", "bob@a.example", "Adalbert"):
        api.add(f"of {user}", user_id=user, tags=["red & green"])
    url = f"{LIST_URL}suggestions/"
    page = console.page(url, field="user_id", parameter="user_id_like", user_id_like="ada").content.decode()
    assert re.findall('value="([^"]+)"', page) == ["Adalbert", "ada.lovelace@a.example"]
    tags = console.page(url, field="tags", parameter="tag_like", tag_like="green").content.decode()
    assert tags == '<option value="red &amp; green"></option>'
    for strange in ({}, {"field": "password"}, {"field": "user_id", "parameter": "x", "x": "\0", "namespace": "y"}):
        assert console.page(url, **strange).content == b""


def find_order(response, column: str, *, descending: bool = False) -> str:
    """Return the value of the parameter that orders by a column."""
    number = list(response.context["cl"].list_display).index(column)
    return f"{'-' if descending else ''}{number}"


@pytest.mark.parametrize("column", [*USUAL_COLUMNS, *(each for each in OPTIONAL_COLUMNS if each != "relationships")])
def test_list_is_ordered_by_every_column(console, api, column):
    SavedFilter.objects.create(
        list_name="memories.memory", owner_id=console.operator, columns=[*USUAL_COLUMNS, *OPTIONAL_COLUMNS]
    )
    for number in (2, 1, 3):
        api.add(f"memory {number}", user_id=f"user {number}", importance=number, tags=[f"tag {number}"])
    page = console.page()
    ascending = list_beginnings(console.page(o=find_order(page, column)))
    descending = list_beginnings(console.page(o=find_order(page, column, descending=True)))
    assert sorted(ascending) == sorted(descending) == ["memory 1", "memory 2", "memory 3"]
    if column in ("beginning", "user_id", "level", "tag_list"):
        assert ascending == sorted(ascending) == descending[::-1]


def test_large_list_is_ordered_among_its_newest_rows_and_says_so(console, api, monkeypatch):
    monkeypatch.setattr("memory_site.core.lists.sorting.MAX_SORTED_ROWS", 2)
    for number in (1, 2, 3):
        api.add(f"memory {number}", importance=number, created_at=f"2026-01-0{number}T00:00:00Z")
    page = console.page(o=find_order(console.page(), "level"))
    assert list_beginnings(page) == ["memory 2", "memory 3"]
    assert "Sorted among the first" in page.content.decode()


def test_columns_are_chosen_and_kept_for_the_person(console, api, client, django_user_model):
    api.add("one", summary="the summary of one")
    assert "the summary of one" not in console.page().content.decode()
    response = console.post(
        f"{LIST_URL}columns/", {"column": ["summary_beginning", "relationships"], "query": "p=2&tag=x"}
    )
    assert response.url == f"{LIST_URL}?tag=x"
    page = console.page()
    assert list(page.context["cl"].list_display)[1:] == ["beginning", "summary_beginning", "relationships"]
    assert "the summary of one" in page.content.decode()
    console.post(f"{LIST_URL}columns/", {"reset": "1"})
    assert "kind" in console.page().context["cl"].list_display


def test_saved_filters_are_links_of_their_owner_or_shared(console, django_user_model):
    query = "user_id=ada&tag=red&p=3"
    console.post(f"{LIST_URL}filters/save/", {"name": " of  ada ", "query": query})
    console.post(f"{LIST_URL}filters/save/", {"name": "shared", "query": "tag=blue", "shared": "on"})
    saved = console.page(tag="red", user_id="ada").context["saved_filters"]
    assert [(each["name"], each["url"], each["is_active"]) for each in saved] == [
        ("of ada", "?tag=red&user_id=ada", True),
        ("shared", "?tag=blue", False),
    ]
    own = SavedFilter.objects.get(name="of ada").pk
    console.force_login(django_user_model.objects.create(username="other", is_staff=True, is_superuser=True))
    assert [each["name"] for each in console.page().context["saved_filters"]] == ["shared"]
    staff = django_user_model.objects.create(username="staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_memory"))
    console.force_login(staff)
    console.post(f"{LIST_URL}filters/{own}/delete/")
    assert SavedFilter.objects.filter(pk=own).exists()


@pytest.mark.parametrize(
    "body", [{}, {"name": "a" * 81}, {"name": "\0"}, {"name": "long", "query": f"tag={'a' * 9_000}"}]
)
def test_what_cannot_be_saved_is_a_message(console, body):
    assert console.post(f"{LIST_URL}filters/save/", body).status_code == 302
    assert not SavedFilter.objects.exists()


def test_filter_that_finds_too_little_in_time_shows_the_newest_and_says_how_far_it_looked(console, api, monkeypatch):
    monkeypatch.setattr("memories.admin.search.count_in_time", lambda rows, most: None)
    monkeypatch.setattr("memories.search.text_scan.FIRST_CHUNK_ROWS", 2)
    monkeypatch.setattr("memories.search.text_scan.SCAN_SECONDS", -1)
    for number in range(4):
        api.add(f"memory {number}", importance=1 + 4 * (number % 2), created_at=f"2026-01-0{number + 1}T00:00:00Z")
    page = console.page(min_importance="5")
    assert list_beginnings(page) == ["memory 3"]
    assert "Looked at the newest 2 memories" in join_messages(page)
