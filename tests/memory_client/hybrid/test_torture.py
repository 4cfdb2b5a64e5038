"""A short version of `make hybrid`: eight threads in two processes, which are killed, behind a network that breaks."""

import random
import time

from django.db import connection

from tests.memory_client.hybrid.torture import Comparison
from tests.memory_client.hybrid.weather import Fleet, begin, break_some, let_a_day_pass, make_plan

THREADS, OPERATIONS, SECONDS = 4, 12, 3.0


def fetch_rows(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def test_nothing_is_lost_and_nothing_happens_twice(relay, key, tmp_path):
    plan = make_plan(tmp_path, relay, key, THREADS, OPERATIONS, SECONDS)
    begin(plan)
    relay.fault = break_some(random.Random(17))
    fleet = Fleet(plan, ["a", "b"])
    try:
        for name in ("a", "b", "a"):
            time.sleep(1)
            relay.down()
            time.sleep(0.5)
            fleet.kill(name)
            if name == "b":
                let_a_day_pass(plan, fetch_rows)
            relay.up()
        while not fleet.is_done:
            time.sleep(0.1)
    finally:
        fleet.stop()
    relay.fault = lambda method, path: None
    with plan.open() as memory:
        assert memory.flush(180)
        findings = Comparison(plan, fetch_rows).run(memory)
    assert findings.is_fine, findings
    assert sum(findings.counts.values()) == 2 * THREADS * OPERATIONS
