"""Type checkers know the arguments and results of both clients precisely."""

import re
import subprocess
import sys
from pathlib import Path

from django.conf import settings

SAMPLES = Path(__file__).parent / "typed"
REPORT = re.compile(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)
EXPECTED = re.compile(r"  # ([\w-]+)$")


def test_types_are_precise(tmp_path):
    """In a folder of its own: the project's settings have plugins that load the site."""
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n[mypy-memory_client.*]\nfollow_imports = silent\n")
    argv = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini"), "--no-error-summary"]
    files = sorted(map(str, SAMPLES.glob("*.py")))
    cache = ["--cache-dir", str(settings.BASE_DIR / ".mypy_cache/samples")]
    checked = subprocess.run([*argv, *cache, *files], cwd=settings.BASE_DIR, capture_output=True, text=True)
    assert checked.stderr == ""
    reported = {(Path(path).name, int(line), code) for path, line, code in REPORT.findall(checked.stdout)}
    lines = (SAMPLES / "wrong.py").read_text().splitlines()
    expected = {
        ("wrong.py", number, match[1]) for number, line in enumerate(lines, 1) if (match := EXPECTED.search(line))
    }
    assert len(expected) == 11
    assert reported == expected, checked.stdout
