"""The end of a command."""

import subprocess
import sys

from django.conf import settings


def run_and_count_frozen(command: str) -> subprocess.CompletedProcess:
    """Run it with an exit handler that runs after the project's, and prints how many objects are frozen."""
    count = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count()))"
    script = f"{count}; import manage; sys.argv = ['manage.py', *{command.split()}]; manage.main()"
    argv = [sys.executable, "-c", script]
    return subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)


def test_the_interpreter_searches_for_no_garbage_at_its_end():
    """It would take up to a second of processor time."""
    version, frozen = run_and_count_frozen("version").stdout.split()
    assert version[0].isdigit()
    assert int(frozen) > 0


def test_a_process_seldom_searches_for_garbage_while_it_starts():
    """With Python's own threshold it does so more than three hundred times."""
    count = "import gc, manage, django; django.setup(); print(sum(each['collections'] for each in gc.get_stats()))"
    argv = [sys.executable, "-c", f"import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'memory_site.settings'; {count}"]
    result = subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 100


def test_a_command_with_duckdb_reports_no_leak():
    result = run_and_count_frozen("session_buddy --help")
    assert "session_buddy" in result.stdout
    assert result.stderr == ""
