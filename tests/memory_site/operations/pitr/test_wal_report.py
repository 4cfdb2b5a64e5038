"""The states of segments and the times that follow from them, on directories with files of the right names."""

import gzip
import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memory_site.operations.backups.manifest import write_manifest
from memory_site.operations.pitr.problems import NotRecoverable, PitrProblem
from memory_site.operations.pitr.repository import Base, Repository
from memory_site.operations.pitr.segments import SEGMENT_BYTES, Segment, parse_lsn
from memory_site.operations.pitr.timelines import ERAS_FILE, Branch, note_era, parse_history, read_eras
from memory_site.operations.pitr.wal_report import WalArchive, WalState, list_needed
from memory_site.operations.pitr.windows import choose_windows, list_windows

START = datetime(2026, 11, 30, 10, tzinfo=UTC)
FOUND, DELAYED, UPLOADING, LOST = WalState


def format_lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


class Archive(Repository):
    """An archive whose base backups need no files."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.wal.mkdir(parents=True)
        self.live = path / "live"
        (self.live / "archive_status").mkdir(parents=True)
        self.made: list[Base] = []

    def list_bases(self) -> list[Base]:
        return self.made

    def add_base(self, number: int, minute: int, timeline: int = 1) -> Base:
        lsn = format_lsn(number * SEGMENT_BYTES + 40)
        at = (START + timedelta(minutes=minute)).isoformat()
        manifest = {"timeline": timeline, "start_lsn": lsn, "stop_lsn": lsn, "written_at": at}
        self.made.append(Base(f"base-{number}", self.bases / f"base-{number}", manifest))
        return self.made[-1]

    def add(self, number: int, minute: int = 0, timeline: int = 1, suffix: str = "") -> Path:
        """A segment that PostgreSQL finished at that minute."""
        packed = gzip.compress(b"", mtime=int((START + timedelta(minutes=minute)).timestamp()))
        path = self.wal / f"{Segment(timeline, number)}-{hashlib.sha256(packed).hexdigest()}.gz{suffix}"
        path.write_bytes(packed)
        return path

    def add_history(self, timeline: int, text: str) -> None:
        packed = gzip.compress(text.encode())
        (self.wal / f"{timeline:08X}.history-{hashlib.sha256(packed).hexdigest()}.gz").write_bytes(packed)

    def wait(self, number: int, *, given_up: bool = False) -> None:
        """A segment that PostgreSQL still has."""
        name = Segment(1, number).name
        (self.live / name).touch()
        (self.live / "archive_status" / f"{name}.{'done' if given_up else 'ready'}").touch()

    def read(self) -> WalArchive:
        return WalArchive(self, self.live)


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def test_names_and_positions_are_those_of_postgresql():
    segment = Segment.parse("0000000100000016000000B3")
    assert segment == Segment.at(1, parse_lsn("16/B374D848"))
    assert str(segment) == "0000000100000016000000B3"
    assert format_lsn(parse_lsn("16/B374D848")) == "16/B374D848"
    assert Segment.parse("00000002.history") is None
    assert Segment(1, 255).name == "0000000100000000000000FF"
    assert Segment(1, 256).name == "000000010000000100000000"


def test_each_segment_has_one_of_four_states(archive):
    base = archive.add_base(3, 0)
    archive.add(3)
    archive.wait(4)
    archive.add(5, suffix=".partial")
    archive.wait(6, given_up=True)
    report = archive.read().report(base, Segment(1, 8))
    assert list(report.states.values()) == [FOUND, DELAYED, UPLOADING, LOST, LOST]
    assert report.counts == {FOUND: 1, DELAYED: 1, UPLOADING: 1, LOST: 2}
    assert report.gaps == [(Segment(1, 6), Segment(1, 7))]


def test_a_part_that_nothing_writes_any_more_is_lost(archive):
    base = archive.add_base(3, 0)
    part = archive.add(3, suffix=".partial")
    os.utime(part, (time.time() - 600,) * 2)
    assert list(archive.read().report(base, Segment(1, 4)).states.values()) == [LOST]
    archive.remove_leftovers()
    assert not part.exists()


def test_times_in_a_gap_are_refused_and_those_around_it_are_not(archive):
    old, new = archive.add_base(3, 0), archive.add_base(7, 60)
    for number, finished in ((3, 5), (4, 10), (7, 65)):
        archive.add(number, finished)
    windows = list_windows(archive.read(), Segment(1, 8))
    assert [(each.base, each.since, each.until) for each in windows] == [
        (new, minute(60), None),
        (old, START, minute(10)),
    ]
    assert choose_windows(windows, minute(9))[0].base is old
    assert choose_windows(windows, minute(61))[0].base is new
    assert choose_windows(windows, None)[0].base is new
    with pytest.raises(NotRecoverable, match="gap of the log: nothing after .*10:10:00.* and before .*11:00:00"):
        choose_windows(windows, minute(30))
    with pytest.raises(NotRecoverable, match="is before the end of the oldest base backup"):
        choose_windows(windows, minute(-1))


def test_without_a_base_backup_nothing_is_promised(archive):
    with pytest.raises(NotRecoverable, match="there is no base backup"):
        choose_windows(list_windows(archive.read(), Segment(1, 4)), None)


def test_the_segment_in_which_a_timeline_branches_off_is_the_new_ones():
    history = parse_history("1\t0/5000028\tbefore 2026-11-30 10:00:00+00\n", 2)
    assert history == [Branch(1, parse_lsn("0/5000028")), Branch(2, None)]
    needed = list_needed(Segment(1, 3), history, Segment(2, 7))
    assert list(needed) == [Segment(1, 3), Segment(1, 4), Segment(2, 5), Segment(2, 6)]


def test_a_time_is_recovered_on_the_timeline_on_which_the_site_ran(archive):
    """A recovery to minute 10 took the place of the database at minute 30."""
    archive.add_base(3, 0)
    for number in (3, 4, 5, 6):
        archive.add(number, number * 4)
    archive.add(5, 40, timeline=2)
    archive.add_history(2, "1\t0/5000028\tbefore 2026-11-30 10:10:00+00\n")
    note_era(archive.path, 2, 1, minute(30))
    windows = list_windows(archive.read(), Segment(2, 6))
    assert [choose_windows(windows, minute(each))[0].timeline for each in (5, 20, 29.9, 31)] == [1, 1, 1, 2]
    assert choose_windows(windows, None)[0].timeline == 2
    note_era(archive.path, 3, 2, minute(50))
    assert [(era.timeline, era.until) for era in read_eras(archive.path, 3)] == [
        (1, minute(30)),
        (2, minute(50)),
        (3, None),
    ]


def test_a_base_backup_of_a_future_that_was_left_does_not_serve_the_present(archive):
    archive.add_base(3, 0)
    left = archive.add_base(6, 20)
    for number in (3, 4, 5, 6):
        archive.add(number, number * 4)
    archive.add(5, 40, timeline=2)
    archive.add_history(2, "1\t0/5000028\tno recovery target specified\n")
    note_era(archive.path, 2, 1, minute(30))
    windows = list_windows(archive.read(), Segment(2, 6))
    assert choose_windows(windows, None)[0].base is not left
    assert choose_windows(windows, minute(25))[0].base is left


@pytest.mark.parametrize("noted", ["{", "[1]", '[{"timeline": "a"}]', '[{"timeline": 2, "parent": 1, "since": "now"}]'])
def test_a_damaged_note_of_earlier_recoveries_is_named_and_nothing_guessed(archive, noted):
    archive.add_base(3, 0)
    (archive.path / ERAS_FILE).write_text(noted)
    with pytest.raises(PitrProblem, match=f"{ERAS_FILE} is damaged: fetch it"):
        list_windows(archive.read(), Segment(1, 6))


@pytest.mark.parametrize(
    "changes", [{"size": None}, {"timeline": "1"}, {"own_files": {"a": 1}}, {"written_at": "2026-11-30"}]
)
def test_a_manifest_that_lacks_something_is_named_and_is_no_base_backup(tmp_path, changes):
    sound = {"timeline": 1, "start_lsn": "0/28", "stop_lsn": "0/99", "size": 5, "system_identifier": "7"}
    sound |= {"written_at": START.isoformat(), "own_files": {"backup_manifest": [5, "ab"]}}
    repository = Repository(tmp_path)
    repository.bases.mkdir()
    write_manifest(repository.bases / "good.json", {"format": 1, **sound})
    write_manifest(repository.bases / "odd.json", {"format": 1, **sound, **changes})
    assert [base.name for base in repository.list_bases()] == ["good"]
    assert repository.list_unreadable_bases() == ["odd.json is no manifest of a base backup."]
