"""Claude's memory tool (`memory_20250818`) with files that are memories:
`client.beta.messages.tool_runner(tools=[MemorySiteMemoryTool(user_id="ada")], …)`.

Needs `pip install memory-site-client[anthropic]`. What Claude reads has the form of the SDK's own tool for files, which
Claude knows.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from urllib.parse import unquote

from anyio.to_thread import run_sync

from memory_client.client import MemoryClient
from memory_client.errors import ConnectionFailed, InvalidInput, TooLarge, Unavailable
from memory_client.extras import framework
from memory_client.memory_files import MemoryFiles
from memory_client.texts import MAX_CONTENT_LENGTH, UNSTORABLE

with framework("anthropic"):
    from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
    from anthropic.types.beta import (
        BetaCacheControlEphemeralParam,
        BetaMemoryTool20250818CreateCommand,
        BetaMemoryTool20250818DeleteCommand,
        BetaMemoryTool20250818InsertCommand,
        BetaMemoryTool20250818RenameCommand,
        BetaMemoryTool20250818StrReplaceCommand,
        BetaMemoryTool20250818ViewCommand,
    )

Result = TypeVar("Result")
ROOT = "/memories"
NUMBER_WIDTH, SNIPPET_LINES, LISTED_LEVELS = 6, 2, 2
MISSING = "The path {path} does not exist. Please provide a valid path."
UNITS = ("B", "K", "M", "G")


class MemoryCommands:
    """The commands on the files of one user below one root. They raise ToolError with a sentence for Claude, and a
    MemoryClientError for what Claude cannot help, such as a wrong key."""

    def __init__(self, files: MemoryFiles) -> None:
        self.files = files

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        path = parse_path(command.path)
        with tool_errors(command.path, MISSING):
            file = self.files.find(path) if path else None
            if file is not None:
                return f"Here's the content of {command.path} with line numbers:\n" + number_lines(
                    file.text.split("\n"), *parse_range(command.view_range)
                )
            return self.list_directory(path)

    def list_directory(self, path: str) -> str:
        """List a directory two levels deep, without hidden files. Its size, and that of those in it, is that of all
        their files."""
        sizes = {each.path.removeprefix(path).lstrip("/"): len(each.text.encode()) for each in self.files.iterate(path)}
        if path and not sizes:
            raise FileNotFoundError(path)
        shown = f"{ROOT}/{path}".rstrip("/")
        lines = [f"{format_size(sum(sizes.values()))}\t{shown}"]
        lines += [f"{format_size(size)}\t{shown}/{name}" for name, size in sort_entries(sizes)]
        head = f"Here're the files and directories up to 2 levels deep in {shown}, excluding hidden items:"
        return "\n".join([head, *lines])

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        path = parse_path(command.path)
        check_text(command.file_text)
        with tool_errors(command.path):
            self.files.create(path, command.file_text)
        return f"File created successfully at: {command.path}"

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        path, line = parse_path(command.path), 0

        def replace(text: str) -> str:
            nonlocal line
            line = find_only_line(text, command.old_str, command.path)
            return check_text(text.replace(command.old_str, command.new_str, 1))

        with tool_errors(command.path, MISSING):
            lines = self.files.edit(path, replace).split("\n")
        snippet = number_lines(lines, max(1, line - SNIPPET_LINES), line + SNIPPET_LINES)
        head = "The memory file has been edited. Here is the snippet showing the change (with line numbers):"
        return f"{head}\n{snippet}"

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        path = parse_path(command.path)
        with tool_errors(command.path, MISSING):
            self.files.edit(path, partial(insert_lines, at=command.insert_line, added=command.insert_text))
        return f"The file {command.path} has been edited."

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        path = parse_path(command.path)
        if not path:
            raise ToolError(f"Cannot delete the {ROOT} directory itself")
        with tool_errors(command.path):
            self.files.delete(path)
        return f"Successfully deleted {command.path}"

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        old, new = parse_path(command.old_path), parse_path(command.new_path)
        if not old:
            raise ToolError(f"Cannot rename the {ROOT} directory itself")
        with tool_errors(command.old_path, exists=f"The destination {command.new_path} already exists"):
            self.files.move(old, new)
        return f"Successfully renamed {command.old_path} to {command.new_path}"

    def clear(self) -> str:
        self.files.delete_below("")
        return "All memory cleared"


class MemorySiteMemoryTool(BetaAbstractMemoryTool):
    """Claude's memory directory on the server: its files are memories, which every search finds.

    `client`: by default one for MEMORY_URL and MEMORY_KEY. `user_id`: whose memories they are; without one, the files
    that no user has. `root`: the beginning of their keys, without slashes; agents with the same root and user share a
    directory, and none sees another one.
    """

    def __init__(
        self,
        client: MemoryClient | None = None,
        *,
        user_id: str | None = None,
        root: str = "claude-memory",
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self.commands = MemoryCommands(MemoryFiles(client or MemoryClient(), root, user_id))

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        return self.commands.view(command)

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        return self.commands.create(command)

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        return self.commands.str_replace(command)

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        return self.commands.insert(command)

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        return self.commands.delete(command)

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        return self.commands.rename(command)

    def clear_all_memory(self) -> str:
        """Delete all files of this user below the root."""
        return self.commands.clear()


class MemorySiteAsyncMemoryTool(BetaAsyncAbstractMemoryTool):
    """The same for the asynchronous client of the SDK. Commands run in threads."""

    def __init__(
        self,
        client: MemoryClient | None = None,
        *,
        user_id: str | None = None,
        root: str = "claude-memory",
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self.commands = MemoryCommands(MemoryFiles(client or MemoryClient(), root, user_id))

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        return await run_sync(self.commands.view, command)

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        return await run_sync(self.commands.create, command)

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        return await run_sync(self.commands.str_replace, command)

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        return await run_sync(self.commands.insert, command)

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        return await run_sync(self.commands.delete, command)

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        return await run_sync(self.commands.rename, command)

    async def clear_all_memory(self) -> str:
        """Delete all files of this user below the root."""
        return await run_sync(self.commands.clear)


def parse_path(path: str) -> str:
    """Return the path below /memories, empty for itself. Raise ToolError for a path outside it, also an encoded one."""
    parts = path.split("/")
    if parts[:2] != ["", ROOT.strip("/")]:
        raise ToolError(f"Path must start with {ROOT}, got: {path}")
    if "\\" in path or ".." in unquote(unquote(path)).replace("\\", "/").split("/"):
        raise ToolError(f"Path {path} would escape {ROOT} directory")
    check_characters(path, "path")
    return "/".join(part for part in parts[2:] if part not in ("", "."))


@contextmanager
def tool_errors(
    path: str, missing: str = "The path {path} does not exist", exists: str | None = None
) -> Iterator[None]:
    """Raise ToolError for what Claude can do something about."""
    try:
        yield
    except FileNotFoundError:
        raise ToolError(missing.format(path=path)) from None
    except FileExistsError:
        raise ToolError(exists or f"File {path} already exists") from None
    except IsADirectoryError:
        raise ToolError(f"The path {path} is not a file.") from None
    except NotADirectoryError as error:
        raise ToolError(f"The path {ROOT}/{error} is not a directory.") from None
    except BlockingIOError:
        raise ToolError(f"The file {path} is being changed by others all the time. Try again later.") from None
    except (InvalidInput, TooLarge) as error:
        reason = "; ".join(f"{each.field} {each.message}" for each in error.errors) or error.detail or error.title
        raise ToolError(f"This cannot be stored in {path}: {reason}") from error
    except (ConnectionFailed, Unavailable) as error:
        raise ToolError(
            f"The memory directory cannot be reached now. View {path} later to see whether it changed."
        ) from error


def check_text(text: str) -> str:
    """Return the text of a file. Raise ToolError for one that a memory cannot hold."""
    if len(text) > MAX_CONTENT_LENGTH:
        raise ToolError(
            f"A memory file may have at most {MAX_CONTENT_LENGTH:,} characters, and this one would have {len(text):,}. "
            "Split it into several files."
        )
    check_characters(text, "memory file")
    return text


def check_characters(text: str, what: str) -> None:
    if UNSTORABLE.search(text):
        raise ToolError(f"A {what} may not contain NUL characters or lone surrogates.")


def parse_range(view_range: list[int] | None) -> tuple[int, int | None]:
    """Return the first line, from 1, and the last one; None for the last of the file."""
    if view_range is None or len(view_range) != 2:
        return 1, None
    first, last = view_range
    return max(1, first), None if last == -1 else last


def number_lines(lines: list[str], first: int = 1, last: int | None = None) -> str:
    """Return these lines, each behind its number."""
    return "\n".join(
        f"{number:>{NUMBER_WIDTH}}\t{line}" for number, line in enumerate(lines[first - 1 : last], start=first)
    )


def find_only_line(text: str, sought: str, path: str) -> int:
    """Return the number of the line where the text is. Raise ToolError unless it is there once."""
    found = text.count(sought)
    if not found:
        raise ToolError(f"No replacement was performed, old_str `{sought}` did not appear verbatim in {path}.")
    lines = [text.count("\n", 0, place) + 1 for place in find_places(text, sought)]
    if found > 1:
        raise ToolError(
            f"No replacement was performed. Multiple occurrences of old_str `{sought}` in lines:"
            f" {', '.join(map(str, lines))}. Please ensure it is unique"
        )
    return lines[0]


def find_places(text: str, sought: str) -> Iterator[int]:
    place = text.find(sought)
    while place != -1:
        yield place
        place = text.find(sought, place + 1)


def insert_lines(text: str, at: int, added: str) -> str:
    """Return the text with lines inserted behind line `at`, and a line feed at its end."""
    lines = text.removesuffix("\n").split("\n") if text else []
    if not 0 <= at <= len(lines):
        raise ToolError(f"Invalid `insert_line` parameter: {at}. It should be within the range [0, {len(lines)}].")
    lines.insert(at, added.rstrip("\n"))
    return check_text("\n".join(lines).removesuffix("\n") + "\n")


def sort_entries(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """Return the files and directories of the first two levels with their sizes, each directory before what is in it.

    `sizes`: those of the files, by path.
    """
    totals: Counter[tuple[tuple[str, ...], bool]] = Counter()
    for path, size in sizes.items():
        parts = tuple(path.split("/"))
        for level in range(1, min(LISTED_LEVELS, len(parts)) + 1):
            totals[parts[:level], level < len(parts)] += size
    visible = sorted(each for each in totals if not any(part.startswith(".") for part in each[0]))
    return [("/".join(parts) + "/" * is_directory, totals[parts, is_directory]) for parts, is_directory in visible]


def format_size(size: int) -> str:
    """Return bytes as Claude sees them: 0B, 1.5K, 2M."""
    number, unit = float(size), 0
    while number >= 1024 and unit < len(UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f}{UNITS[unit]}" if number == int(number) else f"{number:.1f}{UNITS[unit]}"
