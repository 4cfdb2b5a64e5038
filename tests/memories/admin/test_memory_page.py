"""The page of a memory in the console: what it shows to read, and what its buttons do."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from memories import tasks
from memories.admin.memory_page.use import FORGETTING_IS_OFF, FORGETTING_TASK, NAMESPACE_FORGETS_NOTHING
from memories.graph.models import Relationship
from memories.history.models import MemoryVersion
from memories.history.versions import fetch_current_row
from memories.models import UNUSED_PERIOD, Memory
from sessions_app.models import Namespace
from tests.console import create_staff_user

pytestmark = pytest.mark.django_db
RELATIONSHIPS = "relationships"


def fetch(console, pk, **parameters) -> str:
    response = console.get(f"/admin/memories/memory/{pk}/change/", parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return unescape(response.content.decode())


def fetch_context(console, pk, **parameters) -> dict:
    return console.get(f"/admin/memories/memory/{pk}/change/", parameters).context


def post(console, pk, action, **fields):
    return console.post(f"/admin/memories/memory/{pk}/{action}/", fields)


def read_use(console, pk) -> dict:
    return dict(fetch_context(console, pk)["use"])


def list_cards(text: str) -> list[str]:
    return [title.strip() for title in re.findall(r"<h2[^>]*>([^<]*)</h2>", text)]


# Reading


def test_title_is_the_words_and_the_form_is_behind_a_button(console, api):
    memory = api.add("the harbour of Porto")
    text = fetch(console, memory["id"])
    assert re.search(r"<title>\s*the harbour of Porto", text)
    assert "<textarea name" not in text
    assert 'href="?edit=1"' in text
    assert '<textarea name="content"' in fetch(console, memory["id"], edit=1)


def test_a_viewer_has_no_form_and_no_buttons(client, api, django_user_model):
    memory = api.add("the harbour of Porto")
    viewer = create_staff_user(client, django_user_model, "view_memory")
    for parameters in ({}, {"edit": 1}, {"tab": RELATIONSHIPS}):
        text = fetch(viewer, memory["id"], **parameters)
        assert "<textarea name" not in text
        assert "?edit=1" not in text
        assert "/delete/" not in text
    assert post(viewer, memory["id"], "relate", other=memory["id"], type="refines").status_code == 403


def test_tool_output_shows_its_data_first(console, api):
    result = {"records": [{"Id": "0065g00000XyZ12AAB", "Name": "Acme licence"}]}
    output = api.post("/tool-results", {"agent_id": "crm", "tool": "salesforce", "result": result}).json()["memory"]
    text = fetch(console, output["id"])
    assert list_cards(text)[:2] == ["Data", "Content"]
    assert list_cards(fetch(console, api.add("plain", data={"a": 1})["id"]))[:2] == ["Content", "Data"]


def test_content_that_is_json_is_a_tree(console, api):
    assert 'class="json-key">city<' in fetch(console, api.add('{"city": "Porto"}')["id"])
    assert "json-view" not in fetch(console, api.add('{"city": "Porto"')["id"])


@pytest.mark.parametrize("tab", ["memory", RELATIONSHIPS, "neighbours", "nothing", "\0", "x" * 5000])
def test_any_tab_answers(console, api, tab):
    memory = api.add("the harbour of Porto", user_id="ada")
    assert "the harbour of Porto" in fetch(console, memory["id"], tab=tab, find="\0")


# Use


def test_relevance_is_that_of_recall_and_its_parts_multiply_to_it(console, api):
    memory = api.add("the harbour of Porto", memory_type="temporary_state", base_relevance=0.8)
    Memory.objects.filter(pk=memory["id"]).update(
        created_at=timezone.now() - timedelta(hours=3), last_accessed_at=timezone.now() - timedelta(hours=2)
    )
    context = fetch_context(console, memory["id"])
    [hit] = api.post("/memories/recall", {"query": "harbour", "mode": "text"}).json()["results"]
    # Both fall by 0.00003 a second.
    assert context["relevance"] == pytest.approx(hit["relevance"], abs=0.003)
    base, decay, boost = map(float, re.findall(r"\d\.\d\d", context["relevance_formula"]))
    assert (base, decay, boost) == (0.8, 0.5, 0.15)
    assert base * decay + boost == pytest.approx(context["relevance"], abs=0.01)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"importance": 3}, "importance is MEDIUM"),
        ({"importance": 2, "tags": ["preserve"]}, "tag preserve"),
        ({"importance": 2, "metadata": {"important": True}}, "marked important"),
    ],
)
def test_a_memory_that_is_kept_says_why(console, api, fields, reason):
    Namespace.objects.update(forgets_outdated=True)
    assert reason in read_use(console, api.add("text", **fields)["id"])["Will be forgotten"]


def test_a_memory_that_will_be_forgotten_says_when(console, api):
    memory = api.add("text", importance=1)
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
    PeriodicTask.objects.create(name="forget, tested", task=FORGETTING_TASK, interval=every)

    def describe() -> str:
        return read_use(console, memory["id"])["Will be forgotten"]

    assert describe() == NAMESPACE_FORGETS_NOTHING
    Namespace.objects.update(forgets_outdated=True)
    due = Memory.objects.get(pk=memory["id"]).last_seen_at + UNUSED_PERIOD
    assert f"after {due:%Y-%m-%d}" in describe()
    long_ago = timezone.now() - timedelta(days=200)
    Memory.objects.filter(pk=memory["id"]).update(last_seen_at=long_ago, updated_at=long_ago)
    assert Memory.objects.outdated().filter(pk=memory["id"]).exists()
    assert "coming night" in describe()
    PeriodicTask.objects.update(enabled=False)
    assert describe() == FORGETTING_IS_OFF


def test_expiry_stands_out(console, api):
    assert "memory-expires" in fetch(console, api.add("short-lived", ttl_seconds=7200)["id"])
    assert "memory-expires" not in fetch(console, api.add("lasting")["id"])


# Origin


def list_origins(console, pk) -> dict[str, object]:
    return {each.kind: each for each in fetch_context(console, pk)["origins"]}


def test_origin_of_a_remembered_message_is_its_conversation(console, api):
    conversation = api.post("/conversations", {"user_id": "ada"}).json()["id"]
    message = {
        "role": "user",
        "content": "the harbour opens at nine on weekdays and is closed on the last Sunday of the month",
        "remember": True,
    }
    said = api.post(f"/conversations/{conversation}/messages", message).json()
    origin = list_origins(console, said["memory_id"])["Conversation"]
    assert conversation in origin.url
    assert "user" in origin.note


def test_origin_of_an_extracted_insight_is_its_source(console, api):
    marked = "★ Insight ─────\nStop the workers before you restore a backup of the database.\n─────"
    source = api.add(marked)
    insight = Memory.objects.get(pk=source["insights"][0])
    assert source["id"] in list_origins(console, insight.pk)["Insight of"].url


def test_origin_of_a_chunk_is_its_document_and_lines(console, api):
    document = api.post("/documents", {"content": "# Refunds\n\nTwo signatures.", "title": "Handbook"}).json()
    chunk = Memory.objects.get(document_id=document["id"])
    origin = list_origins(console, chunk.pk)["Document"]
    assert (origin.words, origin.note) == ("Handbook", "lines 1 to 3")
    assert console.get(origin.url).status_code == 200


def test_origin_of_a_workflow_memory_is_its_run(console, api):
    run = {"adapter": "airflow", "status": "completed"}
    execution = api.post("/workflows/nightly/executions", run).json()
    origin = list_origins(console, execution["memory_id"])["Workflow run"]
    assert origin.words == "nightly"
    assert execution["id"] in origin.url


def test_a_memory_with_an_earlier_date_was_imported(console, api):
    assert "Imported" in list_origins(console, api.add("old", created_at="2024-01-01T00:00:00Z")["id"])
    assert "Imported" not in list_origins(console, api.add("new")["id"])


# Relationships


def test_picker_offers_only_other_memories_of_the_same_user(console, api, outsider):
    memory = api.add("the harbour of Porto", user_id="ada")
    mine = api.add("another harbour", user_id="ada")
    api.add("a harbour of somebody else", user_id="ben")
    outsider.add("a harbour of another namespace", user_id="ada")
    tasks.embed_due()
    offered = fetch_context(console, memory["id"], tab=RELATIONSHIPS, find="harbour")["candidates"]
    assert [str(each.pk) for each in offered] == [mine["id"]]
    by_id = fetch_context(console, memory["id"], tab=RELATIONSHIPS, find=mine["id"])["candidates"]
    assert [str(each.pk) for each in by_id] == [mine["id"]]


@pytest.mark.parametrize("direction", ["to", "from"])
def test_relationship_is_added_and_removed(console, api, direction):
    here, there = api.add("the harbour")["id"], api.add("the lighthouse")["id"]
    assert post(console, here, "relate", other=there, type="depends_on", direction=direction).status_code == 302
    link = Relationship.objects.get()
    ends = [str(link.from_memory_id), str(link.to_memory_id)]
    assert (link.type, ends) == ("depends_on", [here, there] if direction == "to" else [there, here])
    assert "the lighthouse" in fetch(console, here)
    assert post(console, here, "unrelate", relationship=link.pk).status_code == 302
    assert not Relationship.objects.exists()
    assert Memory.objects.count() == 2


@pytest.mark.parametrize(
    "fields", [{}, {"other": "x"}, {"other": "\0", "type": "refines"}, {"type": "likes", "relationship": "\0"}]
)
def test_strange_relationships_are_a_message(console, api, fields):
    here, other = api.add("the harbour")["id"], api.add("the lighthouse", user_id="ben")["id"]
    for action in ("relate", "unrelate"):
        for extra in ({}, {"other": here, "type": "refines"}, {"other": other, "type": "refines"}):
            assert post(console, here, action, **(extra | fields)).status_code == 302
    assert not Relationship.objects.exists()
    assert console.get(f"/admin/memories/memory/{here}/relate/").status_code == 405


def list_label_boxes(picture: str) -> list[tuple[float, float, float, float]]:
    """Return the boxes of the texts: 7 wide a character, 13 above and 18 below the line for its two lines."""
    labels = re.findall(r'<text class="graph-label-(\w+)" x="([\d.]+)" y="([\d.]+)">(.*?)<tspan', picture)
    widths = [(end, float(x), float(y), 7 * len(unescape(text))) for end, x, y, text in labels]
    return [
        (x - width if end == "end" else x, y - 13, x if end == "end" else x + width, y + 18)
        for end, x, y, width in widths
    ]


def test_picture_shows_both_directions_and_no_label_covers_another(console, api):
    here = api.add("the harbour")["id"]
    for number in range(30):
        other = api.add(f"a ship with a rather long name that goes on and on, number {number}")["id"]
        ends = (here, other) if number % 3 else (other, here)
        api.post(f"/memories/{ends[0]}/relationships", {"to_id": ends[1], "type": "relates_to"})
    boxes = list_label_boxes(fetch(console, here, tab=RELATIONSHIPS))
    assert len(boxes) == 10 + 12
    for number, box in enumerate(boxes):
        assert 0 <= box[0] < box[2] <= 1000
        others = boxes[number + 1 :]
        assert not any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in others)


def test_a_thousand_relationships_make_no_larger_page_and_no_more_statements(
    console, namespace, django_assert_num_queries
):
    here = Memory.objects.create(namespace=namespace, content="the hub", source_system="test")
    others = [Memory(namespace=namespace, content=f"spoke {number}", source_system="test") for number in range(1000)]
    Memory.objects.bulk_create(others)
    for few in (others[:60], others[60:]):
        Relationship.objects.bulk_create(
            Relationship(namespace=namespace, owner="", from_memory=here, to_memory=other) for other in few
        )
        fetch(console, here.pk, tab=RELATIONSHIPS)
        # Session, user, memory, relationships, pending.
        with django_assert_num_queries(5):
            size = len(fetch(console, here.pk, tab=RELATIONSHIPS))
        # And those of the other cards: namespace, message, run, use, vector.
        with django_assert_num_queries(10):
            fetch(console, here.pk)
        assert size < 200_000


# History and states


def change(api, pk, **fields):
    assert api.patch(f"/memories/{pk}", fields).status_code == 200


def test_history_shows_who_changed_what_word_by_word(console, api):
    memory = api.add("the harbour opens at nine", importance=3)
    change(api, memory["id"], content="the harbour opens at eight")
    change(api, memory["id"], importance=5, data={"a": 1})
    text = fetch(console, memory["id"], tab="history")
    context = fetch_context(console, memory["id"], tab="history")
    assert [words for _, _, words in context["versions"]] == ["data, importance", "content"]
    assert all(actor.startswith("API key mem_") for _, actor, _ in context["versions"])
    assert "<del>3</del>" in text
    older = context["versions"][1][0].version
    for view in ("", "sides"):
        text = fetch(console, memory["id"], tab="history", version=older, view=view)
        assert "<del>nine</del>" in text
        assert "<ins>eight</ins>" in text


def test_a_version_is_restored_and_what_it_replaced_is_kept(console, api):
    memory = api.add("the harbour opens at nine")
    change(api, memory["id"], content="the harbour opens at eight")
    [(version, _, _)] = fetch_context(console, memory["id"], tab="history")["versions"]
    assert post(console, memory["id"], "restore", version=version.version).status_code == 302
    assert Memory.objects.get(pk=memory["id"]).content == "the harbour opens at nine"
    versions = fetch_context(console, memory["id"], tab="history")["versions"]
    assert [version.row["content"][-5:] for version, _, _ in versions] == ["eight", " nine"]
    assert versions[0][1] == "console user operator"


@pytest.mark.parametrize("version", ["", "x", "\0", "01890000-0000-7000-8000-000000000000"])
def test_strange_versions_are_a_message(console, api, version):
    memory = api.add("the harbour opens at nine")
    fetch(console, memory["id"], tab="history", version=version, before=version)
    response = console.post(f"/admin/memories/memory/{memory['id']}/restore/", {"version": version}, follow=True)
    assert "This was not restored" in " ".join(map(str, response.context["messages"]))


def test_a_restored_duplicate_is_a_message(console, api):
    memory = api.add("the harbour opens at nine")
    change(api, memory["id"], content="the harbour opens at eight")
    api.add("the harbour opens at nine")
    [(version, _, _)] = fetch_context(console, memory["id"], tab="history")["versions"]
    response = console.post(
        f"/admin/memories/memory/{memory['id']}/restore/", {"version": version.version}, follow=True
    )
    assert "This was not restored" in " ".join(map(str, response.context["messages"]))


def test_a_thousand_versions_take_pages_of_twenty_and_few_statements(
    console, api, namespace, django_assert_num_queries
):
    memory = api.add("the harbour opens at nine")
    row, now = fetch_context_row(memory["id"]), timezone.now()
    MemoryVersion.objects.bulk_create(
        MemoryVersion(
            namespace=namespace, memory_id=memory["id"], operation="update", row=row | {"summary": f"number {number}"},
            changed_by="key:mem_1", changed_at=now - timedelta(seconds=number),
        )
        for number in range(1000)
    )  # fmt: skip
    fetch(console, memory["id"], tab="history")
    # Session, user, memory, versions, the later one, the present row.
    with django_assert_num_queries(6):
        context = fetch_context(console, memory["id"], tab="history")
    assert len(context["versions"]) == 20
    with django_assert_num_queries(6):  # the row that it goes on after, and no present row
        older = fetch_context(console, memory["id"], tab="history", before=context["older"])
    assert older["versions"][0][0].row["summary"] == "number 20"


def fetch_context_row(pk) -> dict:
    memory = Memory.objects.get(pk=pk)
    return fetch_current_row(memory.namespace_id, memory.pk)


def test_a_deleted_memory_says_by_whom_and_is_brought_back(console, api):
    memory = api.add("the harbour opens at nine")
    api.delete(f"/memories/{memory['id']}")
    text = fetch(console, memory["id"])
    assert "the harbour opens at nine" in text
    assert "by API key mem_" in text
    assert post(console, memory["id"], "restore").status_code == 302
    assert Memory.objects.filter(pk=memory["id"]).exists()
    assert "deleted, and brought back since" in fetch(console, memory["id"], tab="history")


def test_what_nobody_has_deleted_is_not_there(console, client, api, django_user_model):
    memory = api.add("the harbour opens at nine")
    api.delete(f"/memories/{memory['id']}")
    missing = "01890000-0000-7000-8000-000000000000"
    assert console.get(f"/admin/memories/memory/{missing}/change/").status_code == 302
    assert post(console, missing, "restore").status_code == 302
    viewer = create_staff_user(client, django_user_model, "view_memory")
    assert viewer.get(f"/admin/memories/memory/{memory['id']}/change/").status_code == 302


def test_a_superseded_memory_links_to_its_successor_and_comes_back(console, api):
    old = api.add("the harbour opens at nine")
    new = api.add("the harbour opens at eight", replaces=[old["id"]])
    text = fetch(console, old["id"])
    assert "superseded" in text
    assert f"/admin/memories/memory/{new['id']}/change/" in text
    assert 'href="?edit=1"' not in text
    assert list_origins(console, new["id"])["Replaces"].words == "the harbour opens at nine"
    assert post(console, old["id"], "reactivate").status_code == 302
    assert api.get(f"/memories/{old['id']}").json()["state"] == "active"
