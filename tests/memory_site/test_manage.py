"""The end of a command."""

import subprocess
import sys

from django.conf import settings


def test_the_interpreter_searches_for_no_garbage_at_its_end():
    """It would take up to a second of processor time."""
    script = "import gc, manage, sys; sys.argv = ['manage.py', 'version']; manage.main(); print(gc.get_freeze_count())"
    argv = [sys.executable, "-c", script]
    result = subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    version, frozen = result.stdout.split()
    assert version[0].isdigit()
    assert int(frozen) > 0
