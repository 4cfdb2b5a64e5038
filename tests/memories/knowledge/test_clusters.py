"""Clusters: memories of one type with the same tags, their names and importance."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import RFC_4122, uuid4

import pytest
from django.db import connection, transaction

from memories.knowledge import tasks
from memories.knowledge.models import Cluster, DueCluster
from memories.models import Memory
from sessions_app.models import Namespace
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
ACME_CLUSTER = {"memory_type": "business_fact", "tags": ["acme", "renewal"]}


def format_time_ago(**time: float) -> str:
    return str(datetime.now(UTC) - timedelta(**time))


def list_clusters(api, query: str = "") -> list[dict]:
    response = api.get(f"/clusters{query}")
    assert response.status_code == 200, response.content
    return response.json()["results"]


def list_cluster_keys(api) -> set[tuple]:
    return {(each["memory_type"], *each["tags"]) for each in list_clusters(api, "?limit=100")}


def add_cluster(api, called: str = "Acme", status: int = 201, **fields: object) -> dict:
    response = api.post("/clusters", {"name": called, **ACME_CLUSTER, **fields})
    assert response.status_code == status, response.content
    return response.json()


def get_only_cluster(api) -> dict:
    [cluster] = list_clusters(api)
    return cluster


def test_the_first_memory_with_its_tags_creates_a_cluster(api):
    memory = api.add("Acme renews in May.", **ACME_CLUSTER)
    cluster = get_only_cluster(api)
    assert (cluster["memory_type"], cluster["tags"]) == ("business_fact", ["acme", "renewal"])
    assert (cluster["name"], cluster["description"]) == ("Business fact: acme, renewal", None)
    assert (cluster["member_count"], cluster["members"]) == (1, [memory["id"]])
    assert (cluster["confidence"], cluster["topics"]) == (1, [])


def test_members_have_the_same_type_and_the_same_tags_in_any_order(api):
    first = api.add("one", **ACME_CLUSTER)["id"]
    second = api.add("two", memory_type="business_fact", tags=["renewal", "acme"])["id"]
    api.add("another type", tags=["acme", "renewal"])
    api.add("fewer", memory_type="business_fact", tags=["acme"])
    api.add("more", memory_type="business_fact", tags=["acme", "renewal", "x"])
    api.add("none", memory_type="business_fact")
    found = {(each["memory_type"], *each["tags"]): set(each["members"]) for each in list_clusters(api)}
    assert found["business_fact", "acme", "renewal"] == {first, second}
    assert len(found) == 4


def test_clusters_are_filtered_by_type_and_tag(api):
    for kind in ("agent", "rag"):
        for tags in (["a"], ["a", "b"], ["c"]):
            api.add("_".join(tags), memory_type=kind, tags=tags)
    assert len(list_clusters(api, "?memory_type=rag")) == 3
    assert len(list_clusters(api, "?tag=a")) == 4
    assert [each["tags"] for each in list_clusters(api, "?tag=b&memory_type=agent")] == [["a", "b"]]
    assert is_problem(api.get("/clusters?memory_type=nonsense"), 422)


@pytest.mark.parametrize("tags", [["a,b"], ["a", "b"], ["{a}"], ['"a"'], ["A"], ["NULL"], ["null"], ["ä"], ["\\"]])
def test_different_tags_are_different_clusters(api, tags):
    others = [
        ["a,b"],
        ["a", "b"],
        ["{a}"],
        ['"a"'],
        ["A"],
        ["NULL"],
        ["null"],
        ["ä"],
        ["\\"],
        ["a"],
        ["b"],
        ["a\u0308"],
    ]
    for number, each in enumerate(others):
        api.add(f"memory {number}", tags=each)
    assert list_cluster_keys(api) == {("agent", *sorted(each)) for each in others}
    [cluster] = [each for each in list_clusters(api) if each["tags"] == sorted(tags)]
    assert cluster["member_count"] == 1


def test_a_bulk_insert_creates_each_cluster_once(api):
    items = [{"content": f"number {each}", "tags": [f"tag {each % 3}"]} for each in range(30)]
    assert api.post("/memories/bulk", {"memories": items}).status_code == 201
    assert sorted(each["member_count"] for each in list_clusters(api)) == [10, 10, 10]
    assert DueCluster.objects.count() == 0


def test_memories_inserted_without_the_api_create_clusters(api, namespace):
    rows = [Memory(namespace=namespace, content=f"{n}", source_system="x", tags=["b", "a", "b"]) for n in range(2)]
    Memory.objects.bulk_create(rows)
    assert (get_only_cluster(api)["tags"], get_only_cluster(api)["member_count"]) == (["a", "b"], 2)


def test_membership_follows_edits_and_deletes(api):
    memory = api.add("one", tags=["a"])["id"]
    api.add("two", tags=["b"])
    api.patch(f"/memories/{memory}", {"tags": ["b"]})
    assert (get_only_cluster(api)["tags"], get_only_cluster(api)["member_count"]) == (["b"], 2)
    api.patch(f"/memories/{memory}", {"memory_type": "rag"})
    assert list_cluster_keys(api) == {("agent", "b"), ("rag", "b")}
    api.patch(f"/memories/{memory}", {"tags": []})
    assert list_cluster_keys(api) == {("agent", "b")}
    assert Cluster.objects.count() == 1


def test_merged_tags_create_a_cluster(api):
    api.add("tea", tags=["b"])
    api.add("tea", tags=["a"])
    assert list_cluster_keys(api) == {("agent", "a", "b")}


def test_a_cluster_is_deleted_with_its_last_memory(api):
    first, second = (api.add(content, tags=["ada"])["id"] for content in ("one", "two"))
    api.delete(f"/memories/{first}")
    assert get_only_cluster(api)["members"] == [second]
    api.delete(f"/memories/{second}")
    assert Cluster.objects.count() == 0


def test_an_erased_user_leaves_no_tag_behind(api):
    for number in range(3):
        api.add(f"secret {number}", user_id="ada", tags=["of ada"])
    api.add("shared", user_id="ada", tags=["ours"])
    api.add("shared", user_id="ben", tags=["ours"])
    assert api.delete("/users/ada").status_code == 200
    assert list_cluster_keys(api) == {("agent", "ours")}
    assert Cluster.objects.count() == 1
    for table in ("knowledge_cluster", "knowledge_duecluster"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%%of ada%%'")
            assert cursor.fetchone() == (0,)


def test_expired_memories_are_not_members(api):
    gone = api.add("one", tags=["a"])["id"]
    api.add("soon gone", tags=["only this"])
    kept = api.add("two", tags=["a"])["id"]
    Memory.objects.exclude(pk=kept).update(expires_at=format_time_ago(seconds=1))
    assert (get_only_cluster(api)["tags"], get_only_cluster(api)["members"]) == (["a"], [kept])
    assert api.get(f"/clusters/{get_only_cluster(api)['id']}/members").json()["results"][0]["id"] == kept
    assert gone != kept


def test_an_unnamed_cluster_of_expired_memories_is_not_found(api):
    api.add("soon gone", tags=["a"])
    cluster = get_only_cluster(api)["id"]
    Memory.objects.update(expires_at=format_time_ago(seconds=1))
    for response in (
        api.get(f"/clusters/{cluster}"),
        api.patch(f"/clusters/{cluster}", {}),
        api.delete(f"/clusters/{cluster}"),
    ):
        assert is_problem(response, 404)


def test_a_cluster_can_be_named_before_it_has_memories(api):
    cluster = add_cluster(api, description="What Acme renews.", topics=["sales", "sales"], confidence=0.5)
    assert (cluster["member_count"], cluster["members"], cluster["topics"]) == (0, [], ["sales"])
    memory = api.add("Acme renews in May.", **ACME_CLUSTER)["id"]
    assert get_only_cluster(api) == cluster | {"member_count": 1, "members": [memory], "importance_score": 1.1}


def test_naming_a_cluster_again_changes_the_given_fields(api):
    first = add_cluster(api, description="old", topics=["x"], confidence=0.5)
    again = add_cluster(api, "Better", 200, tags=["renewal", "acme"], description="new")
    assert again == first | {"name": "Better", "description": "new", "updated_at": again["updated_at"]}
    assert again["updated_at"] > first["updated_at"]
    assert add_cluster(api, "Best", 200, topics=[], confidence=1)["topics"] == []


def test_naming_an_existing_cluster_keeps_its_id(api):
    api.add("Acme renews in May.", **ACME_CLUSTER)
    made = get_only_cluster(api)
    assert add_cluster(api, status=200)["id"] == made["id"]
    assert get_only_cluster(api)["name"] == "Acme"


def test_explicit_clusters_stay_without_memories(api):
    add_cluster(api)
    api.add("untouched", tags=["a"])
    patched = next(each["id"] for each in list_clusters(api) if each["tags"] == ["a"])
    assert api.patch(f"/clusters/{patched}", {"description": "Mine."}).json()["description"] == "Mine."
    Memory.objects.all().delete()
    tasks.remove_empty_clusters()
    assert len(list_clusters(api)) == 2


def test_twenty_simultaneous_requests_create_one_cluster(transactional_db, api):
    calls = [partial(api.post, "/clusters", {"name": f"name {n}", **ACME_CLUSTER}) for n in range(20)]
    answers = run_at_once(calls)
    assert sorted(each.status_code for each in answers) == [200] * 19 + [201]
    assert len({each.json()["id"] for each in answers}) == 1


def test_twenty_simultaneous_memories_create_one_cluster(transactional_db, api):
    answers = run_at_once([partial(api.post, "/memories", {"content": f"note {n}", "tags": ["a"]}) for n in range(20)])
    assert {each.status_code for each in answers} == {201}
    tasks.settle_clusters()
    assert (get_only_cluster(api)["member_count"], Cluster.objects.count()) == (20, 1)


def test_storing_does_not_wait_for_a_transaction_that_creates_the_same_cluster(transactional_db, api, namespace):
    with transaction.atomic():
        Memory.objects.create(namespace=namespace, content="of a long import", source_system="x", tags=["a"])
        [added] = run_at_once([partial(api.post, "/memories", {"content": "meanwhile", "tags": ["a"]})])
        assert added.status_code == 201
        [settled] = run_at_once([tasks.settle_clusters])  # it is still being made, and stays due
        assert (settled, DueCluster.objects.count()) == (1, 1)
    assert get_only_cluster(api)["member_count"] == 2
    assert tasks.settle_clusters() == 1
    assert (DueCluster.objects.count(), Cluster.objects.count()) == (0, 1)


def test_a_cluster_of_a_rolled_back_transaction_is_created_by_the_periodic_task(transactional_db, api, namespace):
    with transaction.atomic():
        Memory.objects.create(namespace=namespace, content="never kept", source_system="x", tags=["a"])
        run_at_once([partial(api.post, "/memories", {"content": "kept", "tags": ["a"]})])
        transaction.set_rollback(True)
    assert list_clusters(api) == []
    tasks.settle_clusters()
    assert get_only_cluster(api)["member_count"] == 1


def test_a_memory_added_while_the_last_one_is_deleted_has_a_cluster(transactional_db, api, namespace):
    last = api.add("one", tags=["a"])["id"]
    with transaction.atomic():
        Memory.objects.create(namespace=namespace, content="two", source_system="x", tags=["a"])
        run_at_once([partial(api.delete, f"/memories/{last}")])
    tasks.settle_clusters()
    assert get_only_cluster(api)["member_count"] == 1


def test_the_periodic_task_deletes_clusters_without_members(api):
    add_cluster(api)
    api.add("one", tags=["a"])
    with connection.cursor() as cursor:  # past the triggers
        cursor.execute("ALTER TABLE memories_memory DISABLE TRIGGER knowledge_uncluster_deleted_memories")
        Memory.objects.all().delete()
        cursor.execute("ALTER TABLE memories_memory ENABLE TRIGGER knowledge_uncluster_deleted_memories")
    assert Cluster.objects.count() == 2
    assert tasks.remove_empty_clusters() == 1
    assert tasks.remove_empty_clusters() == 0
    assert get_only_cluster(api)["name"] == "Acme"


@pytest.mark.parametrize(
    ("members", "days", "expected"),
    [(0, 0, 1.0), (0, 8, 0.5), (3, 0, 1.3), (3, 8, 0.8), (39, 0, 4.9), (40, 0, 5.0), (44, 8, 4.9), (60, 8, 5.0)],
)
def test_importance_grows_with_members_and_recent_changes(api, namespace, members, days, expected):
    cluster = add_cluster(api)["id"]
    rows = [
        Memory(
            namespace=namespace,
            content=f"{n}",
            source_system="x",
            created_at=format_time_ago(days=days),
            **ACME_CLUSTER,
        )
        for n in range(members)
    ]
    Memory.objects.bulk_create(rows)
    Cluster.objects.update(updated_at=format_time_ago(days=days))
    assert api.get(f"/clusters/{cluster}").json()["importance_score"] == pytest.approx(expected)


def test_a_new_member_counts_as_a_change(api):
    cluster = add_cluster(api)["id"]
    Cluster.objects.update(updated_at=format_time_ago(days=8))
    api.add("old", created_at=format_time_ago(days=8), **ACME_CLUSTER)
    assert api.get(f"/clusters/{cluster}").json()["importance_score"] == pytest.approx(0.6)
    api.add("new", **ACME_CLUSTER)
    assert api.get(f"/clusters/{cluster}").json()["importance_score"] == pytest.approx(1.2)


def test_the_newest_twenty_members_are_listed_and_all_are_counted(api, namespace):
    rows = [
        Memory(
            namespace=namespace,
            content=f"{n}",
            source_system="x",
            created_at=format_time_ago(days=n + 1),
            **ACME_CLUSTER,
        )
        for n in range(25)
    ]
    Memory.objects.bulk_create(rows)
    cluster = get_only_cluster(api)
    assert cluster["members"] == [str(row.pk) for row in rows[:20]]
    assert cluster["member_count"] == 25
    first = api.get(f"/clusters/{cluster['id']}/members?limit=15").json()
    second = api.get(f"/clusters/{cluster['id']}/members?limit=15&cursor={first['next']}").json()
    assert [each["content"] for each in first["results"] + second["results"]] == [f"{n}" for n in range(25)]
    assert second["next"] is None
    assert first["results"][0] == api.get(f"/memories/{rows[0].pk}").json()


def test_pages_lead_through_all_clusters(api):
    for number in range(7):
        api.add(f"memory {number}", tags=[f"tag {number}"])
    seen, path = [], "/clusters?limit=3"
    while path:
        found = api.get(path).json()
        seen += [each["tags"][0] for each in found["results"]]
        path = found["next"] and f"/clusters?limit=3&cursor={found['next']}"
    assert seen == [f"tag {number}" for number in range(7)][::-1]


def test_a_list_takes_one_statement_however_long(api, takes):
    for number in range(25):
        api.add(f"memory {number}", tags=[f"tag {number}", "common"])
    for limit in (1, 20, 100):
        with takes(1):
            assert len(list_clusters(api, f"?limit={limit}&tag=common")) == min(limit, 25)
    cluster = list_clusters(api)[0]["id"]
    with takes(1):
        api.get(f"/clusters/{cluster}")
    with takes(2):
        api.get(f"/clusters/{cluster}/members")


def test_members_are_read_from_the_index_of_tags(api, namespace):
    rows = [Memory(namespace=namespace, content=f"{n}", source_system="x", tags=["a", f"{n}"]) for n in range(500)]
    Memory.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_memory")
        cursor.execute("SET LOCAL enable_seqscan = off")  # whatever other tests left in the table
    plan = Cluster.objects.in_namespace(namespace.pk).with_importance(namespace.pk).with_members(namespace.pk).explain()
    assert "memory_by_tags" in plan
    assert "Seq Scan on memories_memory" not in plan
    assert "memory_tags" not in plan


def test_patching_changes_only_the_given_fields(api):
    cluster = add_cluster(api, description="old", topics=["x"])
    for change in ({"name": "New"}, {"description": None}, {"confidence": 0.25}, {"topics": ["y"]}, {}):
        patched = api.patch(f"/clusters/{cluster['id']}", change).json()
        cluster |= change | {"updated_at": patched["updated_at"]}
        assert patched == cluster


@pytest.mark.parametrize(
    "change", [{"name": None}, {"tags": ["b"]}, {"memory_type": "rag"}, {"topics": None}, {"name": ""}]
)
def test_type_and_tags_cannot_be_patched(api, change):
    cluster = add_cluster(api)["id"]
    before = fingerprint_tables()
    assert is_problem(api.patch(f"/clusters/{cluster}", change), 422)
    assert fingerprint_tables() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", []),
        ("tags", [" "]),
        ("tags", ["x" * 129]),
        ("memory_type", "nonsense"),
        ("name", ""),
        ("confidence", 2),
    ],
)
def test_invalid_clusters_are_refused(api, field, value):
    response = api.post("/clusters", {"name": "Acme", **ACME_CLUSTER, field: value})
    assert is_problem(response, 422)
    assert {each.partition(".")[0] for each in list_blamed_fields(response)} == {field}


def test_deleting_a_cluster_removes_its_description_and_leaves_the_memories(api):
    memory = api.add("Acme renews in May.", **ACME_CLUSTER)["id"]
    cluster = add_cluster(api, status=200)["id"]
    assert api.delete(f"/clusters/{cluster}").status_code == 204
    assert is_problem(api.get(f"/clusters/{cluster}"), 404)
    assert api.get(f"/memories/{memory}").status_code == 200
    api.add("Acme renews in June.", **ACME_CLUSTER)
    assert (get_only_cluster(api)["name"], get_only_cluster(api)["member_count"]) == ("Business fact: acme, renewal", 2)


def test_another_namespace_has_its_own_clusters(api, outsider):
    mine = add_cluster(api)["id"]
    api.add("ours", **ACME_CLUSTER)
    theirs = add_cluster(outsider)
    assert (theirs["id"] != mine, theirs["member_count"]) == (True, 0)
    for method, path, body in (("GET", "", None), ("GET", "/members", None), ("PATCH", "", {}), ("DELETE", "", None)):
        assert is_problem(outsider.call(method, f"/clusters/{mine}{path}", body), 404)
    assert is_problem(api.get(f"/clusters/{uuid4()}"), 404)


def test_the_database_accepts_only_sorted_tags(api, namespace):
    for tags in (["b", "a"], ["a", "a"], []):
        with pytest.raises(Exception, match="cluster_tags_are_in_order|cluster_has_tags"), transaction.atomic():
            Cluster.objects.create(namespace=namespace, memory_type="agent", tags=tags)


def test_a_cluster_is_deleted_with_its_namespace(api, namespace):
    add_cluster(api)
    api.add("one", tags=["a"])
    Namespace.objects.filter(pk=namespace.pk).delete()
    assert (Cluster.objects.count(), DueCluster.objects.count()) == (0, 0)


def test_256_long_tags_form_a_cluster(api, namespace):
    tags = [f"{n:0128}" for n in range(256)]
    Memory.objects.create(namespace=namespace, content="much", source_system="x", tags=tags)
    cluster = get_only_cluster(api)
    assert (cluster["tags"], len(cluster["name"]), cluster["member_count"]) == (tags, 255, 1)


def test_ids_made_by_the_database_sort_by_creation(api):
    """As the application's do, without uuidv7(), which PostgreSQL has since version 18 only."""
    for tag in ("first", "second"):
        before = time.time()
        api.add(f"{tag} memory", tags=[tag])
        cluster = Cluster.objects.get(tags=[tag])
        assert (cluster.id.version, cluster.id.variant) == (7, RFC_4122)
        assert before - 0.002 <= (cluster.id.int >> 80) / 1000 <= time.time() + 0.002
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE prosrc LIKE '%uuidv7%' AND prolang <> 12")
        assert cursor.fetchall() == []
