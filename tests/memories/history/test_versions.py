"""Each change and deletion of a memory keeps what stood there, with who did it, when, and in which request."""

from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from memories.history.models import MemoryVersion
from memories.history.trigger_sql import LEFT_OUT, SILENT_COLUMNS
from memories.history.versions import Change, list_kept_fields, list_versions
from memories.models import Memory
from memories.triggers import TRIGGERS
from memory_site.core.db.actor import acting_as, acting_in_job, name_actor, without_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def tea(api) -> dict:
    return api.add("Ada likes green tea.", user_id="ada", tags=["taste"], metadata={"a": 1}, data={"b": [1]})


def name_key(api) -> str:
    return "key:" + "_".join(api.token.split("_")[:2])


def versions_of(memory: dict) -> list:
    return list_versions(1, UUID(memory["id"]))


def execute(sql: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def test_a_change_by_the_api_keeps_the_earlier_row_with_key_and_request(api, tea):
    response = api.patch(f"/memories/{tea['id']}", {"content": "Ada likes black tea.", "importance": 5})
    [version] = versions_of(tea)
    assert version.changes == [
        Change("content", "Ada likes green tea.", "Ada likes black tea."),
        Change("importance", 3, 5),
    ]
    assert version.operation == "update"
    assert version.row["tags"] == ["taste"]
    assert version.row["metadata"] == {"a": 1}
    assert version.changed_by == name_key(api)
    assert version.request_id == response["X-Request-ID"]


def test_versions_are_listed_newest_first_each_against_the_next(api, tea):
    for importance in (4, 5):
        api.patch(f"/memories/{tea['id']}", {"importance": importance})
    assert [version.changes for version in versions_of(tea)] == [
        [Change("importance", 4, 5)],
        [Change("importance", 3, 4)],
    ]


def test_a_deletion_keeps_the_row_with_who_deleted_it(api, tea):
    api.delete(f"/memories/{tea['id']}")
    [version] = versions_of(tea)
    assert (version.operation, version.changed_by, version.changes) == ("delete", name_key(api), ())
    assert version.row["content"] == tea["content"]


def test_sql_by_hand_is_caught_and_changed_by_the_role(api, tea):
    name_actor()  # of nobody: one transaction holds the whole test
    execute("UPDATE memories_memory SET importance = 1")
    execute("DELETE FROM memories_memory")
    deleted, changed = versions_of(tea)
    assert (deleted.operation, changed.operation) == ("delete", "update")
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        assert changed.changed_by == deleted.changed_by == f"database:{cursor.fetchone()[0]}"


def test_commands_tasks_and_jobs_are_named(api, tea):
    job = uuid4()
    with acting_as("task:memories.tasks.x"), acting_in_job(job), transaction.atomic():
        Memory.objects.filter(pk=tea["id"]).update(importance=4)
    Memory.objects.filter(pk=tea["id"]).update(importance=5)
    later, earlier = versions_of(tea)
    assert (earlier.changed_by, earlier.job_id) == ("task:memories.tasks.x", job)
    assert later.changed_by.startswith("database:")
    assert later.job_id is None


def test_the_deletion_of_all_rows_is_not_credited_to_who_acted_before(api, tea):
    with acting_as("command:earlier"), transaction.atomic():
        Memory.objects.filter(pk=tea["id"]).update(importance=4)
    with acting_as("command:later"):
        Memory.objects.all()._raw_delete("default")
    assert versions_of(tea)[0].changed_by == "command:later"


def test_a_command_is_named(api, namespace, tea):
    execute("UPDATE memories_memory SET importance = 1, last_seen_at = now() - interval '100 days',"
            " updated_at = now() - interval '100 days'")  # fmt: skip
    call_command("forget_outdated", namespace=namespace.name)
    assert versions_of(tea)[0].changed_by == "command:forget_outdated"


def test_storing_the_same_again_makes_a_version_only_if_it_changed_something(api, tea):
    api.add(tea["content"], user_id="ada")
    assert versions_of(tea) == []
    api.add(tea["content"], user_id="ada", tags=["warm"])
    [version] = versions_of(tea)
    assert version.changes == [Change("tags", ["taste"], ["taste", "warm"])]
    assert version.changed_by == name_key(api)


def test_counters_and_derived_columns_make_no_version(api, tea):
    api.post("/memories/recall", {"query": "green tea"})
    execute("UPDATE memories_memory SET access_count = 9, last_seen_at = now(), update_count = 3, updated_at = now()")
    assert versions_of(tea) == []


def test_storing_takes_one_statement_as_before(api, tea):
    with CaptureQueriesContext(connection) as queries:
        api.add("Ada likes coffee.", user_id="ada")
    assert [query["sql"].split()[0] for query in queries if "memories_memory" in query["sql"]] == ["WITH"]
    assert not any("actor_of_statement" in query["sql"].split("FROM", 1)[0] for query in queries)
    assert MemoryVersion.objects.count() == 0


def test_what_is_done_without_history_leaves_nothing(api, tea):
    api.patch(f"/memories/{tea['id']}", {"importance": 5})
    with without_history():
        Memory.objects.filter(pk=tea["id"]).update(importance=4)
        assert MemoryVersion.objects.count() == 1
        Memory.objects.filter(pk=tea["id"]).delete()
    assert MemoryVersion.objects.count() == 0


def test_a_rolled_back_change_leaves_no_version_and_no_actor(api, tea):
    with acting_as("console:ada"), transaction.atomic():
        Memory.objects.filter(pk=tea["id"]).update(importance=5)
        transaction.set_rollback(True)
    assert versions_of(tea) == []


def test_versions_keep_every_column_but_counters_and_derived_ones():
    """A new column of Memory belongs into the triggers (`keep_columns` in a migration), or into LEFT_OUT."""
    [trigger] = [each for each in TRIGGERS if each.name == "history_keep_changed_memory"]
    assert {*trigger.columns, *SILENT_COLUMNS} == set(list_kept_fields())
    columns = {field.column for field in Memory._meta.concrete_fields}
    assert columns == {*list_kept_fields(), *LEFT_OUT, "namespace_id", "id"}


def test_the_triggers_keep_the_listed_columns(api, tea):
    execute("UPDATE memories_memory SET importance = 1")
    execute("DELETE FROM memories_memory")
    assert all(set(version.row) == set(list_kept_fields()) for version in versions_of(tea))
