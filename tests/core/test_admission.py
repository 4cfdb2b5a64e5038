"""Admission: turns between lanes, bounded waits, and no place that is lost."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_site.core.http.admission import MAX_RETRY_AFTER_SECONDS, SHARING_SECONDS, Admission, Load, Refused


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queue_up(admission, lane):
    """Enter without a thread of its own: the visit is served, or stands in its lane's queue."""
    visit = admission.enter(lane)
    with admission._mutex:
        admission._queue(visit)
    return visit


def serve_for(admission, clock, seconds, visits, costs):
    """Let time pass: each served request of a lane ends after its cost and another one of the lane arrives."""
    done = Counter()
    until = clock.now + seconds
    while clock.now < until:
        visit = min(
            (each for each in visits if each.is_served), key=lambda each: each.served_since + costs[each.lane.key]
        )
        clock.now = max(clock.now, visit.served_since + costs[visit.lane.key])
        visits.remove(visit)
        admission.leave(visit)
        done[visit.lane.key] += 1
        visits.append(queue_up(admission, visit.lane.key))
    return done


def test_lanes_share_the_places_by_time_and_not_by_number_of_requests():
    clock = Clock()
    admission = Admission(places=8, seats=512, max_wait=1000, clock=clock)
    costs = {"fast": 0.01, "slow": 0.1}
    visits = [queue_up(admission, lane) for lane, clients in (("slow", 100), ("fast", 20)) for _ in range(clients)]
    serve_for(admission, clock, 5, visits, costs)
    done = serve_for(admission, clock, 50, visits, costs)
    assert done["fast"] * costs["fast"] == pytest.approx(done["slow"] * costs["slow"], rel=0.02)


@given(
    st.dictionaries(st.integers(0, 9), st.tuples(st.integers(10, 60), st.floats(0.05, 0.5)), min_size=2, max_size=4),
    st.integers(4, 12),
)
@settings(max_examples=20, deadline=None)
def test_lanes_that_always_wait_get_the_same_time_of_service(lanes, places):
    clock = Clock()
    admission = Admission(places, seats=10_000, max_wait=1000, clock=clock)
    costs = {lane: cost for lane, (_, cost) in lanes.items()}
    visits = [queue_up(admission, lane) for lane, (clients, _) in lanes.items() for _ in range(clients)]
    serve_for(admission, clock, 10, visits, costs)
    done = serve_for(admission, clock, 40, visits, costs)
    shares = [done[lane] * cost for lane, cost in costs.items()]
    assert min(shares) > 0.9 * max(shares)


def test_a_flood_leaves_places_and_seats_for_newcomers():
    admission = Admission(places=8, seats=512, max_wait=1000, clock=Clock())
    admission.leave(queue_up(admission, "newcomer"))
    refused = 0
    for _ in range(1000):
        try:
            queue_up(admission, "flood")
        except Refused:
            refused += 1
    assert admission.load == Load(served=4, waiting=384 - 4, refused=refused)
    assert refused == 1000 - 384
    assert queue_up(admission, "newcomer").is_served
    assert queue_up(admission, "another").is_served


def test_a_lane_that_is_alone_gets_every_place_and_leaves_half_when_another_comes():
    clock = Clock()
    admission = Admission(places=8, seats=512, max_wait=1000, clock=clock)
    admission.leave(queue_up(admission, "busy"))
    clock.now += SHARING_SECONDS
    busy = [queue_up(admission, "busy") for _ in range(20)]
    assert admission.load.served == 8
    newcomer = queue_up(admission, "newcomer")
    assert not newcomer.is_served
    admission.leave(busy[0])
    assert newcomer.is_served
    for visit in busy[1:8]:
        admission.leave(visit)
    assert [visit.is_served for visit in busy[8:]].count(True) == 4
    clock.now += SHARING_SECONDS
    admission.leave(newcomer)
    assert admission.load.served == 8


def test_a_single_lane_finds_a_place_whatever_their_number():
    for places in (1, 2, 3):
        admission = Admission(places, seats=4, max_wait=1)
        assert queue_up(admission, "only").is_served


def test_a_request_that_would_wait_too_long_is_refused_at_once():
    clock = Clock()
    admission = Admission(places=4, seats=512, max_wait=5, clock=clock)
    admission._mean_seconds = 1.0  # and four at once take a quarter each
    with pytest.raises(Refused):
        for _ in range(100):
            queue_up(admission, "busy")
    assert admission.load.waiting == pytest.approx(5 * 4, abs=1)
    queue_up(admission, "other")


def test_one_slow_request_does_not_make_the_next_ones_wait_or_be_refused():
    """The first search of a process loads the embedding model."""
    clock = Clock()
    admission = Admission(places=4, seats=512, max_wait=5, clock=clock)
    slow = queue_up(admission, "busy")
    clock.now += 30.0
    admission.leave(slow)
    for _ in range(300):
        queue_up(admission, "busy")


