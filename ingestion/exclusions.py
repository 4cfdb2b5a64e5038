"""Files that are not ingested although their suffix is chosen: by default what people neither write nor read."""

import re
from collections.abc import Sequence
from functools import cache

from pathspec import GitIgnoreSpec

from ingestion.gitignore import DEEP_FOLDERS, find_rule

#: Patterns as in .gitignore: lock files, minified and generated code, copies of other people's code.
DEFAULT_EXCLUDES = (
    "*.lock", "*-lock.json", "*-lock.yaml", "*-lock.yml", "*.lock.json", "*.lock.yaml", "*.lock.yml", "go.sum",
    "npm-shrinkwrap.json",
    "*.min.js", "*.min.css", "*.map", "*_pb2.py", "*_pb2_grpc.py",
    "/vendor/", "_vendor/", "vendored/", "third_party/", "site-packages/", ".venv/", "venv/",
)  # fmt: skip


class Exclusions:
    """The default patterns and more of them; a later one decides, and one that begins with ! includes again."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        lines = (*DEFAULT_EXCLUDES, *patterns)
        self.rules = GitIgnoreSpec.from_lines(DEEP_FOLDERS.sub("/**/*/", line) for line in lines)
        self.find_pattern = cache(self._find_pattern)

    def find(self, path: str) -> tuple[str, str] | None:
        """Return what excludes a file: the file or the folder above it that a pattern matches, and the pattern."""
        for place in (path[: slash.end()] for slash in re.finditer("/", path)):
            if pattern := self.find_pattern(place):
                return place, pattern
        pattern = self._find_pattern(path)
        return (path, pattern) if pattern else None

    def _find_pattern(self, path: str) -> str | None:
        """Return the pattern that excludes a path, of a folder with a slash at its end."""
        rule = find_rule(self.rules, path.rstrip("/"), path.endswith("/"))
        return str(rule.pattern) if rule and rule.include else None
