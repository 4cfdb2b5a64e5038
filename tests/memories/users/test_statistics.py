"""Statistics of users as of the last refresh."""

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.utils import timezone

from memories.graph.models import UserStatistics, UserTotal
from memories.graph.tasks import refresh_statistics
from memories.models import Memory
from memories.users import statistics as totals
from memory_site.core.db.locks import try_advisory_xact_lock
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db
TICKET_KEY = {"system": "jira", "id": "A-1"}


def get_statistics(api, user: str = "ada") -> dict | None:
    return api.get(f"/users/{user}").json()["statistics"]


def test_a_refresh_counts_memories_relationships_entities_and_types(api):
    first = api.add("tea", user_id="ada", created_at="2020-01-01T00:00:00Z")
    last = api.add("A-1", user_id="ada", memory_type="domain_entity", entity=TICKET_KEY)
    api.add("coffee", user_id="ada")
    api.add("milk", user_id="ben")
    api.post(f"/memories/{first['id']}/relationships", {"to_id": last["id"]})
    assert get_statistics(api) is None
    assert refresh_statistics() is True
    statistics = get_statistics(api)
    assert (statistics["memories"], statistics["relationships"], statistics["entities"]) == (3, 1, 1)
    assert statistics["types"] == {"agent": 2, "domain_entity": 1}
    assert statistics["first_at"] == first["created_at"]
    assert last["created_at"] < statistics["latest_at"] < statistics["refreshed_at"]
    assert get_statistics(api, "ben")["memories"] == 1


def test_statistics_do_not_change_until_the_next_refresh(api):
    api.add("tea", user_id="ada")
    refresh_statistics()
    api.add("coffee", user_id="ada")
    user = api.get("/users/ada").json()
    assert (user["memories"], user["statistics"]["memories"]) == (2, 1)
    refresh_statistics()
    assert get_statistics(api)["memories"] == 2


def test_expired_memories_and_those_without_a_user_are_left_out(api):
    api.add("tea")
    api.add("coffee", user_id="ada")
    Memory.objects.filter(pk=api.add("milk", user_id="ada")["id"]).update(expires_at=timezone.now())
    refresh_statistics()
    assert list(UserStatistics.objects.values_list("user_id", "memories")) == [("ada", 1)]


def test_relationships_of_expired_memories_are_left_out(api):
    ids = [api.add(content, user_id="ada")["id"] for content in ("tea", "coffee", "milk")]
    for start, finish in ((0, 1), (1, 2), (2, 0)):
        api.post(f"/memories/{ids[start]}/relationships", {"to_id": ids[finish]})
    Memory.objects.filter(pk=ids[0]).update(expires_at=timezone.now())
    refresh_statistics()
    assert get_statistics(api)["relationships"] == api.get("/users/ada").json()["relationships"] == 1


def test_statistics_are_separate_by_namespace(api, outsider):
    api.add("tea", user_id="ada")
    for content in ("tea", "coffee"):
        outsider.add(content, user_id="ada")
    refresh_statistics()
    assert (get_statistics(api)["memories"], get_statistics(outsider)["memories"]) == (1, 2)


def test_a_refresh_compacts_the_totals(api):
    for content in ("tea", "coffee"):
        api.add(content, user_id="ada")
    refresh_statistics()
    assert UserTotal.objects.get().memories == 2


def test_the_command_reports_the_refresh(api, capsys):
    api.add("tea", user_id="ada")
    call_command("refresh_statistics")
    assert capsys.readouterr() == ("The statistics of 1 users were refreshed.\n", "")
    assert get_statistics(api)["memories"] == 1


@pytest.mark.django_db(transaction=True)
def test_only_one_refresh_runs_at_a_time(api, capsys):
    api.add("tea", user_id="ada")
    with transaction.atomic():
        assert try_advisory_xact_lock(totals.STATISTICS_LOCK)
        [elsewhere] = run_at_once([totals.refresh_statistics_view])
    assert elsewhere is False
    assert sum(run_at_once([totals.refresh_statistics_view] * 4)) >= 1
    assert get_statistics(api)["memories"] == 1


@pytest.mark.django_db(transaction=True)
def test_readers_do_not_wait_for_a_refresh(api):
    api.add("tea", user_id="ada")
    totals.refresh_statistics_view()
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(totals.REFRESH_STATISTICS_SQL)  # and its transaction stays open
            with connection.cursor() as reading:
                reading.execute("SET lock_timeout = '60s'")
            assert get_statistics(api)["memories"] == 1
    finally:
        other.rollback()
        other.close()
        with connection.cursor() as cursor:  # which the tests after this one use too
            cursor.execute("RESET lock_timeout")
