"""Hooks of Claude Code: what a memory site knows goes into the conversation, and each turn goes to the site.

SessionStart and UserPromptSubmit print context; Stop stores the turn; every hook sends what could not be sent before.
Nothing here can stop or delay Claude Code: each hook has a hard limit of time and always ends with exit code 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading

#: Seconds in which Claude Code says what the hook is about, and megabytes that are more than it has to say.
READ_SECONDS, MAX_READ_BYTES = 1.5, 64 * 1024 * 1024


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python -I leaves it out
    from memory_hooks.events import HOOKS  # noqa: PLC0415
    from memory_hooks.settings import read_settings  # noqa: PLC0415

    reading = end_after(READ_SECONDS)
    hook = json.loads(sys.stdin.buffer.read(MAX_READ_BYTES).decode("utf-8", "replace"))
    reading.cancel()
    settings = read_settings(os.environ)
    run, get_limit = HOOKS[hook["hook_event_name"]]
    end_after(get_limit(settings))
    output = run(settings, hook)
    if output:
        print(json.dumps(output), flush=True)


def end_after(seconds: float) -> threading.Timer:
    """End this process after that time, whatever it waits for."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()
    return timer


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:  # whatever it is, the conversation goes on; the kind of error holds no content
        with contextlib.suppress(Exception):
            print(f"memory: {type(error).__name__}", file=sys.stderr)
    os._exit(0)
