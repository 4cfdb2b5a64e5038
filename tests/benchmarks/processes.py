"""Processes that answer requests: a line of JSON each way. So several can be measured in turns, in one run."""

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any


class ProcessEnded(Exception):
    """The process ended instead of answering; its error stands on stderr."""


class AnsweringProcess:
    """`ready` is what the process said when it was ready."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            self.ready = self.read()
        except BaseException:
            self.process.terminate()
            raise

    def ask(self, **request: Any) -> Any:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise ProcessEnded(self.process.args)
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(120)
