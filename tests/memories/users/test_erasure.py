"""Erasing a user deletes everything about the user and nothing about others."""

import threading
import time
from urllib.parse import quote_plus

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.db.models import Sum

from ingestion.models import WorkflowExecution
from memories import tasks
from memories.cleanup.models import Duplicate, Inspection
from memories.graph.models import Erasure, UserTotal
from memories.insights.models import Insight
from memories.jobs.models import Job
from memories.jobs.tasks import run_jobs
from memories.models import DueEmbedding, Embedding, Memory
from memories.users.erasure import hash_user_id, list_memory_detail_models, list_user_models
from memories.users.statistics import compact_totals, refresh_statistics_view
from memory_site.core.lists.models import SavedFilter
from sessions_app.models import SessionMemory
from tests.wire import is_problem

pytestmark = pytest.mark.django_db
# A user id and a word that occur nowhere else.
ERASED_USER, SECRET_WORD = "zorblax-the-erased", "quixotryphobia"


def fill_every_table(api, user: str, secret: str, session: str) -> dict[str, str]:
    """Store something about a user in every table that can hold it. Return ids of some rows."""
    note, deal = (api.add(f"{secret} {what}", user_id=user, session_id=session) for what in ("note", "deal"))
    tasks.embed_due()

    def post(path: str, body: dict, status: int = 201) -> dict:
        """Post with an idempotency key, so that the answer is stored."""
        answer = api.post(path, body, **{"Idempotency-Key": f"{len(user)} {path} {status}"})
        assert answer.status_code == status, answer.content
        return answer.json()

    post(f"/memories/{note['id']}/relationships", {"to_id": deal["id"], "type": "led_to", "metadata": {"of": secret}})
    pending = {"to_entity": {"system": "jira", "id": f"{secret}-1"}, "type": "relates_to", "metadata": {"of": secret}}
    post(f"/memories/{note['id']}/relationships", pending, 202)
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
    lesson = {
        "content": f"{secret} is best learned by heart.",
        "user_id": user,
        "topics": [secret],
        "projects": [f"of {user}"],
    }
    insight = post("/insights", lesson)
    return {"note": note["id"], "talk": talk["id"], "insight": insight["id"]}


def create_log_entry(operator, model: type, pk: str, text: str) -> None:
    kind = ContentType.objects.get_for_model(model)
    LogEntry.objects.create(
        user=operator, content_type=kind, object_id=pk, object_repr=text, action_flag=CHANGE, change_message=""
    )


def dump_all_tables() -> str:
    """Return all rows of all tables as PostgreSQL writes them, with readable bytes."""
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


def test_no_table_contains_an_erased_user(api, admin_user):
    stored = fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    create_log_entry(admin_user, Memory, stored["note"], f"{SECRET_WORD} note")
    create_log_entry(admin_user, Insight, stored["insight"], f"{SECRET_WORD} is best learned")
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


def test_jobs_and_saved_filters_that_name_the_user_go(api, admin_user, namespace):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    for filters, text in (
        ({"one_of": {"user_id": ["bo", ERASED_USER]}}, ""),
        ({"none_of": {"user_id": [ERASED_USER]}}, ""),
        ({}, f"notes of {ERASED_USER}."),
        ({}, f"{ERASED_USER}s"),  # a longer word: another one
    ):
        selection = {"filters": filters, "text": text}
        Job.objects.create(namespace=namespace, action="tag", parameters={"tags": ["x"]}, selection=selection)
    user = quote_plus(ERASED_USER)
    elsewhere = f"namespace=1{namespace.pk}&user_id={user}"
    for query in (f"user_id={user}", f"namespace={namespace.pk}&not_user_id={user}", elsewhere, "user_id=bo"):
        SavedFilter.objects.create(list_name="memories.memory", owner=admin_user, name=query[:80], query=query)
    assert erase_user(api).status_code == 200
    assert [job.selection["text"] for job in Job.objects.all()] == [f"{ERASED_USER}s"]
    assert [each.query for each in SavedFilter.objects.order_by("pk")] == [elsewhere, "user_id=bo"]


def test_saved_filters_of_a_deleted_namespace_go(namespace, admin_user):
    for name, query in (("own", f"namespace={namespace.pk}&user_id=ada"), ("other", f"namespace=1{namespace.pk}")):
        SavedFilter.objects.create(list_name="memories.memory", owner=admin_user, name=name, query=query)
    namespace.delete()
    assert [each.name for each in SavedFilter.objects.all()] == ["other"]


def test_erased_rows_are_counted_by_kind(api):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    answer = erase_user(api).json()
    assert answer["user_id"] == ERASED_USER
    assert answer["erased"] == {
        "relationships": 1, "pending_relationships": 1, "vectors": 2, "memories": 6, "messages": 1, "conversations": 1,
        "sessions": 1, "session_links": 1, "workflow_executions": 1, "kept_answers": 10, "insights": 1, "patterns": 1,
        "preferences": 1,
    }  # fmt: skip


def test_a_dry_run_counts_the_same_and_erases_nothing(api):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    before = dump_all_tables()
    counted = erase_user(api, dry_run=True).json()
    assert (counted["erased"], dump_all_tables()) == ({}, before)
    assert erase_user(api).json()["erased"] == counted["matched"]


