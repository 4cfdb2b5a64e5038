"""The machine is lost, and comes back from the archive; then a time takes the place of the database, and goes on."""

import os
import shutil
from datetime import datetime, timedelta

import pytest

from memory_site.embedded.wal_archive.program import GAPS_FILE, note_gap
from memory_site.operations.pitr.base_backup import remove_superfluous
from memory_site.operations.pitr.base_check import check_base
from memory_site.operations.pitr.enabling import continue_timeline
from memory_site.operations.pitr.facts import get_pitr_facts
from memory_site.operations.pitr.problems import NotRecoverable, RecoveryFailed
from memory_site.operations.pitr.recovery_server import RECOVERY_PORT
from memory_site.operations.pitr.restore import replace_database
from memory_site.operations.pitr.segments import Segment
from memory_site.operations.pitr.status import build_status_rows
from memory_site.operations.pitr.tasks import take_due_base
from memory_site.operations.pitr.timelines import read_eras
from memory_site.operations.pitr.wal_report import WalState
from tests.memory_site.operations.pitr.conftest import Cluster

NUMBERS = "SELECT number FROM noted ORDER BY 1"


def restore(cluster: Cluster, time: datetime | None):
    """As the command does while the site does not run; migrations and erasures need the real site."""
    return replace_database(cluster.recovery, cluster.recovery.plan(time), lambda segments: None, lambda recovery: 0)


@pytest.fixture(scope="module")
def revived(cluster, tmp_path_factory):
    """A new machine, on which nothing is left but the archive of the lost one."""
    cluster.execute("CREATE TABLE noted AS SELECT 1 AS number")
    cluster.archive_now()
    revived = Cluster(tmp_path_factory.mktemp("revived"))
    shutil.copytree(cluster.archive, revived.archive)
    revived.home.prepare()
    restored = restore(revived, None)
    assert restored.old_directory is None
    # One who only tried it has changed nothing of the other machine's archive.
    assert sorted(os.listdir(revived.archive)) == sorted(os.listdir(cluster.archive))
    assert sorted(revived.repository.list_stored()) == sorted(cluster.repository.list_stored())
    continue_timeline(revived.archive, 2)
    revived.enable(revived.repository.system_identifier)
    revived.server.start()
    yield revived
    revived.server.kill()


def test_a_lost_machine_comes_back_from_the_archive_alone(revived):
    assert revived.rows(NUMBERS) == [(1,)]
    assert revived.rows("SELECT pg_is_in_recovery()") == [(False,)]


def test_archiving_goes_on_on_the_new_timeline_and_a_base_backup_is_due(revived):
    assert revived.archive_now().timeline == 2
    assert "timeline 2" in get_pitr_facts(revived.home).base_due
    revived.take_base()
    facts = get_pitr_facts(revived.home)
    assert facts.base_due is None
    assert facts.report.counts[WalState.LOST] == 0
    assert [era.timeline for era in read_eras(revived.archive, 2)] == [1, 2]
    assert facts.archiver.archiving and not facts.archiver.failing


def test_a_time_takes_the_place_of_the_database_and_every_other_time_stays(revived):
    between = revived.execute("INSERT INTO noted VALUES (2)")
    revived.execute("INSERT INTO noted VALUES (3)")
    regretted = revived.execute("SELECT pg_switch_wal()")
    revived.server.stop()
    restored = restore(revived, between)
    assert (restored.old_directory / "PG_VERSION").exists()
    revived.server.start()
    assert revived.rows(NUMBERS) == [(1,), (2,)]
    revived.execute("INSERT INTO noted VALUES (4)")
    after = revived.execute("INSERT INTO noted VALUES (5)")
    current = revived.archive_now()
    assert current.timeline == 3
    assert revived.recovery.plan(after, current).window.timeline == 3
    left_out = revived.recovery.plan(regretted, current)
    assert left_out.window.timeline == 2
    with revived.recovery.recovered_copy(left_out):
        assert revived.rows(NUMBERS, RECOVERY_PORT) == [(1,), (2,), (3,)]
    with revived.recovery.recovered_copy(revived.recovery.plan(after, current)):
        assert revived.rows(NUMBERS, RECOVERY_PORT) == [(1,), (2,), (4,), (5,)]


def test_a_damaged_segment_ends_a_recovery_with_an_error(revived):
    """PostgreSQL alone would take it for the end of the log."""
    revived.execute("INSERT INTO noted VALUES (6)")
    current = revived.archive_now()
    damaged = revived.repository.list_stored()[f"{3:08X}{0:08X}{current.number - 1:08X}"]
    whole = damaged.read_bytes()
    live = revived.home.path / "postgres" / "pg_wal" / damaged.name.split("-")[0]
    live.unlink(missing_ok=True)  # a checkpoint may have been first
    damaged.write_bytes(whole[:1000])
    try:
        plan = revived.recovery.plan(None, current)
        with pytest.raises(RecoveryFailed, match=f"{damaged.name} is damaged"), revived.recovery.recovered_copy(plan):
            pass
    finally:
        damaged.write_bytes(whole)


def test_a_gap_is_named_no_time_behind_it_is_promised_and_a_base_backup_heals_it(revived, settings):
    settings.HOME = revived.home
    before = revived.execute("INSERT INTO noted VALUES (7)")
    lost = revived.archive_now()
    in_gap = revived.execute("INSERT INTO noted VALUES (8)")
    revived.archive_now()
    revived.repository.list_stored()[lost.name].unlink()
    (revived.home.path / "postgres" / "pg_wal" / lost.name).unlink(missing_ok=True)
    current = revived.archive_now()
    note_gap(revived.home.path / GAPS_FILE, lost.name, "the archive was away")
    facts = get_pitr_facts(revived.home)
    assert facts.report.gaps == [(lost, lost)]
    assert facts.report.states[lost] is WalState.LOST
    assert facts.base_due == "the log behind the last one has a gap (1 lost)"
    (row,) = [row for row in build_status_rows(facts) if row["item"] == "gap"]
    assert row == {"item": "gap", "state": "lost", "detail": f"{lost}: the archive was away"}
    later = in_gap + timedelta(seconds=30)
    with pytest.raises(NotRecoverable, match="lies in a gap of the log"):
        revived.recovery.plan(later, current)
    with pytest.raises(NotRecoverable, match="The log has a gap behind every base backup"):
        revived.recovery.plan(None, current)
    assert revived.recovery.plan(before - timedelta(seconds=1), current).segments
    take_due_base()
    facts = get_pitr_facts()
    assert facts.base_due is None
    assert revived.recovery.plan(None, revived.archive_now()).window.base.name == facts.bases[-1].name
    take_due_base()
    assert get_pitr_facts().bases == facts.bases  # none is due


def test_the_last_good_base_backup_is_never_removed(revived):
    *_, older, newest = revived.repository.list_bases()
    control = newest.directory / "global" / "pg_control"
    whole = control.read_bytes()
    control.write_bytes(bytes(len(whole)))
    remove_superfluous(revived.repository, keep=1)
    assert [base.name for base in revived.repository.list_bases()] == [older.name, newest.name]
    assert older.first_needed_segment.name in revived.repository.list_stored()
    control.write_bytes(whole)
    remove_superfluous(revived.repository, keep=1)
    assert [base.name for base in revived.repository.list_bases()] == [newest.name]
    segments = [segment for segment in map(Segment.parse, revived.repository.list_stored()) if segment]
    assert min(segment.number for segment in segments) == newest.first_segment.number
    assert check_base(newest) == []
