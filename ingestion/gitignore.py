"""Rules of .gitignore files, matched by pathspec as git matches them."""

import re
from pathlib import Path

from pathspec import GitIgnoreSpec, RegexPattern

# Git matches the folders inside, pathspec the folder itself too.
DEEP_FOLDERS = re.compile(r"/\*\*/\s*$")


def read_gitignore(file: Path) -> GitIgnoreSpec:
    """Parse the patterns, ignoring invalid lines as git does. What is not a file is empty: a pipe would block."""
    try:
        lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    except OSError:
        lines = []
    return GitIgnoreSpec.from_lines(DEEP_FOLDERS.sub("/**/*/", line) for line in lines if is_pattern(line))


def is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def is_rule(line: str) -> bool:
    """Return whether the line is a pattern that can match something: no comment, and not blank."""
    return is_pattern(line) and any(rule.include is not None for rule in GitIgnoreSpec.from_lines([line]).patterns)


def is_ignored(path: Path, rules: dict[Path, GitIgnoreSpec], *, is_folder: bool = False) -> bool:
    """Return what the nearest .gitignore with a matching rule decides; a rule that begins with ! includes the path.

    The folders above are not asked: an ignored one is not entered.
    """
    folders = (folder for folder in path.parents if folder in rules)
    deciding = (find_rule(rules[folder], path.relative_to(folder).as_posix(), is_folder) for folder in folders)
    return next((bool(rule.include) for rule in deciding if rule), False)


def find_rule(spec: GitIgnoreSpec, path: str, is_folder: bool) -> RegexPattern | None:
    """Return the last rule that matches the path. It ignores the path if its `include` is True."""
    rules = (rule for rule in reversed(spec.patterns) if isinstance(rule, RegexPattern))
    return next((rule for rule in rules if rule.regex and matches(rule.regex, path, is_folder)), None)


def matches(rule: re.Pattern[str], path: str, is_folder: bool) -> bool:
    """Return whether a rule of pathspec matches the path itself, and not only a folder above it.

    Pathspec marks the slash behind a matched folder with the group ps_d. So `docs/**` matches what is in docs, but not
    docs, and `docs/` matches docs, but nothing in it.
    """
    found = rule.search(path)
    if found and not ("ps_d" in rule.groupindex and found["ps_d"]):
        return True
    marked = rule.finditer(f"{path}/") if is_folder and "ps_d" in rule.groupindex else ()
    return any(found.end("ps_d") > len(path) for found in marked)