def test_rows_of_other_users_and_namespaces_stay(api, outsider):
    fill_every_table(api, "ada", "theirs alone", "another session")
    fill_every_table(outsider, ERASED_USER, "of another namespace", "a session")
    tasks.embed_due()
    before, totals = set(dump_all_tables().splitlines()), load_totals()
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    erase_user(api)
    left = set(dump_all_tables().splitlines())
    summed_up = ("sessions_app_apikey", "graph_usertotal")
    assert {line for line in before - left if line.partition(":")[0] not in summed_up} == set()
    assert sorted(load_totals()) == sorted(totals)
    assert len(outsider.get(f"/users/{ERASED_USER}/memories").json()["memories"]) == 6


def test_a_session_shared_with_another_user_stays(api):
    api.post("/sessions/shared/interactions", {"query": "who?", "answer": "both"})
    for user in (ERASED_USER, "ada"):
        api.add(f"{user} was there", user_id=user, session_id="shared")
    erase_user(api)
    assert SessionMemory.objects.get().session_id == "shared"


def test_the_audit_line_has_the_requester_and_the_counts_but_not_the_user(api, key_id):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
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


def test_an_unknown_user_is_404_and_leaves_no_audit_line(api):
    assert is_problem(erase_user(api, "nobody"), 404)
    assert not Erasure.objects.exists()


def test_a_saved_filter_alone_makes_no_user(api, admin_user):
    SavedFilter.objects.create(list_name="memories.memory", owner=admin_user, name="theirs", query="user_id=elsewhere")
    assert is_problem(erase_user(api, "elsewhere"), 404)
    assert SavedFilter.objects.exists()


def test_totals_of_an_erased_user_start_at_zero(api):
    fill_every_table(api, ERASED_USER, SECRET_WORD, "a session")
    erase_user(api)
    assert not UserTotal.objects.exists()
    api.add("back again", user_id=ERASED_USER)
    assert api.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def test_every_table_with_a_user_id_is_erased():
    """A table that is added later, too; those with special treatment are listed here."""
    assert WorkflowExecution in list_user_models()
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id'")
        found = {row[0] for row in cursor.fetchall()}
    prefixes = ("bench_", "memories_", "graph_", "knowledge_", "insights_", "history_", "sessions_app_", "ingestion_")
    ours = {name for name in found if name.startswith(prefixes)}
    known = {"memories_memory", "memories_embedding", "sessions_app_conversation", "graph_usertotal"}
    known |= {"history_memoryversion", "history_deletedpart"}
    assert ours == known | {model._meta.db_table for model in list_user_models()}


def test_every_table_keyed_by_a_memory_is_erased():
    """Vectors have no page in the console and are deleted with their memories."""
    keys = [(model, model._meta.pk) for model in apps.get_models()]
    found = {model for model, key in keys if key.is_relation and key.related_model is Memory}
    assert found - {Embedding, DueEmbedding} == set(list_memory_detail_models()) == {Insight, Inspection, Duplicate}


def test_the_console_log_of_another_users_insight_stays(api, admin_user):
    for user in (ERASED_USER, "ada"):
        body = {"content": f"{user} learned all of it alone, by heart.", "user_id": user}
        insight = api.post("/insights", body).json()
        create_log_entry(admin_user, Insight, insight["id"], user)
    assert erase_user(api).json()["erased"]["console_log"] == 1
    assert [entry.object_repr for entry in LogEntry.objects.all()] == ["ada"]
    assert [row.memory.user_id for row in Insight.objects.all()] == ["ada"]


def test_a_user_id_may_contain_a_slash(api):
    api.add("tea", user_id="team/ada")
    assert erase_user(api, "team/ada").json()["erased"] == {"memories": 1}


@pytest.mark.django_db(transaction=True)
def test_totals_are_right_after_a_concurrent_compaction(api, namespace):
    """The erasure waits for the running compaction; memories stored meanwhile are counted."""
    for number in range(6):
        api.add(f"note {number}", user_id=ERASED_USER)
    with transaction.atomic():
        compact_totals(namespace.pk)
        erasing = start_in_thread(lambda: erase_user(api))
        time.sleep(0.3)
    assert erasing().status_code == 200
    assert not UserTotal.objects.exists()
    api.add("back", user_id=ERASED_USER)
    assert api.get(f"/users/{ERASED_USER}").json()["memories"] == 1


def start_in_thread(work):
    """Start the work in a thread with its own connection. Return a function that waits for the result."""
    results: list = []

    def run() -> None:
        try:
            results.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return lambda: (thread.join(60), results[0])[1]


def test_the_console_log_does_not_contain_contents(api, console):
    memory = api.add(f"{SECRET_WORD} in the console", user_id=ERASED_USER)
    plan = console.get(f"/admin/memories/memory/{memory['id']}/delete/", follow=True).context["plan"]
    assert console.post("/admin/jobs/job/plan/", {"plan": plan}).status_code == 302
    job, entry = Job.objects.get(), LogEntry.objects.get()
    assert (entry.object_id, job.matched) == (str(job.pk), 1)
    assert run_jobs() == 1
    assert not Memory.objects.exists()
    lines = find_lines(SECRET_WORD)
    assert {line.partition(":")[0] for line in lines} == {"history_memoryversion"}, lines
