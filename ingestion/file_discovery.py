"""Discovery and reading of a folder's files: listed by git in a checkout, else by walking with .gitignore rules."""

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

DEFAULT_SUFFIXES = (".py", ".md", ".txt", ".yaml", ".yml")
#: Excluded at every level, whether or not a .gitignore names them.
EXCLUDED_NAMES = frozenset({".git", "__pycache__", "node_modules"})
MAX_FILE_BYTES = 2 * 2**20
GIT_TIMEOUT_SECONDS = 60
# The checkout may be hostile: its configuration must not make git run a program.
GIT_COMMAND = ("git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")


class NotIngestible(Exception):
    """A file or folder that cannot be ingested; the message is a sentence that gives the reason."""


class UnreadableFile(NotIngestible):
    """A file or folder that cannot be read at the moment: its stored documents must stay."""


@dataclass(frozen=True)
class SourceFile:
    """A candidate document. `path` is relative to the root, with forward slashes.

    A path that ends with a slash is a folder that cannot be listed; it stands for everything in it.
    """

    path: str
    location: Path

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


def find_files(root: Path, suffixes: tuple[str, ...] = DEFAULT_SUFFIXES) -> list[SourceFile]:
    """Return the folder's files with these suffixes, sorted by path, then the folders that cannot be listed.

    Raises NotIngestible when the root is not a folder or cannot be read.
    """
    suffixes = tuple(suffix.lower() for suffix in suffixes)
    try:
        if not root.is_dir():
            raise NotIngestible("There is no such folder." if not root.exists() else "This is not a folder.")
        paths = set(list_git_files(root) if is_checkout(root) else walk_folder(root))
    except OSError as error:
        raise NotIngestible(f"The folder cannot be read: {error.strerror}.") from error
    unlistable = tuple(path for path in paths if path.endswith("/"))
    selected = {path for path in paths if is_selected(path, suffixes) and not path.startswith(unlistable)}
    present = (path for path in selected if not is_missing(root / path))
    return [SourceFile(path, root / path) for path in sorted([*present, *unlistable])]


def is_selected(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes) and not EXCLUDED_NAMES & set(path.split("/"))


def is_missing(location: Path) -> bool:
    """Return whether the file certainly does not exist; one that cannot be examined may exist."""
    try:
        location.lstat()
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def is_checkout(root: Path) -> bool:
    """Return whether git tracks the folder: a checkout around it may ignore it."""
    return run_git(root, "check-ignore", "--quiet", ".")[0] == 1


def list_git_files(root: Path) -> Iterator[str]:
    """Yield tracked and untracked files that are not ignored, and unlistable folders as `walk_folder` does.

    Raises NotIngestible when git fails, rather than yield an incomplete list.
    """
    code, listing, warnings = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if code:
        raise NotIngestible("git cannot list the folder.")
    paths = (os.fsdecode(path) for path in listing.split(b"\0") if path)
    yield from (path for path in paths if not path.endswith("/"))  # a slash marks a nested checkout
    if warnings:  # git omits what it cannot list and only prints a localised warning
        yield from (path for path in walk_folder(root) if path.endswith("/"))


def run_git(root: Path, *arguments: str) -> tuple[int, bytes, bytes]:
    """Return exit code, stdout and stderr; the code is 127 where git is missing. Raises NotIngestible on a timeout."""
    try:
        done = subprocess.run(  # noqa: S603  (no shell; the arguments are constants and the folder behind -C)
            [*GIT_COMMAND, "-C", str(root), *arguments], capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotIngestible(f"git did not list the folder within {GIT_TIMEOUT_SECONDS} seconds.") from None
    except OSError:
        return 127, b"", b""
    return done.returncode, done.stdout, done.stderr


def walk_folder(root: Path) -> Iterator[str]:
    """Yield every file that is not ignored, and every folder that cannot be listed, with a slash at its end.

    Links to folders are not followed, so there are no loops. Raises OSError when the root cannot be listed.
    """
    rules: dict[Path, GitIgnoreSpec] = {}
    errors: list[OSError] = []
    for folder_name, subfolders, names in os.walk(root, onerror=errors.append):
        folder = Path(folder_name)
        if ".gitignore" in names:
            rules[folder] = read_gitignore(folder / ".gitignore")
        subfolders[:] = [
            name for name in subfolders if name not in EXCLUDED_NAMES and not is_ignored(folder / name, rules, "/")
        ]
        files = (folder / name for name in names if not is_ignored(folder / name, rules))
        yield from (file.relative_to(root).as_posix() for file in files)
    for error in errors:
        if Path(error.filename) == root:
            raise error
        yield Path(error.filename).relative_to(root).as_posix() + "/"


def read_gitignore(file: Path) -> GitIgnoreSpec:
    """Parse the patterns, ignoring invalid lines as git does. What is not a file is empty: a pipe would block."""
    try:
        lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    except OSError:
        lines = []
    return GitIgnoreSpec.from_lines(line for line in lines if is_pattern(line))


def is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def is_ignored(path: Path, rules: dict[Path, GitIgnoreSpec], ending: str = "") -> bool:
    """Return what the nearest .gitignore with a matching rule decides; a rule that begins with ! includes the path."""
    folders = [folder for folder in path.parents if folder in rules]
    decisions = (rules[folder].check_file(path.relative_to(folder).as_posix() + ending).include for folder in folders)
    return next((ignored for ignored in decisions if ignored is not None), False)


def read_file(file: SourceFile, root: Path) -> bytes:
    """Return the file's bytes. Raises NotIngestible, or UnreadableFile when it may be readable later."""
    if file.is_folder:
        raise UnreadableFile("It is a folder that cannot be listed.")
    try:
        target, top = file.location.resolve(), root.resolve()
        if not target.is_relative_to(top):
            raise NotIngestible("It is a link that leads out of the folder.")
        if EXCLUDED_NAMES & set(target.relative_to(top).parts):
            raise NotIngestible("It is a link to a file that is always excluded.")
        state = file.location.stat()
        if not stat.S_ISREG(state.st_mode):  # before opening: a pipe would block
            raise NotIngestible("It is not a file.")
        if state.st_size > MAX_FILE_BYTES:
            raise NotIngestible(f"It is larger than {MAX_FILE_BYTES // 2**20} MB.")
        return file.location.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise UnreadableFile(f"It cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def decode_text(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark. Raises NotIngestible for anything else."""
    if b"\0" in content:
        raise NotIngestible("It is binary.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotIngestible("It is not UTF-8.") from None
