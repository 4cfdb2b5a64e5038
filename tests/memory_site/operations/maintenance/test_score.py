"""The health score: how its parts are graded and added up."""

from dataclasses import replace

import pytest

from memory_site.operations.maintenance.bloat import Bloat
from memory_site.operations.maintenance.findings import MB
from memory_site.operations.maintenance.indexes import Index
from memory_site.operations.maintenance.score import compute_score, grade
from memory_site.operations.maintenance.server import ServerFigures
from memory_site.operations.maintenance.tables import Table

WELL = ServerFigures(
    hit_ratio=0.995, age=0.05, connections=0.2, oldest_transaction=2, slot_bytes=0, lost_slots=0, checksum_failures=0
)
TABLE = Table("crates", "r", True, 1000, 0, 0, False, 8192, None, 0, 0, False, None)
INDEX = Index("crates_key", "crates", False, True)


def score(server=WELL, tables=(TABLE,), bloat=(), invalid=()) -> int:
    return compute_score(server, tables, bloat, invalid).total


def test_a_healthy_database_has_all_points_and_the_weights_are_a_hundred():
    assert score() == 100
    assert sum(part.weight for part in compute_score(WELL, [], [], []).parts) == 100


@pytest.mark.parametrize(("value", "points"), [(0.1, 10), (0.15, 10), (0.45, 5), (0.75, 0), (2, 0), (None, None)])
def test_points_fall_proportionally_between_two_values(value, points):
    assert grade(10, value, 0.15, 0.75) == points


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hit_ratio": 0.9}, 90),
        ({"hit_ratio": None}, 100),  # left out: the others are the whole
        ({"oldest_transaction": 3600}, 90),
        ({"lost_slots": 1}, 95),
        ({"connections": 0.95}, 90),
        ({"checksum_failures": None}, 92),
        ({"age": 0.45}, 92),
        ({"checksum_failures": 1}, 40),  # critical
        ({"age": 0.8}, 40),
    ],
)
def test_each_figure_of_the_server_counts(change, expected):
    assert score(replace(WELL, **change)) == expected


def test_rows_bloat_and_indexes_count():
    assert score(tables=[replace(TABLE, live=7000, dead=3000)]) == 90
    assert score(tables=[replace(TABLE, live=70, dead=30)]) == 100  # too few to matter
    assert score(tables=[replace(TABLE, never_analyzed=True)]) == 99
    assert score(invalid=[INDEX]) == 90
    assert score(bloat=[Bloat("crates", False, 20 * MB, 0.7)]) == 90
    assert score(bloat=[Bloat("crates", False, 5 * MB, 0.7)]) == 100
