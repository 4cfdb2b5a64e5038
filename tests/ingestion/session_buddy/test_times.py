"""Times of Session-Buddy's files, which have no offset."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest
from django.core.management import CommandError, call_command

from ingestion.session_buddy import times
from memories.models import Memory
from tests.ingestion.session_buddy.files import PROJECT_TABLE, build_row, create_older_file, load_insights, query_file

pytestmark = pytest.mark.django_db
ZONES = ["Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC"]


def create_file_in(path, zone: str, moment: datetime) -> None:
    """Create a file as Session-Buddy does in this zone: it stores a time with an offset in a TIMESTAMP."""
    create_older_file(path)
    with duckdb.connect(str(path)) as file:
        file.execute(f"SET TimeZone = '{zone}'")
        file.execute(
            f"INSERT INTO {PROJECT_TABLE} (id, content, created_at, updated_at) VALUES ('r1', 'A note.', ?, ?)",
            [moment, moment],
        )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("named", [True, False])
def test_a_time_is_read_in_the_zone_of_the_file(run, path, settings, zone, named):
    moment = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)  # in no zone an hour that the clocks repeat
    create_file_in(path, zone, moment)
    settings.MACHINE_TIME_ZONE = "" if named else zone
    counts, stderr = run("import", path, *(["--timezone", zone] if named else []))
    assert counts[PROJECT_TABLE, "reflections"] == (1, 1, 0, 0)
    assert "left out" not in stderr
    assert Memory.objects.get().created_at == moment


def test_daylight_saving_is_that_of_the_date(run, path):
    create_file_in(path, "Europe/Berlin", datetime(2024, 7, 1, 12, tzinfo=UTC))
    assert query_file(path, f"SELECT created_at FROM {PROJECT_TABLE}") == [(datetime(2024, 7, 1, 14),)]
    run("import", path, "--timezone", "Europe/Berlin")
    assert Memory.objects.get().created_at == datetime(2024, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("zone", ZONES)
def test_an_export_writes_local_times_that_an_import_reads(run, path, insight, elsewhere, zone):
    run("export", path, "--timezone", zone)
    created_at = insight.memory.created_at
    local = created_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert (local,) in query_file(path, f"SELECT created_at FROM {PROJECT_TABLE}")
    run("import", path, "--timezone", zone, "--namespace", elsewhere.name)
    assert [each[-1] for each in load_insights(elsewhere.name)] == [each[-1] for each in load_insights("ours")]
    assert [each[7] for each in load_insights(elsewhere.name)] == [each[7] for each in load_insights("ours")]
    counts, _ = run("export", path, "--timezone", zone)
    assert all(updated == 0 for _, _, updated, _ in counts.values())


def test_a_time_at_most_a_day_ahead_is_now(run, path):
    ahead = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=23)
    create_older_file(path, **{PROJECT_TABLE: [build_row("r1", "A note.") | {"created_at": ahead}]})
    assert run("import", path)[0][PROJECT_TABLE, "reflections"] == (1, 1, 0, 0)
    assert abs(Memory.objects.get().created_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_rows_that_are_left_out_make_the_command_fail(namespace, path, capsys):
    ahead = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=60)
    rows = [build_row("r1", "A note.") | {"created_at": ahead}, build_row("r2", "Another note.")]
    create_older_file(path, **{PROJECT_TABLE: rows})
    with pytest.raises(CommandError, match="Rows left out: 1") as error:
        call_command("session_buddy", "import", str(path), "--namespace", "ours")
    assert error.value.returncode == 1
    assert "created_at: may not lie in the future" in " ".join(capsys.readouterr().err.split())
    assert Memory.objects.get().content == "Another note."


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "", "/etc/localtime"])
def test_an_unknown_zone_is_a_usage_error(run, filled, name):
    with pytest.raises(CommandError, match="name of a time zone"):
        run("import", filled, f"--timezone={name}")


@pytest.mark.parametrize(("name", "zone"), [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo")])
def test_the_zone_of_the_machine_is_that_of_its_environment(settings, name, zone):
    settings.MACHINE_TIME_ZONE = name
    assert times.get_machine_timezone() == ZoneInfo(zone)


@pytest.mark.parametrize("name", ["", "Mars/Olympus"])
def test_without_a_known_zone_the_file_of_the_system_decides(settings, monkeypatch, tmp_path, name):
    settings.MACHINE_TIME_ZONE = name
    monkeypatch.setattr(times, "LOCAL_TIME_FILE", tmp_path / "localtime")
    assert times.get_machine_timezone() == UTC
    (tmp_path / "zoneinfo" / "Asia").mkdir(parents=True)
    zone = tmp_path / "zoneinfo" / "Asia" / "Tokyo"
    zone.touch()
    (tmp_path / "localtime").symlink_to(zone)
    assert times.get_machine_timezone() == (ZoneInfo("Asia/Tokyo") if not name else UTC)
