"""What a change would do to a file, without keys."""

from difflib import unified_diff

from memory_site.operations.connect.entries import mask_tokens


def format_diff(path: str, before: str, after: str) -> str:
    """Return a unified diff without context: the lines around the change may hold others' secrets."""
    lines = unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="", n=0)
    return mask_tokens("\n".join(lines))
