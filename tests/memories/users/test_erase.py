"""Erasing a user: everything of his is gone from the database, and nothing of anybody else's."""

import threading
import time

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.db.models import Sum

from ingestion.models import WorkflowExecution
from memories import tasks
from memories.graph.models import Erasure, UserTotal
from memories.insights.models import Insight
from memories.models import DueEmbedding, Embedding, Memory
from memories.users.erasure import hash_user_id, list_memory_detail_models, list_user_models
from memories.users.statistics import compact_totals, refresh_statistics_view
from sessions_app.models import SessionMemory
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
# A name and words that stand nowhere else.
ERASED_USER, SECRET_WORD = "zorblax-the-erased", "quixotryphobia"


def fill_every_table(api, user: str, secret: str, session: str) -> dict[str, str]:
    """Something of a user in every table that can hold something of him."""
    note, deal = (api.add(f"{secret} {what}", user_id=user, session_id=session) for what in ("note", "deal"))
    tasks.embed_due()

    def post(path: str, body: dict, status: int = 201) -> dict:
        """With a key, so that the answer is kept."""
        answer = api.post(path, body, **{"Idempotency-Key": f"{len(user)} {path} {status}"})
        assert answer.status_code == status, answer.content
        return answer.json()

    post(f"/memories/{note['id']}/relationships", {"to_id": deal["id"], "type": "led_to", "metadata": {"of": secret}})
    later = {"to_entity": {"system": "jira", "id": f"{secret}-1"}, "type": "relates_to", "metadata": {"of": secret}}
    post(f"/memories/{note['id']}/relationships", later, 202)
    post(f"/sessions/{session}/interactions", {"interactions": [{"query": f"{secret}?", "answer": secret}]})
    post("/session-links", {"source_session_id": session, "target_session_id": f"{session}-2", "context": secret})
    talk = post("/conversations", {"user_id": user, "session_id": session})
    message = {"role": "user", "content": f"{secret} is what I always say, and it is my plan.", "remember": True}
    post(f"/conversations/{talk['id']}/messages", message)
    run = {"adapter": "prefect", "user_id": user, "status": "completed", "summary": f"{secret} workflow"}
    post("/workflows/nightly/executions", run)
    post("/memories", {"content": f"{secret} once", "user_id": user, "tags": [f"of {user}"]})
    pattern = {"pattern_type": "workflow", "key": secret, "user_id": user, "examples": [secret]}
    post("/patterns", pattern)
    preference = {"value": secret, "source": secret}
    assert api.call("PUT", f"/preferences/{user}/tone", preference).status_code == 201
    learned = {
        "content": f"{secret} is best learned by heart.",
        "user_id": user,
        "topics": [secret],
        "projects": [f"of {user}"],
    }
    insight = post("/insights", learned)
    return {"note": note["id"], "talk": talk["id"], "insight": insight["id"]}


def create_log_entry(operator, model: type, pk: str, text: str) -> None:
    kind = ContentType.objects.get_for_model(model)
    LogEntry.objects.create(
        user=operator, content_type=kind, object_id=pk, object_repr=text, action_flag=CHANGE, change_message=""
    )


