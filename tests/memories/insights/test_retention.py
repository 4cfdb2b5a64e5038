"""Pruning old, poor and unused insights."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from memories.insights import retention
from memories.insights.models import Insight
from memories.insights.tasks import prune_insights
from memories.models import Memory
from tests.memories.insights.samples import LAZY_LESSON, VACUUM_LESSON
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db


def add_insight(api, content: str, days: float, **fields: object) -> str:
    when = (timezone.now() - timedelta(days=days)).isoformat()
    pk = api.post("/insights", {"content": content, "quality": 0.3, **fields}).json()["id"]
    Memory.objects.filter(pk=pk).update(created_at=when, last_seen_at=when)
    return pk


def load_insights() -> set[str]:
    return set(Insight.objects.values_list("memory__content", flat=True))


def run_prune(*words: str) -> None:
    call_command("prune_insights", *words)


def test_old_poor_unused_insights_are_deleted_with_their_memories(api):
    add_insight(api, LAZY_LESSON, 91)
    assert prune_insights() == 1
    assert (Insight.objects.count(), Memory.objects.count()) == (0, 0)
    assert prune_insights() == 0


@pytest.mark.parametrize(
    ("days", "given"),
    [
        (89.9, {}),
        (1000, {"quality": 0.4}),
        (1000, {"quality": 0.9}),
        (1000, {"tags": ["preserve"]}),
        (1000, {"tags": ["x", "important"]}),
        (1000, {"metadata": {"important": True}}),
    ],
    ids=str,
)
def test_recent_good_and_preserved_insights_stay(api, days, given):
    add_insight(api, LAZY_LESSON, days, **given)
    assert prune_insights() == 0
    assert load_insights() == {LAZY_LESSON}


def test_an_old_insight_that_was_just_stored_or_found_stays_until_it_is_pruned_by_hand(api):
    pk = add_insight(api, LAZY_LESSON, 1000)
    Memory.objects.filter(pk=pk).update(last_seen_at=timezone.now())
    assert prune_insights() == 0
    run_prune()
    assert load_insights() == set()


def test_used_insight_stays(api):
    pk = add_insight(api, LAZY_LESSON, 1000)
    api.post(f"/insights/{pk}/use")
    assert prune_insights() == 0


def test_memories_of_other_types_stay(api):
    api.add("old", created_at="2020-01-01T00:00:00Z")
    add_insight(api, LAZY_LESSON, 1000)
    prune_insights()
    assert Memory.objects.get().content == "old"


def test_pruning_continues_until_no_batch_is_left(api, monkeypatch):
    monkeypatch.setattr(retention, "PRUNE_BATCH_SIZE", 2)
    for number in range(5):
        add_insight(api, f"{chr(0x4E00 + number) * 10} is the lesson number {number} of them all.", 100)
    assert prune_insights() == 5


@pytest.mark.django_db(transaction=True)
def test_locked_insight_is_skipped(api):
    add_insight(api, LAZY_LESSON, 100)
    other = add_insight(api, VACUUM_LESSON, 100)

    def prune_elsewhere() -> int:
        return prune_insights()

    with transaction.atomic():
        Insight.objects.filter(pk=other).update(usage_count=1)
        assert run_at_once([prune_elsewhere]) == [1]
    assert load_insights() == {VACUUM_LESSON}
    assert prune_insights() == 0


@pytest.mark.parametrize(
    ("words", "deleted"),
    [
        ((), {LAZY_LESSON}),
        (("--older-than", "30d"), {LAZY_LESSON, VACUUM_LESSON}),
        (("--older-than", "20w"), set()),
        (("--min-quality", "0.3"), set()),
        (("--namespace", "theirs"), set()),
        (("--namespace", "ours"), {LAZY_LESSON}),
        (("--dry-run",), set()),
    ],
)
def test_command_options_select_what_is_pruned(api, outsider, words, deleted):
    add_insight(api, LAZY_LESSON, 100)
    add_insight(api, VACUUM_LESSON, 50)
    run_prune(*words)
    assert load_insights() == {LAZY_LESSON, VACUUM_LESSON} - deleted


def test_command_prints_the_count(api, capsys):
    add_insight(api, LAZY_LESSON, 100)
    run_prune("--dry-run")
    run_prune()
    assert capsys.readouterr().out.splitlines() == ["1 insights would be deleted.", "1 insights were deleted."]


@pytest.mark.parametrize(
    "words", [("--older-than", "soon"), ("--min-quality", "7"), ("--min-quality", "nan"), ("--namespace", "nobody's")]
)
def test_invalid_options_are_refused(api, words):
    add_insight(api, LAZY_LESSON, 1000)
    with pytest.raises(CommandError) as caught:
        run_prune(*words)
    assert caught.value.returncode == 2
    assert load_insights() == {LAZY_LESSON}


def test_pruning_is_scheduled():
    tasks = {each["task"] for each in settings.CELERY_BEAT_SCHEDULE.values()}
    assert prune_insights.name in tasks
