"""Without a broker memories are stored as usual, and embedded when it is back."""

import statistics
import time

from tests.stack.stack import wait_until

#: A store that waited for the broker would take the five seconds of CELERY_BROKER_TRANSPORT_OPTIONS, each of them.
MAX_STORE_SECONDS = 2.5
BASELINE_COUNT, OUTAGE_COUNT = 40, 120


def store_memories(stack, name, count):
    """Store so many memories one after the other; the median seconds one took, and the longest.

    The median is that of the quickest 40 in a row: a broker delays them all, other work on the machine a part of them.
    """
    taken = []
    for number in range(count):
        started = time.monotonic()
        answer = stack.call("POST", "/memories", {"content": f"Memory {number}, {name}."}, timeout=60)
        taken.append(time.monotonic() - started)
        assert answer.status == 201, answer.data
    rows = [taken[start : start + BASELINE_COUNT] for start in range(0, count, BASELINE_COUNT)]
    return min(map(statistics.median, rows)), max(taken)


def wait_until_embedded(stack):
    """Seconds until every vector is made; the worker has nothing left to do then."""
    return wait_until(lambda: stack.backlog == 0, 90, "everything is embedded")


def test_stores_do_not_need_a_killed_broker(shaken, measured):
    usual, _ = store_memories(shaken, "as usual", BASELINE_COUNT)
    wait_until_embedded(shaken)
    killed = shaken.kill("broker")
    away, longest = store_memories(shaken, "the broker is killed", OUTAGE_COUNT)
    back = wait_until(lambda: shaken.is_back("broker", killed), 60, "the supervisor starts the broker again")
    measured("a store as usual, median", usual)
    measured("a store with a killed broker, median", away)
    measured("a store with a killed broker, longest", longest)
    measured("from a killed broker, after the last store, to all vectors", back + wait_until_embedded(shaken))
    assert away < MAX_STORE_SECONDS


def test_stores_do_not_wait_for_a_frozen_broker(shaken, measured):
    store_memories(shaken, "as usual again", BASELINE_COUNT)
    wait_until_embedded(shaken)
    with shaken.frozen("broker"):
        away, longest = store_memories(shaken, "the broker is frozen", OUTAGE_COUNT)
        expected = {"all": "degraded", "broker": "degraded", "database": "healthy"}
        seconds = wait_until(lambda: expected.items() <= shaken.health().items(), 60, "health tells of the broker")
        later, _ = store_memories(shaken, "the broker is frozen still", BASELINE_COUNT)
    measured("a store with a frozen broker, median", away)
    measured("a store with a frozen broker, longest", longest)
    measured("health with a frozen broker", seconds)
    measured("from a frozen broker's return to all vectors", wait_until_embedded(shaken))
    assert max(away, later) < MAX_STORE_SECONDS


def test_messages_arrive_after_the_broker_returns(shaken):
    """The bell, not only beat, which rings for none of these memories."""
    wait_until(lambda: shaken.health()["all"] == "healthy", 60, "everything is healthy")
    wait_until_embedded(shaken)
    with shaken.frozen("beat"):
        for number in range(3):
            pk = shaken.add(f"Rung for at once, {number}.")["id"]
            wait_until(lambda pk=pk: shaken.call("GET", f"/memories/{pk}").json()["embedded"], 60, "a vector")