def dump_all_tables() -> str:
    """All rows of all tables, as PostgreSQL writes them; bytes readable."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I', oid::regclass::text) FROM pg_class"
            " WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace"
        )
        tables = [row[0].strip('"') for row in cursor.fetchall()]
        cursor.execute("SET LOCAL bytea_output = 'escape'")
        texts = []
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            texts += [f"{table}: {row[0]}" for row in cursor.fetchall()]
    return "\n".join(texts)


def find_lines(*words: str) -> list[str]:
    return [line for line in dump_all_tables().splitlines() if any(word in line for word in words)]


def load_totals() -> list:
    return list(UserTotal.objects.values_list("namespace", "user_id").annotate(Sum("memories"), Sum("relationships")))


def erase_user(api, user: str = ERASED_USER, **query):
    return api.delete(f"/users/{user}" + ("?dry_run=true" if query.get("dry_run") else ""))


def test_nothing_is_left_of_him_in_any_table(api, admin_user):
    kept = fill_every_table(api, ERASED_USER, SECRET_WORD, "his session")
    create_log_entry(admin_user, Memory, kept["note"], f"{SECRET_WORD} note")
    create_log_entry(admin_user, Insight, kept["insight"], f"{SECRET_WORD} is best learned")
    refresh_statistics_view()
    tables = {line.partition(":")[0] for line in find_lines(ERASED_USER, SECRET_WORD)}
    assert tables >= {
        "memories_memory", "graph_usertotal", "graph_userstatistics", "graph_pendingrelationship", "django_admin_log",
        "sessions_app_sessionmemory", "sessions_app_sessionlink", "sessions_app_conversation", "sessions_app_message",
        "ingestion_workflowexecution", "sessions_app_idempotentanswer", "insights_insight", "knowledge_pattern",
        "knowledge_preference", "knowledge_cluster",
    }  # fmt: skip
    answer = erase_user(api)
    assert answer.status_code == 200
    assert answer.json()["erased"] == answer.json()["matched"]
    refresh_statistics_view()
    assert find_lines(ERASED_USER, SECRET_WORD) == []
    assert is_problem(erase_user(api), 404)
    assert is_problem(api.get(f"/users/{ERASED_USER}"), 404)


def test_what_was_erased_is_counted_by_kind(api):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "his session")
    told = erase_user(api).json()
    assert told["user_id"] == ERASED_USER
    assert told["erased"] == {
        "relationships": 1, "pending_relationships": 1, "vectors": 2, "memories": 6, "messages": 1, "conversations": 1,
        "sessions": 1, "session_links": 1, "workflow_executions": 1, "kept_answers": 10, "insights": 1, "patterns": 1,
        "preferences": 1,
    }  # fmt: skip


def test_a_dry_run_counts_the_same_and_erases_nothing(api):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "his session")
    before = dump_all_tables()
    told = erase_user(api, dry_run=True).json()
    assert (told["erased"], dump_all_tables()) == ({}, before)
    assert erase_user(api).json()["erased"] == told["matched"]


def test_everybody_elses_stays(api, outsider):
    fill_every_table(api, "ada", "theirs alone", "her session")
    fill_every_table(outsider, ERASED_USER, "of another namespace", "his session")
    tasks.embed_due()
    before, totals = set(dump_all_tables().splitlines()), load_totals()
    fill_every_table(api, ERASED_USER, SECRET_WORD, "his session")
    erase_user(api)
    left = set(dump_all_tables().splitlines())
    summed_up = ("sessions_app_apikey", "graph_usertotal")
    assert {line for line in before - left if line.partition(":")[0] not in summed_up} == set()
    assert sorted(load_totals()) == sorted(totals)
    assert len(outsider.get(f"/users/{ERASED_USER}/memories").json()["memories"]) == 6


def test_a_session_that_another_user_names_too_stays(api):
    api.post("/sessions/shared/interactions", {"query": "who?", "answer": "both"})
    for user in (ERASED_USER, "ada"):
        api.add(f"{user} was there", user_id=user, session_id="shared")
    erase_user(api)
    assert SessionMemory.objects.get().session_id == "shared"


def test_an_audit_line_tells_when_by_whom_and_how_much_but_not_who(api, key_id):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "his session")
    erased = erase_user(api).json()["erased"]
    line = Erasure.objects.get()
    assert (line.requested_by, line.erased, bytes(line.user_digest)) == (
        f"mem_{key_id}",
        erased,
        hash_user_id(ERASED_USER),
    )


@pytest.fixture
def key_id(api) -> str:
    return api.token.split("_")[1]


def test_an_unknown_user_is_a_404_and_leaves_no_line(api):
    assert is_problem(erase_user(api, "nobody"), 404)
    assert not Erasure.objects.exists()


def test_his_totals_begin_anew(api):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "his session")
    erase_user(api)
    assert not UserTotal.objects.exists()
    api.add("back again", user_id=ERASED_USER)
    assert api.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def test_every_table_that_names_users_is_searched():
    """Also one that is added later; those of the store itself are listed by hand."""
    assert WorkflowExecution in list_user_models()
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id'")
        found = {row[0] for row in cursor.fetchall()}
    prefixes = ("memories_", "graph_", "knowledge_", "insights_", "sessions_app_", "ingestion_")
    ours = {name for name in found if name.startswith(prefixes)}
    known = {"memories_memory", "memories_embedding", "sessions_app_conversation", "graph_usertotal"}
    assert ours == known | {model._meta.db_table for model in list_user_models()}


def test_every_table_that_says_more_of_a_memory_is_searched():
    """Those of vectors have no page in the console, and are listed by hand or go with their memories."""
    keys = [(model, model._meta.pk) for model in apps.get_models()]
    found = {model for model, key in keys if key.is_relation and key.related_model is Memory}
    assert found - {Embedding, DueEmbedding} == set(list_memory_detail_models()) == {Insight}


def test_another_users_insight_keeps_its_line_in_the_console(api, admin_user):
    for user in (ERASED_USER, "ada"):
        said = {"content": f"{user} learned all of it alone, by heart.", "user_id": user}
        insight = api.post("/insights", said).json()
        create_log_entry(admin_user, Insight, insight["id"], user)
    assert erase_user(api).json()["erased"]["console_log"] == 1
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["ada"]
    assert [row.memory.user_id for row in Insight.objects.all()] == ["ada"]


def test_a_slash_in_a_users_name_is_no_other_address(api):
    api.add("tea", user_id="team/ada")
    assert erase_user(api, "team/ada").json()["erased"] == {"memories": 1}


@pytest.mark.django_db(transaction=True)
def test_totals_are_right_whoever_sums_them_up_meanwhile(api):
    """The erasure waits for a compaction that is under way, and what is stored meanwhile counts."""
    for number in range(6):
        api.add(f"note {number}", user_id=ERASED_USER)
    with transaction.atomic():
        compact_totals()
        erasing = start_in_thread(lambda: erase_user(api))
        time.sleep(0.3)
    assert erasing().status_code == 200
    assert not UserTotal.objects.exists()
    api.add("back", user_id=ERASED_USER)
    assert api.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def start_in_thread(work):
    """Begin the work on another connection; calling what is returned waits for its result."""
    results: list = []

    def run() -> None:
        try:
            results.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return lambda: (thread.join(20), results[0])[1]


def test_what_the_console_notes_does_not_repeat_what_is_remembered(api, console, client):
    memory = api.add(f"{SECRET_WORD} in the console", user_id=ERASED_USER)
    page = f"/admin/memories/memory/{memory['id']}/delete/"
    assert console.post(page, {"post": "yes"}).status_code == 302
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.object_id) == (memory["id"], memory["id"])
