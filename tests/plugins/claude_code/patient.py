"""The plugin for tests that ask what its hooks do: a machine that stands still for a while does not end them."""

import re
import shutil
from pathlib import Path

from tests.plugins.claude_code import PLUGIN

#: What each file says of time, and what a patient one says.
LIMITS = {
    "hooks/memory.py": {r"^READ_SECONDS, (.*) = 1\.5,": r"READ_SECONDS, \1 = 100.0,"},
    "hooks/memory_hooks/settings.py": {r"MAX_SECONDS = 1\.5, 5\.0": "MAX_SECONDS = 1.5, 100.0"},
    "hooks/memory_hooks/events.py": {
        r"^SEND_SECONDS, END_SECONDS = 4\.0, 1\.0": "SEND_SECONDS, END_SECONDS = 100.0, 100.0",
        r"settings\.seconds \+ 0\.5\b": "settings.seconds + 100",
        r"END_SECONDS \+ 0\.3\b": "END_SECONDS + 100",
    },
    "hooks/memory_hooks/queue.py": {r"^LOCK_SECONDS = 1\.0": "LOCK_SECONDS = 100.0"},
    "hooks/memory_hooks/api.py": {r"^REST_SECONDS = 30\.0": "REST_SECONDS = 600.0"},
    "hooks/hooks.json": {r'"timeout": \d+': '"timeout": 200'},
}


def copy_patient_plugin(folder: Path) -> Path:
    """Copy the plugin into a new folder, with longer limits of time. Return the copy."""
    copy = folder / "plugin"
    shutil.copytree(PLUGIN, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, limits in LIMITS.items():
        file = copy / name
        text = file.read_text()
        for pattern, patient in limits.items():
            text, count = re.subn(pattern, patient, text, flags=re.MULTILINE)
            assert count, f"{name} has no {pattern}"
        file.write_text(text)
    return copy