def test_the_estimate_follows_when_requests_become_slow():
    clock = Clock()
    admission = Admission(places=4, seats=512, max_wait=5, clock=clock)
    for _ in range(200):
        slow = queue_up(admission, "busy")
        clock.now += 2.0
        admission.leave(slow)
    assert admission._mean_seconds == pytest.approx(2.0, rel=0.2)


def test_the_refused_are_asked_to_come_back_one_after_the_other():
    clock = Clock()
    admission = Admission(places=4, seats=512, max_wait=1, clock=clock)
    admission.leave(queue_up(admission, "busy"))
    admission._mean_seconds = 1.0
    moments = []
    for _ in range(60):
        try:
            queue_up(admission, "busy")
        except Refused as refused:
            moments.append(refused.retry_after)
    assert moments == sorted(moments)
    assert moments[0] == 1
    assert moments[9] == pytest.approx(10 / 3, abs=1)  # three requests a second
    assert moments[-1] == MAX_RETRY_AFTER_SECONDS


def test_a_request_whose_turn_does_not_come_is_refused_after_a_bounded_wait():
    admission = Admission(places=1, seats=8, max_wait=0.1)
    admission.wait_for_turn(admission.enter("slow"))
    late = admission.enter("slow")
    started = time.monotonic()
    with pytest.raises(Refused):
        admission.wait_for_turn(late)
    assert time.monotonic() - started > 0.15
    assert admission.load == Load(served=1, waiting=0, refused=1)


def test_a_large_request_takes_as_many_seats_as_it_says():
    admission = Admission(places=8, seats=64, max_wait=5)
    visits = [admission.enter("large", seats=16) for _ in range(3)]
    with pytest.raises(Refused):
        admission.enter("large", seats=16)
    admission.enter("small")
    admission.leave(visits[0])
    admission.enter("large", seats=16)


def test_leaving_twice_gives_one_place_back():
    admission = Admission(places=1, seats=8, max_wait=5)
    visit = queue_up(admission, "a")
    admission.leave(visit)
    admission.leave(visit)
    assert admission.load == Load(0, 0, 0)
    assert queue_up(admission, "a").is_served
    assert not queue_up(admission, "a").is_served


def test_a_request_that_steps_aside_lends_its_place_and_is_the_next_of_its_lane():
    admission = Admission(places=1, seats=16, max_wait=30)
    first = queue_up(admission, "a")
    other, later = queue_up(admission, "b"), queue_up(admission, "a")
    with admission.step_aside(first):
        assert other.is_served
        assert admission.load == Load(served=1, waiting=2, refused=0)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(admission.leave, other).result()
        assert later.is_served
        admission.leave(later)
    assert first.is_served
    admission.leave(first)
    assert admission.load == Load(0, 0, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "leave waiting", "pass"]), st.integers(0, 4), st.integers(1, 20)),
    max_size=150,
)


@given(STEPS, st.integers(1, 9), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_no_place_and_no_seat_is_lost(steps, places, seats):
    """Whatever comes and goes: the limits hold, a free place has no waiting request that may take it, and in the end
    all places and seats are free."""
    clock = Clock()
    admission = Admission(places, seats, max_wait=5, clock=clock)
    inside = []
    for step, lane, number in steps:
        if step == "enter":
            try:
                inside.append(queue_up(admission, lane))
            except Refused as refused:
                assert 1 <= refused.retry_after <= MAX_RETRY_AFTER_SECONDS
        elif step == "pass":
            clock.now += number / 10
        elif ready := [each for each in inside if each.is_served == (step == "leave")]:
            visit = ready[number % len(ready)]
            inside.remove(visit)
            admission.leave(visit)
        served = Counter(each.lane.key for each in inside if each.is_served)
        waiting = {each.lane.key for each in inside if not each.is_served}
        assert admission.load.served == served.total() <= places
        assert admission.load.waiting == len(inside) - served.total()
        assert len(inside) <= seats
        if waiting and served.total() < places:
            assert all(served[key] > 0 for key in waiting)
    for visit in inside:
        admission.leave(visit)
    assert admission.load.served == admission.load.waiting == 0
    assert not admission._lanes
    assert admission._seated == 0


def test_threads_never_exceed_the_places_and_all_are_served():
    admission = Admission(places=3, seats=256, max_wait=600)
    at_once, peak, mutex, all_taken = 0, 0, threading.Lock(), threading.Event()

    def work(number: int) -> None:
        nonlocal at_once, peak
        visit = admission.enter(number % 5)
        admission.wait_for_turn(visit)
        with mutex:
            at_once += 1
            peak = max(peak, at_once)
            if at_once == 3:
                all_taken.set()
        all_taken.wait(60)
        time.sleep(0.001)
        with mutex:
            at_once -= 1
        admission.leave(visit)

    with ThreadPoolExecutor(64) as threads:
        list(threads.map(work, range(600)))
    assert peak == 3
    assert admission.load == Load(0, 0, 0)
